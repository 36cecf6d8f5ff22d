"""Pages of bars, the newest rows of every series and the newest alerts, out of a lake that the sink has written."""

from collections import defaultdict
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from board_rows import row
from lake_rows import LakeRows
from marketpulse.clock import ManualClock
from marketpulse.errors import ParameterError
from marketpulse.model.rows import ALERT, BAR, indicators_schema
from marketpulse.ports import AlertSpan, BarSpan, SinkBatch
from marketpulse.query.duck import LakeQuery
from marketpulse.query.history import LakeHistory
from marketpulse.query.newest_alerts import newest_alerts
from marketpulse.query.recent import RecentRows
from marketpulse.settings import Settings
from marketpulse.sinks import open_sink

NAMES = ["sma_20", "vwap"]


@pytest.fixture
def lake(tmp_path: Path) -> LakeRows:
    return LakeRows(Settings(data_dir=tmp_path))


def add(lake: LakeRows, *rows: dict[str, Any]) -> None:
    lake.add("bars", rows)
    lake.add("indicators", rows, NAMES)


def minutes(symbol: str, count: int, first: int = 0, **other: Any) -> list[dict[str, Any]]:
    return [row(symbol, "1m", 60 * i, float(i + 1), sma_20=i + 0.5, **other) for i in range(first, first + count)]


def closes(page: pa.Table) -> list[float]:
    found: list[float] = page["close"].to_pylist()
    return found


def test_the_newest_before_a_time_come_oldest_first_with_their_values(lake: LakeRows) -> None:
    add(lake, *minutes("AAA", 9), *minutes("BBB", 9))
    history = LakeHistory(lake.settings)
    page = history.bars(BarSpan("AAA", "1m", before_ms=300_000, limit=3))
    assert (closes(page), page["sma_20"].to_pylist()) == ([3.0, 4.0, 5.0], [2.5, 3.5, 4.5])
    assert page.column_names[-2:] == ["sma_20", "session_vwap"]
    assert closes(history.bars(BarSpan("AAA", "1m", from_ms=120_000, before_ms=240_000))) == [3.0, 4.0]
    assert closes(history.bars(BarSpan("AAA", "5m"))) == []
    assert closes(history.bars(BarSpan("A' OR 'A' = 'A", "1m"))) == []


def test_a_bar_comes_as_its_last_revision_says_and_one_that_was_withdrawn_not_at_all(lake: LakeRows) -> None:
    add(lake, *minutes("AAA", 4))
    nothing = dict.fromkeys(("open", "high", "low", "close", "volume", "vwap", "trade_count"))
    lake.add("bars", [row("AAA", "1m", 60, 20.0, revision=1), row("AAA", "1m", 120, 0.0, revision=1) | nothing])
    page = LakeHistory(lake.settings).bars(BarSpan("AAA", "1m"))
    assert (closes(page), page["revision"].to_pylist()) == ([1.0, 20.0, 4.0], [0, 1, 0])


def test_tick_bars_that_open_at_one_time_are_told_apart_and_keep_their_values(lake: LakeRows) -> None:
    def tick(i: int) -> dict[str, Any]:
        plain = row("AAA", "1t", 100, float(i), sma_20=i + 0.5)
        return plain | {"receipt": plain["receipt"] | {"last_offset": i}}

    add(lake, *(tick(i) for i in (3, 1, 2)))
    history = LakeHistory(lake.settings)
    page = history.bars(BarSpan("AAA", "1t"))
    opens = page["open_time_ns"].to_pylist()
    assert opens == [100 * 10**9, 100 * 10**9 + 1_000, 100 * 10**9 + 2_000]
    assert (closes(page), page["sma_20"].to_pylist()) == ([1.0, 2.0, 3.0], [1.5, 2.5, 3.5])
    before = history.bars(BarSpan("AAA", "1t", before_ms=opens[2] / 1e6, limit=1))
    assert closes(before) == [2.0]


def test_a_page_that_was_read_is_read_again_once_the_lake_has_more(lake: LakeRows) -> None:
    add(lake, *minutes("AAA", 3))
    history = LakeHistory(lake.settings)
    first = history.bars(BarSpan("AAA", "1m"))
    assert history.bars(BarSpan("AAA", "1m")) is first
    add(lake, *minutes("AAA", 1, first=3))
    assert closes(history.bars(BarSpan("AAA", "1m"))) == [1.0, 2.0, 3.0, 4.0]


def test_bars_whose_values_are_not_stored_have_none(lake: LakeRows) -> None:
    lake.add("bars", minutes("AAA", 2))
    lake.add("indicators", minutes("AAA", 1), NAMES)
    assert LakeHistory(lake.settings).bars(BarSpan("AAA", "1m"))["sma_20"].to_pylist() == [0.5, None]


def test_an_empty_lake_has_no_bars(lake: LakeRows) -> None:
    history = LakeHistory(lake.settings)
    assert history.bars(BarSpan("AAA", "1m")).num_rows == 0
    with pytest.raises(ParameterError):
        history.bars(BarSpan("AAA", "1x"))
    history.close()


def test_alerts_come_in_order_of_their_keys_below_one_and_within_a_time(lake: LakeRows) -> None:
    rows = [
        {
            "symbol": symbol, "rule": rule, "severity": "info", "timeframe": "1m", "open_time_ns": 0, "event_time_ns": time,
            "state": "raised", "late": False, "value": 1.0, "message": "", "revision": 0,
            "receipt": row("AAA", "1m", 0, 1.0)["receipt"],
        }
        for time in (2, 1, 3) for symbol in ("BBB", "AAA") for rule in ("low", "high")
    ]  # fmt: skip
    lake.add("alerts", rows)
    history = LakeHistory(lake.settings)

    def keys(span: AlertSpan) -> list[tuple[Any, ...]]:
        return [(r["event_time_ns"], r["symbol"], r["rule"]) for r in history.alerts(span).to_pylist()]

    every = sorted((r["event_time_ns"], r["symbol"], r["rule"]) for r in rows)
    assert keys(AlertSpan()) == every
    assert keys(AlertSpan(below=every[5], limit=3)) == every[2:5]
    assert keys(AlertSpan(from_ns=2, to_ns=3, symbol="AAA")) == every[4:6]
    assert keys(AlertSpan(rule="low'; --")) == []
    assert "receipt" not in history.alerts(AlertSpan()).column_names


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(data_dir=tmp_path)


def store_stretch(settings: Settings, *rows: dict[str, Any], partition: int = 0, first_offset: int = 0) -> None:
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
    store_stretch(
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
    store_stretch(settings, *series("AAA", "1s", 1, 3))
    bars, values = RecentRows(settings, 50).batches()
    assert bars.rows.schema == BAR
    assert values.rows.schema == indicators_schema(NAMES)


def test_positions_say_how_far_each_partition_is_held(settings: Settings) -> None:
    store_stretch(settings, *series("AAA", "1s", 1, 3), partition=2, first_offset=5)
    assert RecentRows(settings, 50).positions() == {("bars", 2): 8, ("indicators", 2): 8}


def test_a_lake_without_bars_gives_nothing(settings: Settings) -> None:
    recent = RecentRows(settings, 50)
    assert recent.positions() == {}
    assert list(recent.batches()) == []


def alert_row(second: int, state: str, symbol: str = "A", rule: str = "high", **more: Any) -> dict[str, Any]:
    return {
        "symbol": symbol, "rule": rule, "severity": "warning", "timeframe": "1s", "open_time_ns": second - 1,
        "event_time_ns": second, "state": state, "was": None, "late": False, "value": 1.0, "message": "it's", "revision": 0,
    } | more  # fmt: skip


ROWS = [
    alert_row(1, "raised"),
    alert_row(2, "cleared"),
    alert_row(3, "raised", "B", "low", severity="critical"),
    alert_row(4, "raised"),
    alert_row(4, "withdrawn", revision=1, was="raised"),
    alert_row(5, "raised", "B's", "odd"),
    alert_row(5, "raised", "B's", "odd", revision=1, value=2.0, was="raised"),
    *(alert_row(10 + i, "raised" if i % 2 == 0 else "cleared", "C") for i in range(20)),
]


@pytest.fixture
def alerts_query(tmp_path: Path) -> LakeQuery:
    settings = Settings(data_dir=tmp_path)
    sink = open_sink(settings, "lake")
    sink.resume()
    sink.write(SinkBatch("alerts", "alerts", 0, 0, len(ROWS), pa.RecordBatch.from_pylist(ROWS, ALERT)))
    sink.flush()
    sink.close()
    return LakeQuery(settings)


def test_a_page_begins_with_the_newest_and_with_what_stands(alerts_query: LakeQuery) -> None:
    rows = [row for batch in newest_alerts(alerts_query, 3) for row in batch.to_pylist()]
    assert [(row["event_time_ns"], row["symbol"]) for row in rows] == [
        (1, "A"), (2, "A"), (3, "B"), (5, "B's"), (27, "C"), (28, "C"), (29, "C"),
    ]  # fmt: skip


def test_an_empty_lake_has_none(tmp_path: Path) -> None:
    alerts_query = LakeQuery(Settings(data_dir=tmp_path))
    assert list(newest_alerts(alerts_query, 3)) == []
