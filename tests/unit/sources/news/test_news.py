"""News: what vendors say, and each piece is told once. Answers are in the shapes of the vendors' documents."""

import json
import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from marketpulse.kafka.market_contract import checked
from marketpulse.model.market import RECORD_BYTES_MAX, Kind
from marketpulse.model.timeframe import SECOND_NS
from marketpulse.sources.news.ledger import NewsLedger
from marketpulse.sources.news.told import HEADLINE_MAX, SUMMARY_MAX, News, Page
from marketpulse.sources.news.vendors import AlpacaNews, AlphaVantageNews, FinnhubNews, NewsVendor, PolygonNews
from marketpulse.sources.rest import Answer
from marketpulse.sources.rest.question import Question
from vendor_answers import answer, ns

BEGIN = 1_700_000_000 * SECOND_NS
VENDORS: dict[str, NewsVendor] = {"alpaca": AlpacaNews(), "polygon": PolygonNews(), "finnhub": FinnhubNews(),
                               "alpha_vantage": AlphaVantageNews()}  # fmt: skip
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
        self.pieces = pieces
        self.asked: list[tuple[str, int]] = []

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
        bodies, _ = ledger.answered(Answer(body, b"", {}, now_ns))
        found += [body["id"] for body in bodies]
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


def test_a_record_keeps_the_contract_of_the_log_whatever_its_size_and_its_mark_is_that_of_the_id_alone() -> None:
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


@pytest.mark.parametrize("name", VENDORS)
def test_one_piece_is_the_same_whoever_tells_it(name: str) -> None:
    page = VENDORS[name].read("NFLX", answer(ONE[name], AT))
    assert not page.rejected
    (news,) = page.news
    symbols = ("NFLX",) if name == "finnhub" else ("NFLX", "BRK.B")
    known = "bcf3ea4f80a41f54" if name == "alpha_vantage" else "24843171"
    assert news == News(known, AT, "Streaming grows", "https://example.com/1", "benzinga", "It does.", symbols)
    assert VENDORS[name].question("BRK.B", AT, AT + 1).parameters.values()


UNUSABLE = [None, 7, "no", {"news": 5, "results": {}, "feed": 1}, [None], {"news": [{}], "results": [{"id": 1}], "feed": [{"url": 5}]}]  # fmt: skip


@pytest.mark.parametrize("name", VENDORS)
@pytest.mark.parametrize("body", UNUSABLE)
def test_what_cannot_be_used_is_set_aside(name: str, body: Any) -> None:
    page = VENDORS[name].read("NFLX", answer(body, AT))
    assert not page.news
    assert page.rejected


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=12),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(
        st.sampled_from(["news", "results", "id", "headline", "title", "created_at", "published_utc", "datetime", "symbols", "tickers",
                         "publisher", "name", "related", "url", "summary"]), inner, max_size=6),
    max_leaves=20,
)  # fmt: skip


@given(body=JSON)
def test_whatever_comes_is_read_or_set_aside(body: Any) -> None:
    for vendor in VENDORS.values():
        page = vendor.read("NFLX", Answer(body, b"", {}, 1))
        assert all(news.headline and news.news_id for news in page.news)
