"""The lake on S3, in each catalogue that it knows, the same promises as on a disk; and the tables that are described to
Glue are what stands in the archive's files."""

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import boto3
import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pydantic import SecretStr
from pyiceberg.catalog import load_catalog

from aws_server import AwsAccount
from given_settings import changed
from lake_store import iceberg_rows
from log_of_rows import TOPICS, batch, expected, stretch
from marketpulse.app.loading.storing import flush
from marketpulse.aws.wanted import TABLE, glue_type, wanted_objects
from marketpulse.catalog import open_lake, open_visible
from marketpulse.clock import ManualClock, SystemClock
from marketpulse.errors import Fatal, Retryable
from marketpulse.model.rows import indicators_schema
from marketpulse.model.tables import TABLES as EVERY_TABLE
from marketpulse.ports import SinkBatch
from marketpulse.query import LakeQuery
from marketpulse.settings import Settings
from marketpulse.sinks import open_sink
from marketpulse.sinks.archive import open_archive
from marketpulse.sinks.lake_chores import Chores
from s3_server import ACCESS_KEY, REGION, SECRET_KEY, Bucket
from storing_child import store, write

pytestmark = pytest.mark.integration

TABLES = [table for tables in TOPICS.values() for table in tables]


@pytest.fixture(params=["sqlite", "rest", "glue"])
def settings(request: pytest.FixtureRequest, s3_bucket: Bucket, tmp_path: Path) -> Settings:
    """A lake of its own, with keys in the environment alone."""
    url, catalog = s3_bucket.url, {"kind": request.param}
    if request.param == "glue":
        account: AwsAccount = request.getfixturevalue("aws_server")
        account.reset()
        catalog |= {"uri": account.endpoint_url, "namespace": "quotes"}
    if request.param == "rest":
        url, server = f"s3://tables-{s3_bucket.name}", s3_bucket.server
        tables = boto3.client("s3tables", endpoint_url=server.endpoint_url, region_name=REGION)
        tables.create_table_bucket(name=f"tables-{s3_bucket.name}")
        catalog |= {"uri": server.catalog_url, "warehouse": url, "credential": f"{ACCESS_KEY}:{SECRET_KEY}"}
    return Settings(data_dir=tmp_path, s3=s3_bucket.settings(), sinks={"lake": {"url": url, "catalog": catalog}})


def history(settings: Settings, table: str) -> list[str]:
    """The table's rows as pyiceberg alone reads them."""
    lake = open_lake(settings)
    at = {"uri": f"sqlite:///{lake.database}"} if lake.database else {}
    rows = iceberg_rows(load_catalog("marketpulse", **lake.properties, **at), table, lake.namespace)
    return sorted(json.dumps(row, sort_keys=True, default=str) for row in rows)


def assert_stored(settings: Settings, end: int) -> None:
    for table in TABLES:
        assert history(settings, table) == expected(table, (0, 1), end), table


def test_rows_are_stored_once_over_restarts_of_sink_and_server_and_read(settings: Settings, s3_bucket: Bucket) -> None:
    store(open_sink(settings, "lake"), end=12, cut=6)
    sink = open_sink(settings, "lake")
    assert sink.resume() == {(topic, p): 12 for topic in TOPICS for p in (0, 1)}
    store(sink, end=20, cut=20)
    assert_stored(settings, 20)
    query = LakeQuery(settings)
    assert query.run("SELECT count(*) AS n FROM trades").to_pylist() == [{"n": 16}]
    assert query.answer("SELECT count(*) AS n FROM bars WHERE symbol = 'S00'").committed_ms is not None
    query.close()
    for table in TABLES:
        Chores(open_lake(settings), settings, SystemClock()).compact(table)
    assert_stored(settings, 20)
    assert len(open_visible(settings).read(["bars"])["bars"].files) == 1

    s3_bucket.server.kill()
    try:
        write(sink, stretch("market", 0, 20, 26))
        with pytest.raises(Retryable, match="nothing is lost"):
            sink.flush()
    finally:
        s3_bucket.server.start()
    store(sink, end=26, cut=6)
    assert_stored(settings, 26)


def test_writers_that_come_in_between_are_waited_for(settings: Settings) -> None:
    # The stand-in for Glue does not compare a table's version when it writes it, as AWS does.
    at_once = 1 if settings.sinks.lake.catalog.kind == "glue" else 2
    with ThreadPoolExecutor(at_once) as pool:
        # SeaweedFS answers 500 where two make a namespace at once: as any fault of a store that passes, it is waited for.
        for done in [pool.submit(store, open_sink(settings, "lake"), 12, 4, (p,), flush=flush) for p in (0, 1)]:
            done.result(120)
    assert_stored(settings, 12)
    assert open_sink(settings, "lake").resume() == {(topic, p): 12 for topic in TOPICS for p in (0, 1)}


def test_keys_that_are_refused_are_fatal_and_not_shown(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    store(open_sink(settings, "lake"), end=4, cut=4)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "another-secret")
    if settings.sinks.lake.catalog.kind == "rest":
        other = {"credential": SecretStr(f"{ACCESS_KEY}:another-secret")}
        settings = changed(settings, sinks={"lake": {"catalog": other}})
    with pytest.raises(Fatal, match="give this user access") as caught:
        store(open_sink(settings, "lake"), end=8, cut=8)
    assert "nothing is lost" in str(caught.value)
    assert "another-secret" not in str(caught.value) + repr(open_lake(settings)) + repr(settings)


INDICATORS = ("sma_20", "rsi_14")


@pytest.fixture(params=["date", "symbol/date"])
def layout(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def archive(layout: str, tmp_path: Path) -> Path:
    """One row at least of every table."""
    section = {"format": "parquet", "layout": layout, "url": str(tmp_path / "archive")}
    sink = open_archive(Settings(sinks={"archive": section}), ManualClock(1_715_000_000 * 10**9))
    for tables in TOPICS.values():
        for table in tables:
            sink.write(batch(table, 0, 0, 40))
    for table, (topic, schema) in EVERY_TABLE.items():
        if topic not in TOPICS:
            whole = indicators_schema(INDICATORS) if table == "indicators" else schema
            row = {"symbol": "BTC/USD"} | {one.name: 1 for one in whole if one.name.endswith("_time_ns")}
            sink.write(SinkBatch(table, topic, 0, 0, 1, pa.RecordBatch.from_pylist([row], schema=whole)))
    sink.flush()
    return tmp_path / "archive"


def described(layout: str) -> dict[str, dict[str, Any]]:
    section = {"enabled": True, "format": "parquet", "layout": layout, "url": "s3://desk/archive"}
    found = wanted_objects(Settings(sinks={"archive": section}), INDICATORS, ())
    return {one.name: one.fields for one in found if one.kind == TABLE}


def test_columns_are_those_of_the_files_and_keys_of_the_paths_for_any_engine(archive: Path, layout: str) -> None:
    for table, fields in described(layout).items():
        files = sorted((archive / f"table={table}").rglob("*.parquet"))
        assert files, table
        for path in files:
            assert {one.name: glue_type(one.type) for one in pq.ParquetFile(path).schema_arrow} == fields["columns"]
            directories = path.relative_to(archive / f"table={table}").parts[:-1]
            assert [part.partition("=")[0] for part in directories] == list(fields["partition_keys"])
        assert fields["location"].endswith(f"/table={table}/")
    known = {"trades": [("S00", 6), ("S01", 5), ("S02", 5)], "alerts": [("BTC/USD", 1)]}
    for table, counts in known.items():
        rows = duckdb.read_parquet(f"{archive}/table={table}/**/*.parquet", hive_partitioning=True, union_by_name=True)
        assert rows.aggregate("symbol, count(*)", "symbol").order("symbol").fetchall() == counts
        assert {"date", "table"} <= set(rows.columns)
