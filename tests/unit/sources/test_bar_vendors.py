"""Vendors of bars: how each is asked, and what its answers say."""

from collections.abc import Sequence
from datetime import time
from typing import Any

import polars as pl
import pytest

from marketpulse.settings import AlphaVantageSettings, FinnhubBarsSettings, YahooSettings
from marketpulse.sources import alpha_vantage, yahoo
from marketpulse.sources.alpha_vantage import AlphaVantage, allowance, rate
from marketpulse.sources.finnhub_bars import FinnhubBars
from marketpulse.sources.rest import Taken
from marketpulse.sources.rest.bar_answer import Reading
from marketpulse.sources.tape import build
from marketpulse.sources.yahoo import Yahoo
from vendor_server import NEW_YORK, answer, ns, recorded, yahoo_chart

LATER = ns(2026, 1, 5)
OPEN, CLOSE = ns(2026, 3, 2, 9, 30, zone=NEW_YORK) // 10**9, ns(2026, 3, 2, 16, 0, zone=NEW_YORK) // 10**9
AT = 1_772_636_760  # 2026-03-04T15:06:00Z
HOUR_LATER = (AT + 3_600) * 10**9
NOW = ns(2026, 3, 2, 20, 0)


def alpha(**given: Any) -> AlphaVantage:
    return AlphaVantage(AlphaVantageSettings(symbols=("MSFT",), **given))


def yahoo_of(**given: Any) -> Yahoo:
    return Yahoo(YahooSettings(symbols=("AAPL",), **given))


def finnhub(**given: Any) -> FinnhubBars:
    return FinnhubBars(FinnhubBarsSettings(symbols=("AAPL",), interval="1m", venue="XNYS", **given))


def frame(reading: Reading, rejected: Sequence[str] = ()) -> pl.DataFrame:
    """The bars of an answer, beside which dead letters of these reasons are told."""
    assert reading.rows is not None
    assert sorted(item.reason for item in reading.rejected) == [*rejected]
    return reading.rows.frame


def daily(*dates: str) -> dict[str, Any]:
    bar = {"1. open": "10.0", "2. high": "12.0", "3. low": "9.0", "4. close": "11.0", "5. volume": "1000"}
    return {"Meta Data": {"5. Time Zone": "US/Eastern"}, "Time Series (Daily)": dict.fromkeys(dates, bar)}


def test_a_recorded_answer_is_read_by_the_wall_clock_of_new_york_and_a_quote_is_the_days_bar() -> None:
    minutes = answer(recorded("mock_time_series"), LATER)
    bars, closes = (
        frame(alpha(function="intraday", interval="1min", **more).read("MSFT", minutes)) for more in ({}, {"label": "close"})
    )  # fmt: skip
    assert len(bars) == 100
    # 13:17 and 14:56 on the wall of New York in December are 18:17 and 19:56 UTC.
    assert bars["open_time_ns"][0] == ns(2017, 12, 18, 18, 17)
    assert bars["close_time_ns"][-1] == ns(2017, 12, 18, 19, 57)
    assert bars.select("open", "high", "low", "close", "volume").row(-1) == (86.49, 86.5, 86.475, 86.5, 10494)
    assert (set(bars["timeframe"]), set(bars["symbol"])) == ({"1m"}, {"MSFT"})
    assert closes["close_time_ns"][-1] == ns(2017, 12, 18, 19, 56), "labels that are closes are moved"
    bars = frame(alpha(function="quote", venue="XNAS").read("MSFT", answer(recorded("global_quote"), LATER)))
    row = bars.row(0, named=True)
    assert (str(row["session_date"]), row["venue"], row["timeframe"]) == ("2018-10-05", "XNAS", "1d")
    values = [row[name] for name in ("open", "high", "low", "close", "volume")]
    assert values == [112.63, 113.17, 110.64, 112.13, 29062853]
    labels = ("2026-03-06 15:55:00", "2026-03-09 09:30:00")  # a Friday in winter, a Monday in summer time
    body = {"Meta Data": {"6. Time Zone": "US/Eastern"}, "Time Series (5min)": daily(*labels)["Time Series (Daily)"]}
    times = frame(alpha(function="intraday").read("MSFT", answer(body, LATER)))["open_time_ns"].to_list()
    assert times == [ns(2026, 3, 6, 20, 55), ns(2026, 3, 9, 13, 30)]
    assert ns(2026, 3, 9, 9, 30, zone=NEW_YORK) == ns(2026, 3, 9, 13, 30)


SAYS = "We have detected your API key as XXX and our standard API rate limit is 25 requests per day. Please subscribe to any of the premium plans"
SPREAD = "Please consider spreading out your free API requests more sparingly. You may subscribe to any of the premium plans to lift the free key rate limit (25 requests per day) and instantly unlock all premium endpoints"
PREMIUM = "Thank you for using Alpha Vantage! This is a premium endpoint. You may subscribe to any of the premium plans"


@pytest.mark.parametrize(("body", "taken", "retry_in_s"), [
    ({"Note": "Our standard API call frequency is 5 calls per minute and 500 calls per day."}, "limit", ...),
    ({"Information": SAYS}, "limit", ...), ({"Information": SPREAD}, "limit", ...), ({"Information": PREMIUM}, "refused", ...),
    ({"Information": "The **demo** API key is for demo purposes only. Please claim your free API key"}, "key", ...),
    ({"Error Message": "the parameter apikey is invalid or missing. Please claim your free API key on"}, "key", ...),
    ({"Error Message": "Invalid API call. Please retry or visit the documentation for TIME_SERIES_DAILY."}, "refused", ...),
    ({"Information": "something new"}, "limit", ...),
    # the limit of a day waits longer than that of a minute
    ({"Information": "our standard API rate limit is 25 requests per day"}, "limit", 3600),
    ({"Note": "5 calls per minute and 500 calls per day"}, "limit", 60),
])  # fmt: skip
def test_what_alpha_vantage_says_with_status_200_is_taken_as(body: dict[str, str], taken: str, retry_in_s: Any) -> None:
    judged: Any = alpha_vantage.judge(200, body)
    assert judged.taken == Taken(taken)
    assert retry_in_s in (..., judged.retry_in_s)


def test_recorded_bodies_are_a_limit_a_wrong_question_or_symbol_and_an_impossible_bar_one_dead_letter() -> None:
    bodies = recorded("http200_bodies.json")["bodies"]
    judged = [alpha_vantage.judge(200, body) for body in bodies]
    assert [None if one is None else one.taken for one in judged] == [Taken.LIMIT, Taken.REFUSED, None]
    reading = alpha(function="quote").read("NONE", answer(bodies[2], LATER))
    assert (reading.rows, [item.reason for item in reading.rejected]) == (None, ["bad_answer"])
    judged = [*(yahoo.judge(status, None) for status in (401, 403, 999)), yahoo.judge(200, {}), yahoo.judge(404, {})]
    assert [one and one.taken for one in judged] == [*[Taken.LIMIT] * 3, None, None]
    body = daily("2026-03-02", "2026-03-03", "not a date", "2026-03-05")
    body["Time Series (Daily)"]["2026-03-03"] = {**body["Time Series (Daily)"]["2026-03-02"], "2. high": "-1"}
    body["Time Series (Daily)"]["2026-03-05"] = "nothing"
    bars = frame(alpha().read("MSFT", answer(body, LATER)), ["bad_price", "bad_time", "empty_row"])
    assert [str(date) for date in bars["session_date"]] == ["2026-03-02"]
    body = yahoo_chart([OPEN, OPEN + 60, OPEN + 120], [10.0, 11.0, 12.0], regular=(OPEN, CLOSE))
    body["chart"]["result"][0]["indicators"]["quote"][0]["low"][1] = None
    assert len(frame(yahoo_of().read("AAPL", answer(body, CLOSE * 10**9)), ["missing_field"])) == 2
    for column, value, reason in (("o", -1, "bad_price"), ("t", "soon", "bad_time")):
        body = candles(**{column: [value, candles()[column][1]]})
        assert len(frame(finnhub().read("AAPL", answer(body, HOUR_LATER)), [reason])) == 1


def candles(**more: Any) -> dict[str, Any]:
    prices = {"o": [10.0, 11.0], "h": [12.0, 11.5], "l": [9.5, 10.5], "c": [11.0, 10.75]}
    return {"s": "ok", "t": [AT, AT + 60], **prices, "v": [300, 40], **more}


OTHERS: list[tuple[list[Any], list[Any]]] = [
    ([alpha(function=function) for function in ("quote", "daily", "intraday")],
     [{}, [], None, "text", {"Time Series (Daily)": "none"}, {"Global Quote": []}]),
    ([alpha()], [{**daily("2026-03-02"), "Meta Data": {"5. Time Zone": "Mars/Base"}}]),
    ([yahoo_of()], [None, [], {}, {"chart": {"result": None, "error": {"code": "Not Found"}}}, {"chart": {"result": [{}]}},
                    {"chart": {"result": [{"meta": {}, "timestamp": 5}]}}, {"chart": {"result": [{"meta": {}, "timestamp": [5]}]}}]),
    ([finnhub()], [[], {"s": "ok"}, candles(v=[1]), candles(t="now")]),
]  # fmt: skip


@pytest.mark.parametrize(("vendor", "body"), [(v, body) for vendors, bodies in OTHERS for v in vendors for body in bodies])  # fmt: skip
def test_an_answer_that_is_something_else_is_set_aside_whole(vendor: Any, body: Any) -> None:
    reading = vendor.read("AAPL", answer(body, CLOSE * 10**9))
    assert (reading.rows, [item.reason for item in reading.rejected]) == (None, ["bad_answer"])


def test_what_each_vendor_is_asked_and_within_which_limits() -> None:
    minutes = alpha(function="intraday", interval="1min", history="full")
    ask, again = (minutes.question("BRK.B", since, NOW) for since in (None, NOW - 60 * 10**9))
    assert (ask.path, ask.truncated) == ("/query", False)
    assert ask.parameters == {
        "function": "TIME_SERIES_INTRADAY", "symbol": "BRK-B", "interval": "1min", "outputsize": "full",
        "adjusted": "false", "extended_hours": "false",
    }  # fmt: skip
    assert (again.parameters["outputsize"], again.truncated) == ("compact", True)
    quote = alpha(function="quote").question("IBM", None, NOW).parameters
    assert quote == {"function": "GLOBAL_QUOTE", "symbol": "IBM"}
    first = yahoo_of(history="5d").question("BRK.B", None, NOW)
    assert first.path == "/v8/finance/chart/BRK-B"
    assert first.parameters == {"interval": "1m", "includePrePost": "false", "range": "5d", "events": "splits"}
    since = yahoo_of().question("^GSPC", NOW - 600 * 10**9, NOW)
    assert (since.path, since.truncated) == ("/v8/finance/chart/%5EGSPC", False)
    span = (str(NOW // 10**9 - 600 - 300), str(NOW // 10**9 + 1))
    assert (since.parameters["period1"], since.parameters["period2"]) == span
    first = finnhub(history_days=2).question("BRK-B", None, HOUR_LATER)
    assert first.path == "/api/v1/stock/candle"
    assert first.parameters == {
        "symbol": "BRK.B", "resolution": "1", "from": str(AT + 3_600 - 2 * 86_400), "to": str(AT + 3_601),
    }  # fmt: skip
    assert finnhub().question("AAPL", AT * 10**9, HOUR_LATER).parameters["from"] == str(AT - 300)
    settings = AlphaVantageSettings(symbols=("A", "B"))
    budget: Any = allowance(settings, 2)
    assert rate(settings).requests == 5
    assert (budget.per_day, budget.at_once, budget.opens, budget.closes) == (25, 2, time(9, 30), time(16, 30))
    assert allowance(AlphaVantageSettings(symbols=("A",), requests_per_day=None), 1) is None


def test_candles_and_columns_become_bars_and_minutes_without_a_trade_and_no_data_become_nothing() -> None:
    reading: Any = finnhub().read("AAPL", answer(candles(), HOUR_LATER))
    [batch] = build({"bar": [reading.rows]}).batches(0, 2, "finnhub", HOUR_LATER)
    rows = batch.to_pylist()
    assert [(r["open_time_ns"], r["close_time_ns"], r["close"], r["volume"]) for r in rows] == [
        (AT * 10**9, (AT + 60) * 10**9, 11.0, 300.0), ((AT + 60) * 10**9, (AT + 120) * 10**9, 10.75, 40.0),
    ]  # fmt: skip
    assert {(r["symbol"], r["venue"], r["timeframe"]) for r in rows} == {("AAPL", "XNYS", "1m")}
    nothing = finnhub().read("AAPL", answer({"s": "no_data"}, HOUR_LATER))
    assert (nothing.rows, list(nothing.rejected)) == (None, [])
    body = yahoo_chart([OPEN, OPEN + 60, OPEN + 120], [10.0, None, 12.5], regular=(OPEN, CLOSE), market_time=OPEN + 150)
    reading = yahoo_of().read("AAPL", answer(body, (OPEN + 200) * 10**9))
    bars = frame(reading)
    assert bars["open_time_ns"].to_list() == [OPEN * 10**9, (OPEN + 120) * 10**9]
    rows = bars.select("open", "high", "low", "close", "volume").rows()
    assert rows == [(10, 11, 9, 10, 100), (12.5, 13.5, 11.5, 12.5, 100)]
    assert bars["venue"].to_list() == ["XNAS", "XNAS"]
    assert (reading.busy, reading.reached_ns) == (True, (OPEN + 150) * 10**9)


@pytest.mark.parametrize("last", [OPEN + 157, CLOSE], ids=["between two minutes", "at the close"])
def test_a_last_row_that_is_the_state_of_now_is_no_bar(last: int) -> None:
    before = last - last % 60 - 60
    body = yahoo_chart([before, last], [10.0, 11.0], regular=(OPEN, CLOSE), market_time=last)
    reading = yahoo_of().read("AAPL", answer(body, last * 10**9))
    assert (frame(reading)["open_time_ns"].to_list(), reading.reached_ns) == ([before * 10**9], last * 10**9)


def test_a_days_bar_is_the_session_of_its_own_date_replaced_by_the_days_last_and_no_bars_are_no_fault() -> None:
    """Sydney opens at 10:00, which is 23:00 UTC of the day before."""
    opens = ns(2026, 3, 1, 23, 0) // 10**9
    body = yahoo_chart([opens], [10.0], zone="Australia/Sydney", exchange="ASX", granularity="1d")
    row = frame(yahoo_of(interval="1d").read("BHP.AX", answer(body, ns(2026, 3, 4)))).row(0, named=True)
    assert (str(row["session_date"]), row["close_time_ns"], row["venue"]) == ("2026-03-02", ns(2026, 3, 3), "XASX")
    body = yahoo_chart([OPEN, OPEN + 9000], [10.0, 11.0], granularity="1d")  # the last row has the last trade's time
    assert frame(yahoo_of(interval="1d").read("AAPL", answer(body, ns(2026, 3, 4))))["close"].to_list() == [11.0]
    body = yahoo_chart([], [])
    del body["chart"]["result"][0]["timestamp"]
    body["chart"]["result"][0]["indicators"]["quote"] = [{}]
    reading = yahoo_of().read("AAPL", answer(body, CLOSE * 10**9))
    assert (reading.rows, list(reading.rejected)) == (None, [])
    body = yahoo_chart([OPEN], [10.0], regular=(OPEN, CLOSE))
    assert yahoo_of().read("AAPL", answer(body, (CLOSE + 36_000) * 10**9)).busy is False
