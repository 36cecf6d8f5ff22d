"""Vendors of bars: how each is asked, what its answers say; what an answer is taken for, and which of its bars stand.
Minutes are counted from 0; a bar of minute m covers [m, m + 1)."""

from collections.abc import Sequence
from datetime import time
from functools import cache
from typing import Any

import orjson
import polars as pl
import pytest
from hypothesis import given
from hypothesis.strategies import DataObject, data, integers

from examples import examples
from marketpulse.errors import SettingsError
from marketpulse.settings import AlphaVantageSettings, FinnhubBarsSettings, Mapping, YahooSettings
from marketpulse.sources import alpha_vantage, yahoo
from marketpulse.sources.alpha_vantage import AlphaVantage, allowance, rate
from marketpulse.sources.finnhub_bars import FinnhubBars
from marketpulse.sources.rest import Taken as Outcome
from marketpulse.sources.rest.answer import by_the_status, judge_status
from marketpulse.sources.rest.bar_answer import Reading, bar_rows, unusable
from marketpulse.sources.rest.question import Question
from marketpulse.sources.rest.standing import Standing, Taken
from marketpulse.sources.tape import build
from marketpulse.sources.yahoo import Yahoo
from vendor_server import NEW_YORK, answer, ns, recorded, yahoo_chart


@pytest.mark.parametrize(("status", "is_json", "taken"), [
    (200, True, "good"), (204, False, "failed"), (200, False, "failed"), (301, False, "refused"), (400, True, "refused"),
    (401, True, "key"), (401, False, "key"), (403, True, "key"), (403, False, "failed"), (404, True, "refused"),
    (408, True, "failed"), (418, True, "limit"), (429, False, "limit"), (500, True, "failed"), (503, False, "failed"),
])  # fmt: skip
def test_a_status_is_taken_as(status: int, is_json: bool, taken: str) -> None:
    assert judge_status(status, is_json).taken.value == taken


def test_the_status_decides_without_a_vendors_reading_and_the_newest_bar_forms_as_its_delay_allows() -> None:
    assert by_the_status(200, {}) is None
    assert not Question("/query", {"symbol": "AAPL"}).truncated
    standing = Standing("A")
    assert (minutes(take(standing, reading(0, 1, 2), 2.5)), standing.until_ns) == ([0, 1], minute(2))
    assert standing.promise_ns == minute(2.5), "nothing that closed before now is to come"
    behind = Standing("A")
    assert (minutes(take(behind, reading(0, 1, 2), 10)), behind.promise_ns) == ([0, 1], minute(3) - 1)
    standing = Standing("A")
    for now in (60, 50):
        take(standing, Reading(), now)
        assert standing.promise_ns == minute(40), "a promise is kept"


IBM = Mapping(timezone="America/New_York", timeframe="1m", venue="XNYS", symbol="IBM", record="bar")


def read(*rows: list[Any], **mapping: str) -> Reading:
    return bar_rows(list(rows), IBM.model_copy(update=mapping), "vendor IBM", "IBM")


def test_the_last_word_on_a_bar_holds_and_what_cannot_be_a_bar_is_a_dead_letter_but_never_an_endless_one() -> None:
    bars = (("31", "2", "20"), ("30", "1", "10"), ("31", "3", "30"))
    reading = read(*([f"2026-03-02 09:{minute}:00", *[price] * 4, volume] for minute, price, volume in bars))
    assert reading.rows is not None
    assert reading.rows.frame["close"].to_list() == [1.0, 3.0]
    assert read().rows is None
    (letter,) = unusable("nothing in it", "vendor IBM", b"x" * 1_000_000).rejected
    assert (letter.reason, len(letter.value)) == ("bad_answer", 64_000)
    with pytest.raises(SettingsError, match="Mars"):
        read(["2026-03-02 09:31:00", "2", "2", "2", "2", "20"], timezone="Mars/Base")
    reading = read(["2026-03-02 09:30:00", "1", [5], None, True, "10"])
    (letter,) = reading.rejected
    assert (reading.rows, letter.origin) == (None, "vendor IBM")
    assert orjson.loads(letter.value) == {
        "time": "2026-03-02 09:30:00", "open": "1", "high": [5], "low": None, "close": True, "volume": "10",
    }  # fmt: skip


MINUTE = 60 * 10**9
BEGIN = 1_772_000_000 // 60 * MINUTE
MAPPING = Mapping(timeframe="1m", record="bar")


def minute(m: float) -> int:
    return BEGIN + int(m * MINUTE)


@cache  # the property asks for the same minutes many times
def reading(*minutes: int, close: float = 10.0, reached: float | None = None) -> Reading:
    found = bar_rows([[str(minute(m)), close, close, close, close, 1] for m in minutes], MAPPING, "vendor A", "A")
    return Reading(found.rows, found.rejected, None if reached is None else minute(reached))


def take(standing: Standing, answer: Reading, now: float, truncated: bool = False) -> Taken | None:
    return standing.take(answer, minute(now), settle_ns=15 * 10**9, delay_ns=20 * MINUTE, truncated=truncated)


def minutes(taken: Taken | None) -> list[int]:
    return (
        []
        if taken is None or taken.rows is None
        else [(at - BEGIN) // MINUTE for at in taken.rows.frame["open_time_ns"].to_list()]
    )


def test_a_bar_is_sent_once_it_has_settled_once_over_restarts_again_when_it_changes_and_late() -> None:
    standing = Standing("A")
    assert [minutes(take(standing, reading(0, 1, 2), now)) for now in (2.2, 2.3)] == [[0], [1]]
    assert minutes(take(Standing("A"), reading(0, 1, reached=2), 2.5)) == [0, 1]
    assert minutes(take(Standing("A"), reading(0, 1), 22.1)) == [0, 1]
    assert minutes(take(Standing("A"), reading(0, 1), 21.9)) == [0]
    standing = Standing("A")
    take(standing, reading(0, 1, 2), 3)
    assert take(standing, reading(0, 1, 2), 3) is None
    assert minutes(take(standing, reading(0, 1, 2, 3), 4)) == [2]
    assert minutes(take(Standing("A", until_ns=minute(2)), reading(0, 1, 2, 3), 4)) == [2]
    standing = Standing("A")
    take(standing, reading(0, 1, 2), 2.5)
    changed = take(standing, reading(0, 1, 2, close=11.0), 2.5)
    assert changed is not None
    assert (minutes(changed), changed.changed) == ([0, 1], 2)
    assert take(standing, reading(0, 1, 2, close=11.0), 2.5) is None
    assert standing.until_ns == minute(2)
    standing = Standing("A")
    take(standing, reading(0, 2, 3), 3.5)
    late = take(standing, reading(0, 1, 2, 3), 3.5)
    assert late is not None
    assert (minutes(late), late.changed) == ([1], 1)


@pytest.mark.parametrize(("seen", "truncated", "gap", "sent"), [
    ((10, 11, 12), True, (minute(2), minute(10)), [10, 11]), ((10, 11, 12), False, None, [10, 11]), ((2, 3, 4), True, None, [2, 3]),
], ids=["it does not reach back", "it is whole", "it touches"])  # fmt: skip
def test_an_answer_that_does_not_reach_back_shows_a_gap(
    seen: tuple[int, ...], truncated: bool, gap: tuple[int, int] | None, sent: list[int]
) -> None:
    taken = take(Standing("A", until_ns=minute(2)), reading(*seen), seen[-1] + 0.5, truncated=truncated)
    assert taken is not None
    assert (taken.gap, minutes(taken)) == (gap, sent)


@examples(60)
@given(pick=data(), behind=integers(0, 15), start=integers(0, 3))
def test_every_bar_goes_once_in_order_and_never_before_it_has_closed(pick: DataObject, behind: int, start: int) -> None:
    """A vendor that runs behind is asked at odd times; its newest bar always still forms. We restart now and then."""
    standing = Standing("A")
    sent: list[int] = []
    now = 20.0 + start
    for _ in range(25):
        now += pick.draw(integers(1, 90)) / 20
        at_vendor = now - behind
        first, last = max(0, int(at_vendor) - 30), int(at_vendor)
        promised = standing.promise_ns
        found = minutes(take(standing, reading(*range(first, last + 1)), now))
        assert all(m + 1 <= at_vendor for m in found), "the vendor itself has seen its end"
        assert promised is None or all(minute(m + 1) > promised for m in found)
        sent += found
        if pick.draw(integers(0, 4)) == 0:
            standing = Standing("A", until_ns=standing.until_ns)
    assert (sent, sent) == (sorted(set(sent)), list(range(sent[0], sent[-1] + 1)))


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
    assert judged.taken == Outcome(taken)
    assert retry_in_s in (..., judged.retry_in_s)


def test_recorded_bodies_are_a_limit_a_wrong_question_or_symbol_and_an_impossible_bar_one_dead_letter() -> None:
    bodies = recorded("http200_bodies.json")["bodies"]
    judged = [alpha_vantage.judge(200, body) for body in bodies]
    assert [None if one is None else one.taken for one in judged] == [Outcome.LIMIT, Outcome.REFUSED, None]
    reading = alpha(function="quote").read("NONE", answer(bodies[2], LATER))
    assert (reading.rows, [item.reason for item in reading.rejected]) == (None, ["bad_answer"])
    judged = [*(yahoo.judge(status, None) for status in (401, 403, 999)), yahoo.judge(200, {}), yahoo.judge(404, {})]
    assert [one and one.taken for one in judged] == [*[Outcome.LIMIT] * 3, None, None]
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
