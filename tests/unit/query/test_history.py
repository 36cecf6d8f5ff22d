"""Pages of bars, the newest rows of every series and the newest alerts, out of a lake that the sink has written."""

from collections import defaultdict
from collections.abc import Iterator
from contextlib import closing
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
def history(lake: LakeRows) -> Iterator[LakeHistory]:
    with closing(LakeHistory(lake.settings)) as history:
        yield history


def add(lake: LakeRows, *rows: dict[str, Any]) -> None:
    lake.add("bars", rows)
    lake.add("indicators", rows, NAMES)


def minutes(symbol: str, count: int, first: int = 0, **other: Any) -> list[dict[str, Any]]:
    return [row(symbol, "1m", 60 * i, float(i + 1), sma_20=i + 0.5, **other) for i in range(first, first + count)]


def closes(page: pa.Table) -> list[float]:
    found: list[float] = page["close"].to_pylist()
    return found


def test_the_newest_before_a_time_come_oldest_first_with_their_values(lake: LakeRows, history: LakeHistory) -> None:
    assert history.bars(BarSpan("AAA", "1m")).num_rows == 0, "an empty lake has no bars"
    with pytest.raises(ParameterError):
        history.bars(BarSpan("AAA", "1x"))
    add(lake, *minutes("AAA", 9), *minutes("BBB", 9))
    page = history.bars(BarSpan("AAA", "1m", before_ms=300_000, limit=3))
    assert (closes(page), page["sma_20"].to_pylist()) == ([3.0, 4.0, 5.0], [2.5, 3.5, 4.5])
    assert page.column_names[-2:] == ["sma_20", "session_vwap"]
    assert closes(history.bars(BarSpan("AAA", "1m", from_ms=120_000, before_ms=240_000))) == [3.0, 4.0]
    assert closes(history.bars(BarSpan("AAA", "5m"))) == []
    assert closes(history.bars(BarSpan("A' OR 'A' = 'A", "1m"))) == []


def test_a_bar_is_as_last_revised_and_a_withdrawn_one_is_left_out(lake: LakeRows, history: LakeHistory) -> None:
    add(lake, *minutes("AAA", 4))
    nothing = dict.fromkeys(("open", "high", "low", "close", "volume", "vwap", "trade_count"))
    lake.add("bars", [row("AAA", "1m", 60, 20.0, revision=1), row("AAA", "1m", 120, 0.0, revision=1) | nothing])
    page = history.bars(BarSpan("AAA", "1m"))
    assert (closes(page), page["revision"].to_pylist()) == ([1.0, 20.0, 4.0], [0, 1, 0])
    lake.add("bars", minutes("BBB", 2))
    lake.add("indicators", minutes("BBB", 1), NAMES)
    assert history.bars(BarSpan("BBB", "1m"))["sma_20"].to_pylist() == [0.5, None], "values that are not stored"


def test_tick_bars_of_one_time_are_told_apart_and_keep_their_values(lake: LakeRows, history: LakeHistory) -> None:
    ticks = [row("AAA", "1t", 100, float(i), sma_20=i + 0.5) for i in (3, 1, 2)]
    add(lake, *(tick | {"receipt": tick["receipt"] | {"last_offset": int(tick["close"])}} for tick in ticks))
    page = history.bars(BarSpan("AAA", "1t"))
    opens = [100 * 10**9, 100 * 10**9 + 1_000, 100 * 10**9 + 2_000]
    found = [page[name].to_pylist() for name in ("open_time_ns", "close", "sma_20")]
    assert found == [opens, [1.0, 2.0, 3.0], [1.5, 2.5, 3.5]]
    assert closes(history.bars(BarSpan("AAA", "1t", before_ms=opens[2] / 1e6, limit=1))) == [2.0]


def test_a_page_that_was_read_is_read_again_once_the_lake_has_more(lake: LakeRows, history: LakeHistory) -> None:
    add(lake, *minutes("AAA", 3))
    first = history.bars(BarSpan("AAA", "1m"))
    assert history.bars(BarSpan("AAA", "1m")) is first
    add(lake, *minutes("AAA", 1, first=3))
    assert closes(history.bars(BarSpan("AAA", "1m"))) == [1.0, 2.0, 3.0, 4.0]


def test_alerts_come_in_order_of_their_keys_below_one_and_within_a_time(lake: LakeRows, history: LakeHistory) -> None:
    every = [(time, symbol, rule) for time in (1, 2, 3) for symbol in ("AAA", "BBB") for rule in ("high", "low")]
    receipt = row("AAA", "1m", 0, 1.0)["receipt"]
    lake.add("alerts", [alert_row(time, "raised", *of, receipt=receipt) for time, *of in reversed(every)])

    def keys(span: AlertSpan) -> list[tuple[Any, ...]]:
        return [(r["event_time_ns"], r["symbol"], r["rule"]) for r in history.alerts(span).to_pylist()]

    assert (keys(AlertSpan()), keys(AlertSpan(below=every[5], limit=3))) == (every, every[2:5])
    assert (keys(AlertSpan(from_ns=2, to_ns=3, symbol="AAA")), keys(AlertSpan(rule="low'; --"))) == (every[4:6], [])
    assert "receipt" not in history.alerts(AlertSpan()).column_names


def write(settings: Settings, *batches: SinkBatch) -> None:
    sink = open_sink(settings, "lake", ManualClock(10**18))
    sink.resume()
    for batch in batches:
        sink.write(batch)
    sink.flush()
    sink.close()


def store_stretch(settings: Settings, *rows: dict[str, Any], partition: int = 0, first_offset: int = 0) -> None:
    """A stretch of `bars` and one of `indicators`, a record each row."""
    schemas = {"bars": BAR, "indicators": indicators_schema(NAMES)}
    batches = {table: pa.RecordBatch.from_pylist(list(rows), schema) for table, schema in schemas.items()}
    end = first_offset + len(rows)
    write(settings, *(SinkBatch(table, table, partition, first_offset, end, rows) for table, rows in batches.items()))


def series(symbol: str, timeframe: str, length_s: int, count: int, start_s: int = 0) -> list[dict[str, Any]]:
    opens = [start_s + i * length_s for i in range(count)]
    return [row(symbol, timeframe, at, i + 1.0, sma_20=i + 0.5, vwap=None) for i, at in enumerate(opens)]


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
    newest = {key: [float(i) for i in range(max(1, count - 49), count + 1)] for key, count in counts.items()}
    assert found == {(topic, *key): values for topic in ("bars", "indicators") for key, values in newest.items()}


def test_rows_come_with_the_contracts_schemas_and_say_how_far_each_partition_is_held(settings: Settings) -> None:
    recent = RecentRows(settings, 50)
    assert (recent.positions(), list(recent.batches())) == ({}, []), "a lake without bars"
    store_stretch(settings, *series("AAA", "1s", 1, 3), partition=2, first_offset=5)
    bars, values = RecentRows(settings, 50).batches()
    assert (bars.rows.schema, values.rows.schema) == (BAR, indicators_schema(NAMES))
    assert RecentRows(settings, 50).positions() == {("bars", 2): 8, ("indicators", 2): 8}


def alert_row(second: int, state: str, symbol: str = "A", rule: str = "high", **more: Any) -> dict[str, Any]:
    return {
        "symbol": symbol, "rule": rule, "severity": "warning", "timeframe": "1s", "open_time_ns": second - 1,
        "event_time_ns": second, "state": state, "was": None, "late": False, "value": 1.0, "message": "it's", "revision": 0,
    } | more  # fmt: skip


ROWS = [
    alert_row(1, "raised"), alert_row(2, "cleared"), alert_row(3, "raised", "B", "low", severity="critical"),
    alert_row(4, "raised"), alert_row(4, "withdrawn", revision=1, was="raised"), alert_row(5, "raised", "B's", "odd"),
    alert_row(5, "raised", "B's", "odd", revision=1, value=2.0, was="raised"),
    *(alert_row(10 + i, "raised" if i % 2 == 0 else "cleared", "C") for i in range(20)),
]  # fmt: skip


def test_a_page_begins_with_the_newest_and_with_what_stands(settings: Settings) -> None:
    assert list(newest_alerts(LakeQuery(settings), 3)) == [], "an empty lake has none"
    write(settings, SinkBatch("alerts", "alerts", 0, 0, len(ROWS), pa.RecordBatch.from_pylist(ROWS, ALERT)))
    rows = [row for batch in newest_alerts(LakeQuery(settings), 3) for row in batch.to_pylist()]
    assert [(row["event_time_ns"], row["symbol"]) for row in rows] == [
        (1, "A"), (2, "A"), (3, "B"), (5, "B's"), (27, "C"), (28, "C"), (29, "C"),
    ]  # fmt: skip
