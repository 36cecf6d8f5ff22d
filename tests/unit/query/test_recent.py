"""The newest rows of every series out of a lake that the sink has written."""

from collections import defaultdict
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from board_rows import row
from marketpulse.clock import ManualClock
from marketpulse.model.rows import BAR, indicators_schema
from marketpulse.ports import SinkBatch
from marketpulse.query.recent import RecentRows
from marketpulse.settings import Settings
from marketpulse.sinks import open_sink

NAMES = ["sma_20", "vwap"]


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(data_dir=tmp_path)


def store(settings: Settings, *rows: dict[str, Any], partition: int = 0, first_offset: int = 0) -> None:
    """A stretch of `bars` and one of `indicators`, a record each row."""
    sink = open_sink(settings, "lake", ManualClock(10**18))
    sink.resume()
    end = first_offset + len(rows)
    for table, schema in (("bars", BAR), ("indicators", indicators_schema(NAMES))):
        batch = pa.RecordBatch.from_pylist(list(rows), schema)
        sink.write(SinkBatch(table, table, partition, first_offset, end, batch))
    sink.flush()
    sink.close()


def series(symbol: str, timeframe: str, length_s: int, count: int, start_s: int = 0) -> list[dict[str, Any]]:
    return [
        row(symbol, timeframe, start_s + i * length_s, float(i + 1), sma_20=i + 0.5, vwap=None) for i in range(count)
    ]


def test_each_series_gives_its_newest_bars_however_many_the_others_have(settings: Settings) -> None:
    store(
        settings, *series("AAA", "1s", 1, 900, start_s=10**9), *series("AAA", "1m", 60, 70, start_s=10**9),
        *series("OLD", "1m", 60, 60), *series("OLD", "1d", 86_400, 7),
    )  # fmt: skip
    found: dict[tuple[str, str, str], list[float]] = defaultdict(list)
    for batch in RecentRows(settings, 50).batches():
        for line in batch.rows.to_pylist():
            number = line["close"] if batch.topic == "bars" else line["sma_20"] + 0.5
            found[batch.topic, line["symbol"], line["timeframe"]].append(number)
    counts = {("AAA", "1s"): 900, ("AAA", "1m"): 70, ("OLD", "1m"): 60, ("OLD", "1d"): 7}
    assert found == {
        (topic, *key): [float(i) for i in range(max(1, count - 49), count + 1)]
        for topic in ("bars", "indicators")
        for key, count in counts.items()
    }


def test_rows_come_with_the_contracts_schemas(settings: Settings) -> None:
    store(settings, *series("AAA", "1s", 1, 3))
    bars, values = RecentRows(settings, 50).batches()
    assert bars.rows.schema == BAR
    assert values.rows.schema == indicators_schema(NAMES)


def test_positions_say_how_far_each_partition_is_held(settings: Settings) -> None:
    store(settings, *series("AAA", "1s", 1, 3), partition=2, first_offset=5)
    assert RecentRows(settings, 50).positions() == {("bars", 2): 8, ("indicators", 2): 8}


def test_a_lake_without_bars_gives_nothing(settings: Settings) -> None:
    recent = RecentRows(settings, 50)
    assert recent.positions() == {}
    assert list(recent.batches()) == []
