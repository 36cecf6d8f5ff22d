"""A page of one series out of a lake that the sink has written."""

from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from board_rows import row
from lake_rows import LakeRows
from marketpulse.errors import ParameterError
from marketpulse.ports import AlertSpan, BarSpan
from marketpulse.query.history import LakeHistory
from marketpulse.settings import Settings

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
