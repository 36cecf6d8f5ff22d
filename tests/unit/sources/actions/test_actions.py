"""Splits and dividends: what vendors say of them, and each is told once. Answers are in the shapes of the vendors' documents."""

import json
import random
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from marketpulse.kafka.market_contract import checked
from marketpulse.model.market import Kind
from marketpulse.model.timeframe import DAY_NS
from marketpulse.settings import YahooSettings
from marketpulse.sources.actions import vendors
from marketpulse.sources.actions.ledger import HISTORY_DAYS, ActionsVendor, Ledger
from marketpulse.sources.actions.told import Action, Told, Unfit, day_of, iso, positive
from marketpulse.sources.rest import Answer
from marketpulse.sources.rest.question import Question
from marketpulse.sources.yahoo import Yahoo
from vendor_answers import NEW_YORK, answer, ns, yahoo_chart

SYMBOLS = ("AAPL", "MSFT", "KO")
DAY = 20_000
SPLIT = Action("split", 18_505, 4.0)  # 2020-08-31
AUG_31, AUG_7 = 18_505, 18_481  # in 2020: Apple's split 4 for 1, and its dividend before
VENDORS: dict[str, ActionsVendor] = {
    "alpaca": vendors.AlpacaActions(), "polygon": vendors.PolygonActions(), "finnhub": vendors.FinnhubActions(),
    "alpha_vantage": vendors.AlphaVantageActions(), "alpha_vantage days": vendors.AlphaVantageDays(), "yahoo": vendors.YahooActions(),
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


class Happening:
    """A vendor that knows what happened up to a day, some of it late."""

    def __init__(self, events: dict[str, list[tuple[Action, int]]]) -> None:
        self.events = events
        self.asked: list[tuple[str, int, int]] = []

    def questions(self, symbol: str, since: int, today: int) -> list[Question]:
        self.asked.append((symbol, since, today))
        return [Question("/splits", {"symbol": symbol}), Question("/dividends", {"symbol": symbol})]

    def read(self, symbol: str, answer: Answer) -> Told:
        today, kind = answer.received_ns // DAY_NS, answer.body
        return Told([a for a, known in self.events.get(symbol, []) if known <= today and a.type == kind])


def day_of_all(ledger: Ledger, day: int) -> list[tuple[str, Action]]:
    """Every question of a day, answered."""
    now_ns, found = day * DAY_NS + 7, []
    while (symbol := ledger.due(now_ns)) is not None:
        body = "split" if ledger.question(symbol, now_ns).path == "/splits" else "dividend"
        actions, _ = ledger.answered(Answer(body, b"", {}, now_ns))
        found += [(symbol, action) for action in actions]
    return found


def test_each_symbol_is_asked_for_once_a_day_what_is_refused_the_next_and_another_word_is_written() -> None:
    vendor = Happening({})
    ledger = Ledger(vendor, "feed", SYMBOLS)
    for day in (DAY, DAY, DAY + 1):
        assert day_of_all(ledger, day) == []
    spans = ((DAY - HISTORY_DAYS, DAY), (DAY - 14, DAY + 1))
    assert vendor.asked == [(symbol, *span) for span in spans for symbol in SYMBOLS]
    vendor = Happening({"KO": [(Action("dividend", DAY, 0.5), DAY)]})
    ledger = Ledger(vendor, "feed", ("KO",))
    ledger.question("KO", DAY * DAY_NS)
    ledger.refused(DAY * DAY_NS)
    assert ledger.due(DAY * DAY_NS + 1) is None
    assert ledger.position()["days"] == {}
    assert day_of_all(ledger, DAY + 1) == [("KO", Action("dividend", DAY, 0.5))]
    vendor.events = {"KO": [(Action("dividend", DAY, 0.51), DAY)]}
    assert day_of_all(ledger, DAY + 2) == [("KO", Action("dividend", DAY, 0.51))]


@given(seed=st.integers(0, 10_000))
def test_each_is_written_once_over_days_restarts_and_late_words(seed: int) -> None:
    rng = random.Random(seed)
    events = {
        symbol: [
            (Action(rng.choice(("split", "dividend")), ex := DAY + rng.randrange(-40, 40), round(rng.uniform(0.1, 9), 3)),
             ex + rng.randrange(-9, 10))
            for _ in range(8)
        ]
        for symbol in SYMBOLS
    }  # fmt: skip
    vendor, found, kept = Happening(events), [], None
    for day in range(DAY, DAY + 60):
        ledger = Ledger(vendor, "feed", SYMBOLS)
        if kept is not None:
            ledger.restore(json.loads(json.dumps(kept)))
        found += day_of_all(ledger, day)
        assert all(action.day <= day for _, action in found), "nothing is told ahead of its day"
        kept = ledger.position()
    wanted = {(symbol, action) for symbol, own in events.items() for action, _ in own}
    assert sorted(found) == sorted(wanted)


def test_a_record_keeps_the_contract_of_the_log_and_is_read_as_vendors_write_dates_and_numbers() -> None:
    body = SPLIT.body("AAPL", "alpaca", 5 * 10**17)
    assert checked(body) is Kind.SPLIT
    assert (body["ratio"], body["ex_time_ns"]) == (4.0, 1_598_832_000 * 10**9)
    assert checked(SPLIT._replace(type="dividend").body("AAPL", "alpaca", 5 * 10**17)) is Kind.DIVIDEND
    assert day_of({"ex": "2020-08-31"}, "ex") == day_of({"ex": "2020-08-31T00:00:00Z"}, "ex") == 18_505
    assert iso(18_505) == "2020-08-31"
    assert positive({"n": "0.25"}, "n") == positive({"n": 0.25}, "n") == 0.25


UNFIT: list[Any] = [None, True, "", "None", [], {}, -1, 0, "inf", "nan", "1e40", "2020-13-01", "1969-12-31"]


@pytest.mark.parametrize("value", UNFIT)
def test_what_is_none_is_unfit(value: object) -> None:
    for read in (day_of, positive):
        with pytest.raises(Unfit):
            read({"x": value}, "x")


@pytest.mark.parametrize("name", VENDORS)
def test_a_split_and_a_dividend_of_2020_are_the_same_whoever_tells_them(name: str) -> None:
    told = [VENDORS[name].read("AAPL", answer(body, ns(2020, 9, 1))) for body in APPLE[name]]
    assert len(VENDORS[name].questions("AAPL", AUG_7 - 1, AUG_31 + 1)) == len(told)
    assert sorted(a for one in told for a in one.actions) == [Action("dividend", AUG_7, 0.82), SPLIT]
    assert [list(one.rejected) for one in told] == [[]] * len(told)


def test_a_reverse_split_has_a_ratio_below_1() -> None:
    split = {"symbol": "MNTS", "ex_date": "2023-08-24", "new_rate": 1, "old_rate": 50}
    body = {"corporate_actions": {"reverse_splits": [split]}}
    assert vendors.AlpacaActions().read("MNTS", answer(body, 1)).actions == [Action("split", 19_593, 0.02)]


OTHERS: list[Any] = [None, [], {}, "no", 7, {"results": 5}, {"data": [7]}, {"corporate_actions": []}, [5], {"chart": {"result": []}}]  # fmt: skip


@pytest.mark.parametrize("name", VENDORS)
@pytest.mark.parametrize("body", OTHERS)
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


def read_by_yahoo(closes: list[float], received_ns: int, *splits: tuple[int, float]) -> pl.DataFrame:
    """Bars of the days from 2020-08-27 on (a weekend among them), as Yahoo tells them after these splits."""
    times = [ns(2020, 8, day, 9, 30, zone=NEW_YORK) // 10**9 for day in (27, 28, 31)]
    body = yahoo_chart(times, closes, granularity="1d")
    told = {str(at): {"date": at, "numerator": ratio, "denominator": 1.0} for at, ratio in splits}
    body["chart"]["result"][0]["events"] = {"splits": told}
    rows = Yahoo(YahooSettings(symbols=("AAPL",), interval="1d")).read("AAPL", answer(body, received_ns)).rows
    assert rows is not None
    return rows.frame


def test_yahoos_bars_go_into_the_log_as_they_were_on_their_day_also_when_a_later_split_restates_them() -> None:
    frame = read_by_yahoo([125.01, 124.8075, 129.04], ns(2020, 9, 2), (1598880600, 4.0))
    assert frame["close"].to_list() == [500.04, 499.23, 129.04]
    assert frame["volume"].to_list() == [25.0, 25.0, 100.0]
    assert frame["high"].to_list() == [504.04, 503.23, 130.04]
    closes, later = [500.04, 499.23, 129.04], ns(2020, 9, 3, 9, 30, zone=NEW_YORK) // 10**9
    after = read_by_yahoo([close / 7 for close in closes], ns(2020, 9, 4), (later, 7.0))
    assert read_by_yahoo(closes, ns(2020, 9, 2))["close"].to_list() == closes
    assert after["close"].to_list() == pytest.approx(closes, rel=1e-12)
