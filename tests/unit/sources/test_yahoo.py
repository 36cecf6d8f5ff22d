from typing import Any

import pytest

from marketpulse.settings import YahooSettings
from marketpulse.sources.rest import Taken
from marketpulse.sources.yahoo import Yahoo, judge
from vendor_answers import NEW_YORK, answer, ns, yahoo_chart

OPEN, CLOSE = ns(2026, 3, 2, 9, 30, zone=NEW_YORK) // 10**9, ns(2026, 3, 2, 16, 0, zone=NEW_YORK) // 10**9


def vendor(**given: Any) -> Yahoo:
    return Yahoo(YahooSettings(symbols=("AAPL",), **given))


def test_columns_become_bars_and_minutes_without_a_trade_become_nothing() -> None:
    body = yahoo_chart([OPEN, OPEN + 60, OPEN + 120], [10.0, None, 12.5], regular=(OPEN, CLOSE), market_time=OPEN + 150)
    reading = vendor().read("AAPL", answer(body, (OPEN + 200) * 10**9))
    assert reading.rows is not None
    assert not reading.rejected
    frame = reading.rows.frame
    assert frame["open_time_ns"].to_list() == [OPEN * 10**9, (OPEN + 120) * 10**9]
    assert frame.select("open", "high", "low", "close", "volume").rows() == [
        (10, 11, 9, 10, 100),
        (12.5, 13.5, 11.5, 12.5, 100),
    ]
    assert frame["venue"].to_list() == ["XNAS", "XNAS"]
    assert reading.busy is True
    assert reading.reached_ns == (OPEN + 150) * 10**9


@pytest.mark.parametrize("last", [OPEN + 157, CLOSE], ids=["between two minutes", "at the close"])
def test_a_last_row_that_is_the_state_of_now_is_no_bar(last: int) -> None:
    before = last - last % 60 - 60
    body = yahoo_chart([before, last], [10.0, 11.0], regular=(OPEN, CLOSE), market_time=last)
    reading = vendor().read("AAPL", answer(body, last * 10**9))
    assert reading.rows is not None
    assert reading.rows.frame["open_time_ns"].to_list() == [before * 10**9]
    assert reading.reached_ns == last * 10**9


def test_a_days_bar_is_the_session_of_the_exchanges_own_date() -> None:
    """Sydney opens at 10:00, which is 23:00 UTC of the day before."""
    opens = ns(2026, 3, 1, 23, 0) // 10**9
    body = yahoo_chart([opens], [10.0], zone="Australia/Sydney", exchange="ASX", granularity="1d")
    reading = vendor(interval="1d").read("BHP.AX", answer(body, ns(2026, 3, 4)))
    assert reading.rows is not None
    row = reading.rows.frame.row(0, named=True)
    assert str(row["session_date"]) == "2026-03-02"
    assert row["close_time_ns"] == ns(2026, 3, 3)
    assert row["venue"] == "XASX"


def test_the_days_last_row_replaces_the_one_before_it() -> None:
    """During the day the last row has the time of the last trade, and stands beside nothing, or the day's own row."""
    body = yahoo_chart([OPEN, OPEN + 9000], [10.0, 11.0], granularity="1d")
    reading = vendor(interval="1d").read("AAPL", answer(body, ns(2026, 3, 4)))
    assert reading.rows is not None
    assert reading.rows.frame["close"].to_list() == [11.0]


def test_a_price_that_lacks_one_field_is_a_dead_letter() -> None:
    body = yahoo_chart([OPEN, OPEN + 60, OPEN + 120], [10.0, 11.0, 12.0], regular=(OPEN, CLOSE))
    body["chart"]["result"][0]["indicators"]["quote"][0]["low"][1] = None
    reading = vendor().read("AAPL", answer(body, CLOSE * 10**9))
    assert reading.rows is not None
    assert len(reading.rows) == 2
    assert [item.reason for item in reading.rejected] == ["missing_field"]


def test_an_answer_without_bars_is_no_fault() -> None:
    body = yahoo_chart([], [])
    del body["chart"]["result"][0]["timestamp"]
    body["chart"]["result"][0]["indicators"]["quote"] = [{}]
    reading = vendor().read("AAPL", answer(body, CLOSE * 10**9))
    assert reading.rows is None
    assert not reading.rejected


@pytest.mark.parametrize(
    "body",
    [None, [], {}, {"chart": {"result": None, "error": {"code": "Not Found"}}}, {"chart": {"result": [{}]}},
     {"chart": {"result": [{"meta": {}, "timestamp": 5}]}}, {"chart": {"result": [{"meta": {}, "timestamp": [5]}]}}],
)  # fmt: skip
def test_an_answer_that_is_something_else_is_set_aside_whole(body: Any) -> None:
    reading = vendor().read("AAPL", answer(body, CLOSE * 10**9))
    assert reading.rows is None
    assert [item.reason for item in reading.rejected] == ["bad_answer"]


def test_what_it_asks() -> None:
    now = ns(2026, 3, 2, 20, 0)
    first = vendor(history="5d").question("BRK.B", None, now)
    assert first.path == "/v8/finance/chart/BRK-B"
    assert first.parameters == {"interval": "1m", "includePrePost": "false", "range": "5d", "events": "splits"}
    since = vendor().question("^GSPC", now - 600 * 10**9, now)
    assert since.path == "/v8/finance/chart/%5EGSPC"
    assert since.parameters["period1"] == str(now // 10**9 - 600 - 300)
    assert since.parameters["period2"] == str(now // 10**9 + 1)
    assert not since.truncated


def test_who_is_turned_away_waits_and_is_not_told_of_a_key() -> None:
    for status in (401, 403, 999):
        judged = judge(status, None)
        assert judged is not None
        assert judged.taken == Taken.LIMIT
    assert judge(200, {}) is None
    assert judge(404, {}) is None


def test_after_hours_the_vendor_says_so() -> None:
    body = yahoo_chart([OPEN], [10.0], regular=(OPEN, CLOSE))
    assert vendor().read("AAPL", answer(body, (CLOSE + 36_000) * 10**9)).busy is False
