"""A real InfluxDB 1.x as a store of the suite over all sinks: one server per test process, one database per test; the
documented API of InfluxDB 2.x and 3.x; and a small reader of line protocol, written from its public description and
from nothing of ours: `measurement[,tag=value …] field=value[,field=value …] time`, with backslashes and, in quoted
texts, backslashes of their own."""

import gzip
import itertools
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
import pytest

from marketpulse.model.rows import RECEIPT
from marketpulse.model.tables import TABLES
from marketpulse.telemetry import REGISTRY
from sink_stores import PASSWORD, USER, InfluxServer, OnServer, Row
from vendor_server import Reply, Request, vendor

Value = float | int | str | bool


@dataclass(frozen=True)
class Point:
    measurement: str
    tags: dict[str, str]
    fields: dict[str, Value]
    time_ns: int


def read(text: str) -> list[Point]:
    points, at = [], 0
    while at < len(text):
        point, at = _point(text, at)
        points.append(point)
    return points


def _point(text: str, at: int) -> tuple[Point, int]:
    measurement, at = _word(text, at, ", ")
    tags: dict[str, str] = {}
    while text[at] == ",":
        name, at = _word(text, at + 1, "=")
        tags[name], at = _word(text, at + 1, ", ")
    fields: dict[str, Value] = {}
    while not fields or text[at] == ",":
        name, at = _word(text, at + 1, "=")
        is_text = text[at + 1] == '"'
        fields[name], at = _text(text, at + 2, '"', '"\\') if is_text else _bare(text, at + 1)
        at += is_text
    end = text.index("\n", at)
    assert text[at] == " "
    return Point(measurement, tags, fields, int(text[at + 1 : end])), end + 1


def _text(text: str, at: int, until: str, escaped: str) -> tuple[str, int]:
    """From there `until` one of these signs, and where it stands; a backslash before an `escaped` one takes its meaning."""
    found = ""
    while text[at] not in until:
        at += text[at] == "\\" and text[at + 1] in escaped
        found += text[at]
        at += 1
    return found, at


def _word(text: str, at: int, until: str) -> tuple[str, int]:
    found, at = _text(text, at, until, ",= ")
    assert found, "a name or a tag is empty"
    assert "\n" not in found, "a line ends inside a name"
    return found, at


def _bare(text: str, at: int) -> tuple[Value, int]:
    word, at = _text(text, at, ", ", "")
    if word in ("true", "false"):
        return word == "true", at
    return (int(word[:-1]) if word.endswith("i") else float(word)), at


ALL_TABLES = ["trades", "quotes", "bars", "indicators", "alerts"]
_numbers = itertools.count()


class InfluxStore(OnServer):
    """One database of the server."""

    name = "influx"
    keeps_offsets = False

    server: InfluxServer

    def __init__(self, server: InfluxServer) -> None:
        self.server = server
        self.database = f"suite {next(_numbers)}"

    def section(self) -> Mapping[str, Any]:
        login = {"user": USER, "password": PASSWORD}
        return {"url": self.server.url, "database": self.database, **login, "tables": ALL_TABLES, "timeout_s": 20}

    def refused(self) -> Mapping[str, Any]:
        return {**self.section(), "password": "another-secret"}

    def rows(self, table: str) -> list[Row]:
        return [row for point in self.server.rows(table, self.database) if (row := as_row(table, point)) is not None]

    def kept(self, table: str, row: Row) -> Row | None:
        """Everything but `events` and `dead_letters`, which are texts for people and no series."""
        return row if table in ALL_TABLES else None


def as_row(table: str, point: Mapping[str, Any]) -> Row | None:
    """A point under the contract's names; None for one that a revision took back."""
    if point.get("withdrawn"):
        return None
    schema = TABLES[table][1]
    time = {"bars": "open_time_ns", "indicators": "open_time_ns"}.get(table, "event_time_ns")
    row: Row = {}
    for field in schema:
        value = point.get("time" if field.name == time else field.name)
        if field.name == "type":
            value = table.removesuffix("s")
        elif field.name == "conditions" and value is not None:
            value = value.split(",")
        elif pa.types.is_struct(field.type):
            value = {part.name: point.get(f"{field.name}_{part.name}") for part in field.type}
        row[field.name] = float(value) if pa.types.is_floating(field.type) and value is not None else value
    if table == "indicators":
        known = {"time", "withdrawn", *schema.names}
        row |= {name: value for name, value in point.items() if name not in known and not name.startswith("receipt_")}
        row["receipt"] = {part.name: point.get(f"receipt_{part.name}") for part in RECEIPT}
    return row


@pytest.fixture(scope="session")
def influx_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[InfluxServer]:
    server = InfluxServer(tmp_path_factory.mktemp("influx"))
    server.start()
    yield server
    server.kill()


@pytest.fixture
def influx_store(influx_server: InfluxServer) -> InfluxStore:
    return InfluxStore(influx_server)


def refused_points(reason: str) -> float:
    return REGISTRY.get_sample_value("marketpulse_points_refused_total", {"sink": "influx", "reason": reason}) or 0


TOKEN = "token-of-the-contract"  # noqa: S105
Answer = tuple[int, dict[str, Any] | None, dict[str, str]]  # status, JSON body, headers


class Contract:
    """One server of version 2 or 3. `orders` are answers to the next writes, before they are looked at."""

    def __init__(self, version: int) -> None:
        self.version = version
        self.url = ""
        self.orders: list[Answer] = []
        self.refusals: dict[str, Answer] = {}  # by path, for as long as they stand
        self.asked: list[tuple[str, str, dict[str, str], Any]] = []  # method, path, parameters, JSON body
        self.databases: dict[str, Any] = {}  # name -> retention as it was given
        self.points: dict[tuple[str, frozenset[tuple[str, str]], int], dict[str, Value]] = {}
        self.writes = 0

    def fields(self, measurement: str) -> list[dict[str, Any]]:
        """Tags, fields and time of each point."""
        own = ((tags, time, fields) for (name, tags, time), fields in self.points.items() if name == measurement)
        return [{**dict(tags), **fields, "time": time} for tags, time, fields in own]

    def answer(self, method: str, path: str, given: dict[str, str], login: str, body: bytes) -> Answer:
        write = path in ("/api/v2/write", "/api/v3/write_lp")
        value = json.loads(body) if body and not write else None
        self.asked.append((method, path, given, value))
        if path == "/ping":
            if self.version == 2:
                return 204, None, {"X-Influxdb-Version": "v2.7.11", "X-Influxdb-Build": "OSS"}
            if login == f"Bearer {TOKEN}":
                return 200, {"version": "3.2.1", "revision": "0", "process_id": "0"}, {}
        if login != ("Token " if self.version == 2 else "Bearer ") + TOKEN:
            wrong = {"code": "unauthorized", "message": "unauthorized access"}
            return 401, wrong if self.version == 2 else {"error": "the request was not authenticated"}, {}
        if path in self.refusals:
            return self.refusals[path]
        return self._v2(method, path, given, value, body) if self.version == 2 else self._v3(path, given, value, body)

    def _v2(self, method: str, path: str, given: dict[str, str], value: Any, body: bytes) -> Answer:
        match method, path:
            case "GET", "/api/v2/orgs":
                if given.get("org") != "trading":
                    return 404, {"code": "not found", "message": "organization name not found"}, {}
                return 200, {"orgs": [{"id": "0a1b2c3d4e5f6071", "name": "trading"}]}, {}
            case "GET", "/api/v2/buckets":
                if given.get("name") not in self.databases:
                    return (404, {"code": "not found", "message": f'bucket "{given.get("name")}" not found'}, {})
                bucket = {"id": "1" * 16, "name": given["name"], "retentionRules": self.databases[given["name"]]}
                return 200, {"buckets": [bucket]}, {}
            case "POST", "/api/v2/buckets":
                assert value["orgID"] == "0a1b2c3d4e5f6071"
                self.databases[value["name"]] = value.get("retentionRules") or []
                return 201, {"id": "1" * 16, **value}, {}
            case "POST", "/api/v2/write":
                assert given["precision"] == "ns"
                return self._write(given["bucket"], body, {"code": "not found", "message": "bucket not found"})
            case "POST", "/api/v2/delete":
                wanted = dict(part.split("=", 1) for part in value["predicate"].replace('"', "").split(" AND "))
                assert value["start"] == value["stop"], "to the nanosecond, both ends included"
                gone = (wanted.pop("_measurement"), frozenset(wanted.items()), value["start"])
                self.points = {k: v for k, v in self.points.items() if (*k[:2], _rfc3339(k[2])) != gone}
                return 204, None, {}
        return 404, {"code": "not found", "message": "path not found"}, {}

    def _v3(self, path: str, given: dict[str, str], value: Any, body: bytes) -> Answer:
        if path == "/api/v3/configure/database":
            if value["db"] in self.databases:
                return 409, {"error": "attempted to create a resource that already exists"}, {}
            self.databases[value["db"]] = value.get("retention_period")
            return 200, None, {}
        if path == "/api/v3/write_lp":
            assert (given["precision"], given["accept_partial"]) == ("nanosecond", "false")
            return self._write(given["db"], body, {"error": "database not found"})
        return 404, {"error": "not found"}, {}

    def _write(self, database: str, body: bytes, missing: dict[str, Any]) -> Answer:
        if self.orders:
            return self.orders.pop(0)
        if database not in self.databases:
            return 404, missing, {}
        self.writes += 1
        for point in read(body.decode()):
            key = point.measurement, frozenset(point.tags.items()), point.time_ns
            self.points[key] = self.points.get(key, {}) | point.fields  # one that comes again keeps its other fields
        return 204, None, {}


def _rfc3339(time_ns: int) -> str:
    return f"{datetime.fromtimestamp(time_ns // 10**9, UTC):%Y-%m-%dT%H:%M:%S}.{time_ns % 10**9:09d}Z"


@contextmanager
def serving(contract: Contract) -> Iterator[Contract]:
    """On a free loopback port while the block runs."""

    def reply(asked: Request) -> Reply:
        body = gzip.decompress(asked.body) if asked.headers.get("content-encoding") == "gzip" else asked.body
        login = asked.headers.get("authorization", "")
        status, value, headers = contract.answer(asked.method, asked.path, asked.parameters, login, body)
        data = b"" if value is None else json.dumps(value).encode()
        return Reply(status, data, {"Content-Type": "application/json", **headers})

    with vendor(reply) as server:
        contract.url = server.url
        yield contract
