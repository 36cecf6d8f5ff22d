"""Finnhub's candles: how it is asked, and what its answers say."""

from typing import Any

import orjson
import pytest

from marketpulse.settings import FinnhubBarsSettings
from marketpulse.sources.finnhub_bars import FinnhubBars
from marketpulse.sources.rest.answer import Answer
from marketpulse.sources.tape import build

OPEN_S = 1_772_636_760  # 2026-03-04T15:06:00Z
NOW_NS = (OPEN_S + 3_600) * 10**9


def vendor(**more: Any) -> FinnhubBars:
    return FinnhubBars(FinnhubBarsSettings(symbols=("AAPL",), interval="1m", venue="XNYS", **more))


def read(body: Any) -> Any:
    raw = orjson.dumps(body)
    return vendor().read("AAPL", Answer(orjson.loads(raw), raw, {}, NOW_NS))


def candles(**more: Any) -> dict[str, Any]:
    return {"s": "ok", "t": [OPEN_S, OPEN_S + 60], "o": [10.0, 11.0], "h": [12.0, 11.5], "l": [9.5, 10.5],
            "c": [11.0, 10.75], "v": [300, 40], **more}  # fmt: skip


def test_it_is_asked_for_a_span_in_seconds_that_begins_a_little_before() -> None:
    first = vendor(history_days=2).question("BRK-B", None, NOW_NS)
    assert first.path == "/api/v1/stock/candle"
    assert first.parameters == {
        "symbol": "BRK.B", "resolution": "1", "from": str(OPEN_S + 3_600 - 2 * 86_400), "to": str(OPEN_S + 3_601),
    }  # fmt: skip
    later = vendor().question("AAPL", OPEN_S * 10**9, NOW_NS)
    assert later.parameters["from"] == str(OPEN_S - 300)


def test_columns_become_bars_of_the_interval() -> None:
    reading = read(candles())
    [batch] = build({"bar": [reading.rows]}).batches(0, 2, "finnhub", NOW_NS)
    rows = batch.to_pylist()
    assert [(r["open_time_ns"], r["close_time_ns"], r["close"], r["volume"]) for r in rows] == [
        (OPEN_S * 10**9, (OPEN_S + 60) * 10**9, 11.0, 300.0),
        ((OPEN_S + 60) * 10**9, (OPEN_S + 120) * 10**9, 10.75, 40.0),
    ]
    assert {(r["symbol"], r["venue"], r["timeframe"]) for r in rows} == {("AAPL", "XNYS", "1m")}


def test_no_data_is_no_fault_and_what_is_no_answer_is_set_aside_whole() -> None:
    nothing = read({"s": "no_data"})
    assert (nothing.rows, list(nothing.rejected)) == (None, [])
    bodies: list[Any] = [[], {"s": "ok"}, candles(v=[1]), candles(t="now")]
    for body in bodies:
        [letter] = read(body).rejected
        assert letter.reason == "bad_answer"


@pytest.mark.parametrize(("column", "value", "reason"), [("o", -1, "bad_price"), ("t", "soon", "bad_time")])
def test_a_row_that_cannot_be_a_bar_does_not_spoil_the_others(column: str, value: Any, reason: str) -> None:
    reading = read(candles(**{column: [value, candles()[column][1]]}))
    assert len(reading.rows) == 1
    assert [letter.reason for letter in reading.rejected] == [reason]
