"""The tables that are described to Glue are what stands in the archive's files."""

from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from log_of_rows import TOPICS, batch
from marketpulse.aws.wanted import TABLE, glue_type, wanted_objects
from marketpulse.clock import ManualClock
from marketpulse.model.rows import indicators_schema
from marketpulse.model.tables import TABLES
from marketpulse.ports import SinkBatch
from marketpulse.settings import Settings
from marketpulse.sinks.archive import open_archive

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
    for table, (topic, schema) in TABLES.items():
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
            schema = pq.ParquetFile(path).schema_arrow
            assert {one.name: glue_type(one.type) for one in schema} == fields["columns"]
            directories = path.relative_to(archive / f"table={table}").parts[:-1]
            assert [part.partition("=")[0] for part in directories] == list(fields["partition_keys"])
        assert fields["location"].endswith(f"/table={table}/")
    known = {"trades": [("S00", 6), ("S01", 5), ("S02", 5)], "alerts": [("BTC/USD", 1)]}
    for table, counts in known.items():
        rows = duckdb.read_parquet(f"{archive}/table={table}/**/*.parquet", hive_partitioning=True, union_by_name=True)
        assert rows.aggregate("symbol, count(*)", "symbol").order("symbol").fetchall() == counts
        assert {"date", "table"} <= set(rows.columns)
