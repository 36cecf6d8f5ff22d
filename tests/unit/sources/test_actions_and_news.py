"""Splits, dividends and news: what vendors say of them, and each is told once. Answers have the documented shapes."""

import json
import random
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from marketpulse.kafka.market_contract import checked
from marketpulse.model.market import RECORD_BYTES_MAX, Kind
from marketpulse.model.timeframe import DAY_NS, SECOND_NS
from marketpulse.settings import YahooSettings
from marketpulse.sources.actions import vendors
from marketpulse.sources.actions.ledger import HISTORY_DAYS, ActionsVendor, Ledger
from marketpulse.sources.actions.told import Action, Told, Unfit, day_of, iso, positive
from marketpulse.sources.news.ledger import NewsLedger
from marketpulse.sources.news.told import HEADLINE_MAX, SUMMARY_MAX, News, Page
from marketpulse.sources.news.vendors import AlpacaNews, AlphaVantageNews, FinnhubNews, NewsVendor, PolygonNews
from marketpulse.sources.rest import Answer
from marketpulse.sources.rest.question import Question
from marketpulse.sources.yahoo import Yahoo
from vendor_server import NEW_YORK, answer, ns, yahoo_chart

SYMBOLS = ("AAPL", "MSFT", "KO")
DAY = 20_000
AUG_31, AUG_7 = 18_505, 18_481  # in 2020: Apple's split 4 for 1, and its dividend before
SPLIT = Action("split", AUG_31, 4.0)
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
        self.events, self.asked = events, list[tuple[str, int, int]]()

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
        found += [(symbol, action) for action in ledger.answered(Answer(body, b"", {}, now_ns))[0]]
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
    assert sorted(found) == sorted({(symbol, action) for symbol, own in events.items() for action, _ in own})


def test_a_record_keeps_the_contract_whatever_its_size_is_read_as_vendors_write_and_marked_by_its_id() -> None:
    body = SPLIT.body("AAPL", "alpaca", 5 * 10**17)
    assert checked(body) is Kind.SPLIT
    assert (body["ratio"], body["ex_time_ns"]) == (4.0, 1_598_832_000 * 10**9)
    assert checked(SPLIT._replace(type="dividend").body("AAPL", "alpaca", 5 * 10**17)) is Kind.DIVIDEND
    assert day_of({"ex": "2020-08-31"}, "ex") == day_of({"ex": "2020-08-31T00:00:00Z"}, "ex") == 18_505
    assert iso(18_505) == "2020-08-31"
    assert positive({"n": "0.25"}, "n") == positive({"n": 0.25}, "n") == 0.25
    small = News("7", 5 * 10**17, "AAA opens a shop", "https://example.com/7")
    assert checked(small.body("AAA", "alpaca")) is Kind.NEWS
    assert "summary" not in small.body("AAA", "alpaca")
    large = News("x" * 10**6, 5 * 10**17, "h" * 10**6, "u" * 10**6, "p" * 10**6, "s" * 10**6, ("A",) * 10**5)
    body = large.body("AAA", "alpaca")
    assert checked(body) is Kind.NEWS
    assert (len(body["headline"]), len(body["summary"])) == (HEADLINE_MAX, SUMMARY_MAX)
    assert len(str(body)) < RECORD_BYTES_MAX / 50
    one = News("7", 5 * 10**17, "AAA opens a shop", "")
    assert one.mark() == one._replace(headline="AAA opens two").mark() != one._replace(news_id="8").mark()


@pytest.mark.parametrize("value", [None, True, "", "None", [], {}, -1, 0, "inf", "nan", "1e40", "2020-13-01", "1969-12-31"])  # fmt: skip
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


def test_a_reverse_splits_ratio_is_below_1_and_yahoos_bars_are_those_of_their_day_after_any_split() -> None:
    split = {"symbol": "MNTS", "ex_date": "2023-08-24", "new_rate": 1, "old_rate": 50}
    body = {"corporate_actions": {"reverse_splits": [split]}}
    assert vendors.AlpacaActions().read("MNTS", answer(body, 1)).actions == [Action("split", 19_593, 0.02)]
    frame = read_by_yahoo([125.01, 124.8075, 129.04], ns(2020, 9, 2), (1598880600, 4.0))
    columns = [[500.04, 499.23, 129.04], [25.0, 25.0, 100.0], [504.04, 503.23, 130.04]]
    assert [frame[name].to_list() for name in ("close", "volume", "high")] == columns
    closes, later = [500.04, 499.23, 129.04], ns(2020, 9, 3, 9, 30, zone=NEW_YORK) // 10**9
    after = read_by_yahoo([close / 7 for close in closes], ns(2020, 9, 4), (later, 7.0))
    assert read_by_yahoo(closes, ns(2020, 9, 2))["close"].to_list() == closes
    assert after["close"].to_list() == pytest.approx(closes, rel=1e-12)


@pytest.mark.parametrize("name", VENDORS)
@pytest.mark.parametrize("body", [
    None, [], {}, "no", 7, {"results": 5}, {"data": [7]}, {"corporate_actions": []}, [5], {"chart": {"result": []}},
])  # fmt: skip
def test_an_answer_of_another_shape_raises_nothing_and_tells_nothing(name: str, body: Any) -> None:
    assert not VENDORS[name].read("AAPL", answer(body, 1)).actions


WORDS = [
    "chart", "result", "events", "splits", "dividends", "date", "amount", "numerator", "denominator", "results", "data", "execution_date",
    "split_to", "split_from", "ex_dividend_date", "cash_amount", "corporate_actions", "meta", "forward_splits", "cash_dividends", "ex_date",
    "rate", "effective_date", "split_factor", "Time Series (Daily)", "2020-08-31", "7. dividend amount", "8. split coefficient",
    "fromFactor", "toFactor", "exchangeTimezoneName",
]  # fmt: skip
WORDS_OF_NEWS = ["news", "results", "id", "headline", "title", "created_at", "published_utc", "datetime", "symbols", "tickers",
                 "publisher", "name", "related", "url", "summary"]  # fmt: skip


def json_of(words: list[str], most: int) -> st.SearchStrategy[Any]:
    """Any JSON, whose names are these words."""
    plain = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=12)
    names = st.sampled_from(words)
    return st.recursive(
        plain, lambda i: st.lists(i, max_size=3) | st.dictionaries(names, i, max_size=most), max_leaves=20
    )


@given(action=json_of(WORDS, 4), piece=json_of(WORDS_OF_NEWS, 6))
def test_whatever_comes_is_read_or_set_aside(action: Any, piece: Any) -> None:
    for vendor in VENDORS.values():
        told = vendor.read("AAPL", Answer(action, b"", {}, 1))
        assert all(action.value > 0 and action.day > 0 for action in told.actions)
    for press in PRESS.values():
        assert all(news.headline and news.news_id for news in press.read("NFLX", Answer(piece, b"", {}, 1)).news)


def read_by_yahoo(closes: list[float], received_ns: int, *splits: tuple[int, float]) -> pl.DataFrame:
    """Bars of the days from 2020-08-27 on (a weekend among them), as Yahoo tells them after these splits."""
    times = [ns(2020, 8, day, 9, 30, zone=NEW_YORK) // 10**9 for day in (27, 28, 31)]
    body = yahoo_chart(times, closes, granularity="1d")
    told = {str(at): {"date": at, "numerator": ratio, "denominator": 1.0} for at, ratio in splits}
    body["chart"]["result"][0]["events"] = {"splits": told}
    rows = Yahoo(YahooSettings(symbols=("AAPL",), interval="1d")).read("AAPL", answer(body, received_ns)).rows
    assert rows is not None
    return rows.frame


BEGIN = 1_700_000_000 * SECOND_NS
PRESS: dict[str, NewsVendor] = {
    "alpaca": AlpacaNews(), "polygon": PolygonNews(), "finnhub": FinnhubNews(), "alpha_vantage": AlphaVantageNews(),
}  # fmt: skip
AT = ns(2022, 4, 28, 17, 8)
ONE: dict[str, Any] = {
    "alpaca": {"news": [{
        "id": 24843171, "headline": "Streaming  grows", "author": "A. Writer", "created_at": "2022-04-28T17:08:00Z",
        "updated_at": "2022-04-28T17:09:00Z", "summary": "It does.", "content": "", "url": "https://example.com/1",
        "images": [], "symbols": ["NFLX", "BRK.B"], "source": "benzinga",
    }], "next_page_token": None},
    "polygon": {"results": [{
        "id": "24843171", "publisher": {"name": "benzinga", "homepage_url": "https://example.com/"}, "title": "Streaming grows",
        "author": "A. Writer", "published_utc": "2022-04-28T17:08:00Z", "article_url": "https://example.com/1",
        "tickers": ["NFLX", "BRK.B"], "description": "It does.",
    }], "status": "OK", "count": 1},
    "finnhub": [{
        "category": "company", "datetime": AT // 10**9, "headline": "Streaming grows", "id": 24843171, "image": "",
        "related": "NFLX", "source": "benzinga", "summary": "It does.", "url": "https://example.com/1",
    }],
    "alpha_vantage": {"items": "1", "sentiment_score_definition": "x", "feed": [{
        "title": "Streaming grows", "url": "https://example.com/1", "time_published": "20220428T170800", "authors": ["A. Writer"],
        "summary": "It does.", "banner_image": "", "source": "benzinga", "topics": [], "overall_sentiment_score": 0.1,
        "ticker_sentiment": [{"ticker": "NFLX", "relevance_score": "0.9"}, {"ticker": "BRK-B", "relevance_score": "0.1"}],
    }]},
}  # fmt: skip


class Paper:
    """Each piece is published at its time, and told some seconds later."""

    def __init__(self, pieces: list[tuple[News, int]]) -> None:
        self.pieces, self.asked = pieces, list[tuple[str, int]]()

    def question(self, symbol: str, since_ns: int, now_ns: int) -> Question:
        self.asked.append((symbol, since_ns))
        return Question(symbol, {"since": str(since_ns), "now": str(now_ns)})

    def read(self, symbol: str, answer: Answer) -> Page:
        since_ns, now_ns = answer.body
        return Page([
            n for n, late in self.pieces
            if symbol in n.symbols and since_ns <= n.time_ns and n.time_ns + late * SECOND_NS <= now_ns
        ])  # fmt: skip


def rounds(ledger: NewsLedger, now_ns: int) -> list[str]:
    found: list[str] = []
    while (symbol := ledger.due(now_ns)) is not None:
        asked = ledger.question(symbol, now_ns)
        body = (int(asked.parameters["since"]), int(asked.parameters["now"]))
        found += [body["id"] for body in ledger.answered(Answer(body, b"", {}, now_ns))[0]]
    return found


@given(seed=st.integers(0, 10_000))
def test_each_piece_is_written_once_over_rounds_and_restarts(seed: int) -> None:
    rng = random.Random(seed)
    pieces = [
        (News(str(i), BEGIN + rng.randrange(60, 9_000) * SECOND_NS, "h", "", symbols=tuple(rng.sample("ABC", rng.randrange(1, 4)))),
         rng.randrange(500))
        for i in range(40)
    ]  # fmt: skip

    paper, found = Paper(pieces), list[str]()
    ledger = NewsLedger(paper, "feed", "ABC", 300)
    for now in range(0, 12_000, 60):
        found += rounds(ledger, BEGIN + now * SECOND_NS)
        if rng.random() < 0.2:
            kept, ledger = ledger.position(), NewsLedger(paper, "feed", "ABC", 300)
            ledger.restore(json.loads(json.dumps(kept)))
    assert sorted(found, key=int) == [news.news_id for news, _ in pieces]


def test_a_round_asks_once_for_each_symbol_and_a_flood_keeps_the_position_short_and_is_told_once() -> None:
    paper = Paper([])
    ledger = NewsLedger(paper, "feed", "AB", 300)
    for now in (0, 1, 299, 300):
        rounds(ledger, BEGIN + now * SECOND_NS)
    assert [symbol for symbol, _ in paper.asked] == ["A", "B", "A", "B"]
    pieces = [(News(str(i), BEGIN + i * SECOND_NS, "h", "", symbols=("A",)), 0) for i in range(1, 2_000)]
    ledger = NewsLedger(Paper(pieces), "feed", "A", 300)
    found: list[str] = []
    for now in range(0, 6_000, 300):
        found += rounds(ledger, BEGIN + now * SECOND_NS)
        assert len(json.dumps(ledger.position())) < 3_000
    assert len(found) == len(set(found)) == len(pieces)


@pytest.mark.parametrize("name", PRESS)
def test_one_piece_is_the_same_whoever_tells_it(name: str) -> None:
    page = PRESS[name].read("NFLX", answer(ONE[name], AT))
    assert not page.rejected
    (news,) = page.news
    symbols = ("NFLX",) if name == "finnhub" else ("NFLX", "BRK.B")
    known = "bcf3ea4f80a41f54" if name == "alpha_vantage" else "24843171"
    assert news == News(known, AT, "Streaming grows", "https://example.com/1", "benzinga", "It does.", symbols)
    assert PRESS[name].question("BRK.B", AT, AT + 1).parameters.values()


@pytest.mark.parametrize("name", PRESS)
@pytest.mark.parametrize("body", [
    None, 7, "no", {"news": 5, "results": {}, "feed": 1}, [None], {"news": [{}], "results": [{"id": 1}], "feed": [{"url": 5}]},
])  # fmt: skip
def test_what_is_no_news_is_set_aside(name: str, body: Any) -> None:
    page = PRESS[name].read("NFLX", answer(body, AT))
    assert not page.news
    assert page.rejected
