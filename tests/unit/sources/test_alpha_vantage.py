from datetime import time
from typing import Any

import pytest

from marketpulse.settings import AlphaVantageSettings
from marketpulse.sources.alpha_vantage import AlphaVantage, allowance, judge, rate
from marketpulse.sources.rest import Taken
from vendor_answers import NEW_YORK, answer, ns, recorded

LATER = ns(2026, 1, 5)


def vendor(**given: Any) -> AlphaVantage:
    return AlphaVantage(AlphaVantageSettings(symbols=("MSFT",), **given))


def daily(*dates: str) -> dict[str, Any]:
    bar = {"1. open": "10.0", "2. high": "12.0", "3. low": "9.0", "4. close": "11.0", "5. volume": "1000"}
    return {"Meta Data": {"5. Time Zone": "US/Eastern"}, "Time Series (Daily)": dict.fromkeys(dates, bar)}


def intraday(*labels: str) -> dict[str, Any]:
    bars = daily(*labels)["Time Series (Daily)"]
    return {"Meta Data": {"6. Time Zone": "US/Eastern"}, "Time Series (5min)": bars}


def test_every_bar_of_a_recorded_answer_is_read_the_oldest_first() -> None:
    reading = vendor(function="intraday", interval="1min").read("MSFT", answer(recorded("mock_time_series"), LATER))
    assert reading.rows is not None
    assert not reading.rejected
    frame = reading.rows.frame
    assert len(frame) == 100
    # 13:17 and 14:56 on the wall of New York in December are 18:17 and 19:56 UTC.
    assert frame["open_time_ns"][0] == ns(2017, 12, 18, 18, 17)
    assert frame["close_time_ns"][-1] == ns(2017, 12, 18, 19, 57)
    assert frame.select("open", "high", "low", "close", "volume").row(-1) == (86.49, 86.5, 86.475, 86.5, 10494)
    assert set(frame["timeframe"]) == {"1m"}
    assert set(frame["symbol"]) == {"MSFT"}


def test_labels_that_are_closes_are_moved_by_one_interval() -> None:
    given: dict[str, Any] = {"function": "intraday", "interval": "1min", "label": "close"}
    reading = vendor(**given).read("MSFT", answer(recorded("mock_time_series"), LATER))
    assert reading.rows is not None
    assert reading.rows.frame["close_time_ns"][-1] == ns(2017, 12, 18, 19, 56)


def test_a_recorded_quote_is_the_days_bar() -> None:
    reading = vendor(function="quote", venue="XNAS").read("MSFT", answer(recorded("global_quote"), LATER))
    assert reading.rows is not None
    row = reading.rows.frame.row(0, named=True)
    assert str(row["session_date"]) == "2018-10-05"
    assert (row["open"], row["high"], row["low"], row["close"], row["volume"]) == (
        112.63,
        113.17,
        110.64,
        112.13,
        29062853,
    )
    assert row["venue"] == "XNAS"
    assert row["timeframe"] == "1d"


def test_the_wall_clock_of_new_york_is_followed_over_the_change_to_summer_time() -> None:
    labels = ("2026-03-06 15:55:00", "2026-03-09 09:30:00")  # a Friday in winter, a Monday in summer time
    reading = vendor(function="intraday").read("MSFT", answer(intraday(*labels), LATER))
    assert reading.rows is not None
    assert reading.rows.frame["open_time_ns"].to_list() == [
        ns(2026, 3, 6, 20, 55), ns(2026, 3, 9, 13, 30),
    ]  # fmt: skip
    assert ns(2026, 3, 9, 9, 30, zone=NEW_YORK) == ns(2026, 3, 9, 13, 30)


@pytest.mark.parametrize(
    ("body", "taken"),
    [
        ({"Note": "Our standard API call frequency is 5 calls per minute and 500 calls per day."}, "limit"),
        ({"Information": "We have detected your API key as XXX and our standard API rate limit is 25 requests per day. Please subscribe to any of the premium plans"}, "limit"),
        ({"Information": "Please consider spreading out your free API requests more sparingly. You may subscribe to any of the premium plans to lift the free key rate limit (25 requests per day) and instantly unlock all premium endpoints"}, "limit"),
        ({"Information": "Thank you for using Alpha Vantage! This is a premium endpoint. You may subscribe to any of the premium plans"}, "refused"),
        ({"Information": "The **demo** API key is for demo purposes only. Please claim your free API key"}, "key"),
        ({"Error Message": "the parameter apikey is invalid or missing. Please claim your free API key on"}, "key"),
        ({"Error Message": "Invalid API call. Please retry or visit the documentation for TIME_SERIES_DAILY."}, "refused"),
        ({"Information": "something new"}, "limit"),
    ],
)  # fmt: skip
def test_what_it_says_with_status_200_is_taken_as(body: dict[str, str], taken: str) -> None:
    judged = judge(200, body)
    assert judged is not None
    assert judged.taken == Taken(taken)


def test_the_recorded_bodies_are_a_limit_a_wrong_question_and_an_unknown_symbol() -> None:
    limit, wrong, empty = recorded("http200_bodies.json")["bodies"]
    assert [None if (found := judge(200, body)) is None else found.taken for body in (limit, wrong, empty)] == [
        Taken.LIMIT, Taken.REFUSED, None,
    ]  # fmt: skip
    reading = vendor(function="quote").read("NONE", answer(empty, LATER))
    assert reading.rows is None
    assert [item.reason for item in reading.rejected] == ["bad_answer"]


def test_the_limit_of_a_day_waits_longer_than_that_of_a_minute() -> None:
    day = judge(200, {"Information": "our standard API rate limit is 25 requests per day"})
    minute = judge(200, {"Note": "5 calls per minute and 500 calls per day"})
    assert day is not None
    assert minute is not None
    assert (day.retry_in_s, minute.retry_in_s) == (3600, 60)


@pytest.mark.parametrize("body", [{}, [], None, "text", {"Time Series (Daily)": "none"}, {"Global Quote": []}])
def test_an_answer_that_is_something_else_is_set_aside_whole(body: Any) -> None:
    for function in ("quote", "daily", "intraday"):
        reading = vendor(function=function).read("MSFT", answer(body, LATER))
        assert reading.rows is None
        assert [item.reason for item in reading.rejected] == ["bad_answer"]


def test_a_bar_that_cannot_be_is_one_dead_letter_and_the_others_stay() -> None:
    body = daily("2026-03-02", "2026-03-03", "not a date", "2026-03-05")
    body["Time Series (Daily)"]["2026-03-03"] = {**body["Time Series (Daily)"]["2026-03-02"], "2. high": "-1"}
    body["Time Series (Daily)"]["2026-03-05"] = "nothing"
    reading = vendor().read("MSFT", answer(body, LATER))
    assert reading.rows is not None
    assert [str(date) for date in reading.rows.frame["session_date"]] == ["2026-03-02"]
    assert sorted(item.reason for item in reading.rejected) == ["bad_price", "bad_time", "empty_row"]


def test_a_zone_that_nobody_knows_sets_the_answer_aside() -> None:
    body = daily("2026-03-02")
    body["Meta Data"]["5. Time Zone"] = "Mars/Base"
    reading = vendor().read("MSFT", answer(body, LATER))
    assert [item.reason for item in reading.rejected] == ["bad_answer"]


def test_what_it_asks() -> None:
    now = ns(2026, 3, 2, 20, 0)
    ask = vendor(function="intraday", interval="1min", history="full").question("BRK.B", None, now)
    assert ask.path == "/query"
    assert ask.parameters == {
        "function": "TIME_SERIES_INTRADAY", "symbol": "BRK-B", "interval": "1min", "outputsize": "full",
        "adjusted": "false", "extended_hours": "false",
    }  # fmt: skip
    assert not ask.truncated
    again = vendor(function="intraday", interval="1min", history="full").question("BRK.B", now - 60 * 10**9, now)
    assert again.parameters["outputsize"] == "compact"
    assert again.truncated
    assert vendor(function="quote").question("IBM", None, now).parameters == {
        "function": "GLOBAL_QUOTE",
        "symbol": "IBM",
    }


def test_its_limits_are_those_of_the_settings() -> None:
    settings = AlphaVantageSettings(symbols=("A", "B"))
    assert rate(settings).requests == 5
    budget = allowance(settings, 2)
    assert budget is not None
    assert (budget.per_day, budget.at_once, budget.opens, budget.closes) == (25, 2, time(9, 30), time(16, 30))
    assert allowance(AlphaVantageSettings(symbols=("A",), requests_per_day=None), 1) is None
