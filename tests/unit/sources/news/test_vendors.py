"""Answers in the shapes that the vendors' documents and their clients' tests show."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from marketpulse.sources.news.told import News
from marketpulse.sources.news.vendors import AlpacaNews, AlphaVantageNews, FinnhubNews, NewsVendor, PolygonNews
from marketpulse.sources.rest import Answer
from vendor_answers import answer, ns

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


@pytest.mark.parametrize("name", VENDORS)
def test_one_piece_is_the_same_whoever_tells_it(name: str) -> None:
    page = VENDORS[name].read("NFLX", answer(ONE[name], AT))
    assert not page.rejected
    (news,) = page.news
    symbols = ("NFLX",) if name == "finnhub" else ("NFLX", "BRK.B")
    known = "bcf3ea4f80a41f54" if name == "alpha_vantage" else "24843171"
    assert news == News(known, AT, "Streaming grows", "https://example.com/1", "benzinga", "It does.", symbols)
    assert VENDORS[name].question("BRK.B", AT, AT + 1).parameters.values()


@pytest.mark.parametrize("name", VENDORS)
@pytest.mark.parametrize(
    "body",
    [
        None,
        7,
        "no",
        {"news": 5, "results": {}, "feed": 1},
        [None],
        {"news": [{}], "results": [{"id": 1}], "feed": [{"url": 5}]},
    ],
)
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
