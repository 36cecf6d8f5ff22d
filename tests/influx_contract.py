"""InfluxDB 2.x and 3.x as their public API documentation describes them, as far as a sink uses it: what is asked for
is recorded, what is written is read (line_protocol_reader.py) and kept by key, and every fault can be ordered."""

import gzip
import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

from line_protocol_reader import Value, read
from vendor_server import Reply, Request, vendor

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
