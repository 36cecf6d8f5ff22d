"""Answers in the shapes that the vendors' documents and their clients' tests show."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from marketpulse.settings import YahooSettings
from marketpulse.sources.actions.ledger import ActionsVendor
from marketpulse.sources.actions.told import Action
from marketpulse.sources.actions.vendors import (
    AlpacaActions,
    AlphaVantageActions,
    AlphaVantageDays,
    FinnhubActions,
    PolygonActions,
    YahooActions,
)
from marketpulse.sources.rest import Answer
from marketpulse.sources.yahoo import Yahoo
from vendor_answers import NEW_YORK, answer, ns, yahoo_chart

AUG_31, AUG_7 = 18_505, 18_481  # in 2020: Apple's split 4 for 1, and its dividend before
VENDORS: dict[str, ActionsVendor] = {
    "alpaca": AlpacaActions(), "polygon": PolygonActions(), "finnhub": FinnhubActions(), "alpha_vantage": AlphaVantageActions(),
    "alpha_vantage days": AlphaVantageDays(), "yahoo": YahooActions(),
}  # fmt: skip
APPLE: dict[str, list[Any]] = {
    "alpaca": [{"corporate_actions": {
        "forward_splits": [{"id": "x", "symbol": "AAPL", "new_rate": 4, "old_rate": 1, "ex_date": "2020-08-31", "process_date": "2020-08-31"}],
        "cash_dividends": [{"symbol": "AAPL", "rate": 0.82, "special": False, "foreign": False, "ex_date": "2020-08-07"}],
    }, "next_page_token": None}],
    "polygon": [
        {"results": [{"execution_date": "2020-08-31", "split_from": 1, "split_to": 4, "ticker": "AAPL"}], "status": "OK"},
        {"results": [{"cash_amount": 0.82, "ex_dividend_date": "2020-08-07", "dividend_type": "CD", "ticker": "AAPL"}], "status": "OK"},
    ],
    "finnhub": [
        [{"symbol": "AAPL", "date": "2020-08-31", "fromFactor": 1, "toFactor": 4}],
        [{"symbol": "AAPL", "date": "2020-08-07", "amount": 0.82, "adjustedAmount": 0.205, "currency": "USD"}],
    ],
    "alpha_vantage": [
        {"symbol": "AAPL", "data": [{"effective_date": "2020-08-31", "split_factor": "4.0000"}]},
        {"symbol": "AAPL", "data": [{"ex_dividend_date": "2020-08-07", "declaration_date": "None", "amount": "0.82"}]},
    ],
    "alpha_vantage days": [{"Meta Data": {}, "Time Series (Daily)": {
        "2020-08-31": {"4. close": "129.04", "7. dividend amount": "0.0000", "8. split coefficient": "4.0"},
        "2020-08-28": {"4. close": "499.23", "7. dividend amount": "0.0000", "8. split coefficient": "1.0"},
        "2020-08-07": {"4. close": "444.45", "7. dividend amount": "0.8200", "8. split coefficient": "1.0"},
    }}],
    "yahoo": [{"chart": {"error": None, "result": [{"meta": {"exchangeTimezoneName": "America/New_York"}, "events": {
        "dividends": {"1596807000": {"amount": 0.205, "date": 1596807000}},
        "splits": {"1598880600": {"date": 1598880600, "numerator": 4.0, "denominator": 1.0, "splitRatio": "4:1"}},
    }}]}}],
}  # fmt: skip


@pytest.mark.parametrize("name", VENDORS)
def test_a_split_and_a_dividend_of_2020_are_the_same_whoever_tells_them(name: str) -> None:
    told = [VENDORS[name].read("AAPL", answer(body, ns(2020, 9, 1))) for body in APPLE[name]]
    assert len(VENDORS[name].questions("AAPL", AUG_7 - 1, AUG_31 + 1)) == len(told)
    assert sorted(a for one in told for a in one.actions) == [
        Action("dividend", AUG_7, 0.82),
        Action("split", AUG_31, 4.0),
    ]
    assert [list(one.rejected) for one in told] == [[]] * len(told)


def test_a_reverse_split_has_a_ratio_below_1() -> None:
    body = {
        "corporate_actions": {
            "reverse_splits": [{"symbol": "MNTS", "ex_date": "2023-08-24", "new_rate": 1, "old_rate": 50}]
        }
    }
    assert AlpacaActions().read("MNTS", answer(body, 1)).actions == [Action("split", 19_593, 0.02)]


@pytest.mark.parametrize("name", VENDORS)
@pytest.mark.parametrize(
    "body",
    [None, [], {}, "no", 7, {"results": 5}, {"data": [7]}, {"corporate_actions": []}, [5], {"chart": {"result": []}}],
)
def test_an_answer_of_another_shape_raises_nothing_and_tells_nothing(name: str, body: Any) -> None:
    assert not VENDORS[name].read("AAPL", answer(body, 1)).actions


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=12),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(
        st.sampled_from(["chart", "result", "events", "splits", "dividends", "date", "amount", "numerator", "denominator", "results", "data",
                         "execution_date", "split_to", "split_from", "ex_dividend_date", "cash_amount", "corporate_actions", "meta",
                         "forward_splits", "cash_dividends", "ex_date", "rate", "effective_date", "split_factor", "Time Series (Daily)",
                         "2020-08-31", "7. dividend amount", "8. split coefficient", "fromFactor", "toFactor", "exchangeTimezoneName"]),
        inner, max_size=4),
    max_leaves=20,
)  # fmt: skip


@given(body=JSON)
def test_whatever_comes_is_read_or_set_aside(body: Any) -> None:
    for vendor in VENDORS.values():
        told = vendor.read("AAPL", Answer(body, b"", {}, 1))
        assert all(action.value > 0 and action.day > 0 for action in told.actions)


def chart(closes: list[float], *splits: tuple[int, float]) -> dict[str, Any]:
    """Days from 2020-08-27 on (a weekend among them), as Yahoo tells them after these splits."""
    days = [27, 28, 31]
    times = [ns(2020, 8, day, 9, 30, zone=NEW_YORK) // 10**9 for day in days]
    body = yahoo_chart(times, closes, granularity="1d")
    body["chart"]["result"][0]["events"] = {
        "splits": {str(at): {"date": at, "numerator": ratio, "denominator": 1.0} for at, ratio in splits}
    }
    return body


def test_yahoos_bars_go_into_the_log_as_they_were_on_their_day() -> None:
    vendor = Yahoo(YahooSettings(symbols=("AAPL",), interval="1d"))
    body = chart([125.01, 124.8075, 129.04], (1598880600, 4.0))
    rows = vendor.read("AAPL", answer(body, ns(2020, 9, 2))).rows
    assert rows is not None
    assert rows.frame["close"].to_list() == [500.04, 499.23, 129.04]
    assert rows.frame["volume"].to_list() == [25.0, 25.0, 100.0]
    assert rows.frame["high"].to_list() == [504.04, 503.23, 130.04]


def test_a_later_split_restates_yahoos_bars_and_leaves_them_what_they_were() -> None:
    vendor = Yahoo(YahooSettings(symbols=("AAPL",), interval="1d"))
    before = vendor.read("AAPL", answer(chart([500.04, 499.23, 129.04]), ns(2020, 9, 2))).rows
    again = chart([500.04 / 7, 499.23 / 7, 129.04 / 7], (ns(2020, 9, 3, 9, 30, zone=NEW_YORK) // 10**9, 7.0))
    after = vendor.read("AAPL", answer(again, ns(2020, 9, 4))).rows
    assert before is not None
    assert after is not None
    assert after.frame["close"].to_list() == pytest.approx(before.frame["close"].to_list(), rel=1e-12)
