"""Bars adjusted for splits and dividends, on the real server: the same numbers as in the lake."""

from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from lake_store import DAY_NS, FEB_13_NS, PUBLISHED, LakeRows, bar, event
from marketpulse.clock import ManualClock
from marketpulse.model.tables import TABLES
from marketpulse.ports import SinkBatch
from marketpulse.query.duck import LakeQuery
from marketpulse.settings import PostgresSettings, Settings
from marketpulse.sinks.postgres import open_postgres
from postgres_store import PostgresPlace

VIEWS = ("bars", "bars_adjusted", "bars_total_return")
COLUMNS = "symbol, timeframe, open_time_ns, source, open, high, low, close, volume, vwap"
Row = dict[str, Any]
Put = Callable[[str, list[Row]], None]


@pytest.fixture
def put(place: PostgresPlace, tmp_path: Path) -> Iterator[Put]:
    """Stores rows in both."""
    sink = open_postgres(PostgresSettings(**place.section()), ManualClock(FEB_13_NS + 400 * DAY_NS))
    lake = LakeRows(Settings(data_dir=tmp_path))

    def store(table: str, rows: list[Row]) -> None:
        topic, schema = TABLES[table]
        batch = pa.RecordBatch.from_pylist(rows, schema=schema)
        sink.write(SinkBatch(table, topic, 0, lake.end, lake.end + 1, batch))
        sink.flush()
        lake.add(table, rows)

    yield store
    sink.close()


def both(place: PostgresPlace, folder: Path, view: str) -> list[Row]:
    """The view's rows, which are the same in the lake."""
    sql = f"SELECT {COLUMNS} FROM {{}} ORDER BY symbol, timeframe, open_time_ns"  # noqa: S608
    with closing(LakeQuery(Settings(data_dir=folder))) as query:
        there = query.run(sql.format(view)).to_pylist()
    here = place.found(sql.format(f"marketpulse.{view}"))
    assert here == there
    return here


def test_total_returns_are_the_published_adjusted_closes(put: Put, place: PostgresPlace, tmp_path: Path) -> None:
    put("bars", [bar(day, close) for day, close, _ in PUBLISHED])
    put("events", [event("split", 5, 2.0, 0), event("dividend", 6, 0.08, 1)])
    closes = [round(row["close"], 2) for row in both(place, tmp_path, "bars_total_return")]
    assert closes == [published for _, _, published in PUBLISHED]
    halved = both(place, tmp_path, "bars_adjusted")
    assert [row["close"] for row in halved] == [46.99 / 2, 48.30 / 2, 24.96, 24.53]
    assert [row["volume"] for row in halved] == [200, 200, 100, 100]
    assert [row["close"] for row in both(place, tmp_path, "bars")] == [c for _, c, _ in PUBLISHED]


def test_everything_that_may_be_told_reads_as_in_the_lake(put: Put, place: PostgresPlace, tmp_path: Path) -> None:
    hour = 3_600 * 10**9
    put("bars", [bar(day, 61.3 + day, symbol) for day in range(0, 12, 2) for symbol in ("MSFT", "AAPL", "KO")])
    of_hours = {"timeframe": "1h", "source": "other"}
    put("bars", [bar(0, 60.0 + n, "AAPL", open_time_ns=FEB_13_NS + n * hour, **of_hours) for n in range(90)])
    put("events", [
        event("split", 3, 3.0, 0), event("split", 5, 7.0, 1), event("split", 30, 0.5, 2), event("dividend", 5, 0.3, 3),
        event("split", 4, 2.0, 9, "AAPL", topic="file:old.csv"), event("split", 4, 4.0, 5, "AAPL"),
        event("split", 8, 3.0, 6, "AAPL", source="other", adjusted=True), event("dividend", 2, 1.5, 7, "AAPL"),
        event("dividend", 6, 900.0, 8, "AAPL"), event("split", 9, 2.0, 10, "AAPL"), event("split", 9, 1.0, 11, "AAPL"),
        event("dividend", 8, 0.7, 12, "AAPL"),
    ])  # fmt: skip
    rows = [both(place, tmp_path, view) for view in VIEWS]
    kept = [[row for row in found if row["symbol"] == "KO"] for found in rows]
    assert kept[0] == kept[1] == kept[2], "nothing was told of it"
    other = [[row["close"] for row in found if row["source"] == "other"] for found in rows]
    assert other[1] == [close / 4 for close in other[0]], "its own split is in its prices"
    assert all(total < split for total, split in zip(other[2], other[1], strict=True))
