"""How each vendor is asked for news of a symbol, and what its answers say."""

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Protocol

from marketpulse.model.market import EARLIEST_TIME_NS, LATEST_TIME_NS
from marketpulse.model.timeframe import SECOND_NS
from marketpulse.ports import RejectedInput
from marketpulse.sources import symbols as shares
from marketpulse.sources.news.told import News, Page
from marketpulse.sources.rest.answer import Answer
from marketpulse.sources.rest.question import Question

_VALUE_BYTES = 16_000  # of an item that is set aside
Fields = Mapping[str, Any]


class NewsVendor(Protocol):
    """What is different from vendor to vendor."""

    def question(self, symbol: str, since_ns: int, now_ns: int) -> Question:
        """How to ask for what was published in `[since_ns, now_ns]`, as much of it as one answer holds."""
        ...

    def read(self, symbol: str, answer: Answer) -> Page:
        """What the answer says; never raises for what a vendor may send."""
        ...


class Unfit(ValueError):
    """An item that cannot be used."""


class AlpacaNews:
    """`/v1beta1/news`, which a free key has."""

    def question(self, symbol: str, since_ns: int, now_ns: int) -> Question:
        parameters = {
            "symbols": shares.theirs(symbol, "."), "start": _iso(since_ns), "end": _iso(now_ns), "limit": "50", "sort": "desc",
        }  # fmt: skip
        return Question("/v1beta1/news", parameters)

    def read(self, symbol: str, answer: Answer) -> Page:
        def one(item: Fields) -> News:
            return News(
                _id(item, "id"), _iso_time(item, "created_at"), _text(item, "headline"), _words(item, "url"),
                _words(item, "source"), _words(item, "summary"), _symbols(item.get("symbols")),
            )  # fmt: skip

        return _page("alpaca", symbol, answer, "news", one)


class PolygonNews:
    """`/v2/reference/news`."""

    def question(self, symbol: str, since_ns: int, now_ns: int) -> Question:
        parameters = {
            "ticker": shares.theirs(symbol, "."), "published_utc.gte": _iso(since_ns), "published_utc.lte": _iso(now_ns),
            "order": "desc", "sort": "published_utc", "limit": "1000",
        }  # fmt: skip
        return Question("/v2/reference/news", parameters)

    def read(self, symbol: str, answer: Answer) -> Page:
        def one(item: Fields) -> News:
            publisher = item.get("publisher")
            return News(
                _id(item, "id"), _iso_time(item, "published_utc"), _text(item, "title"), _words(item, "article_url"),
                _words(publisher, "name") if isinstance(publisher, dict) else "", _words(item, "description"),
                _symbols(item.get("tickers")),
            )  # fmt: skip

        return _page("polygon", symbol, answer, "results", one)


class FinnhubNews:
    """`/company-news`, by days."""

    def question(self, symbol: str, since_ns: int, now_ns: int) -> Question:
        parameters = {"symbol": shares.theirs(symbol, "."), "from": _iso(since_ns)[:10], "to": _iso(now_ns)[:10]}
        return Question("/api/v1/company-news", parameters)

    def read(self, symbol: str, answer: Answer) -> Page:
        def one(item: Fields) -> News:
            at = item.get("datetime")
            time_ns = at * SECOND_NS if isinstance(at, int) and not isinstance(at, bool) else 0
            return News(
                _id(item, "id"), _checked(time_ns), _text(item, "headline"), _words(item, "url"), _words(item, "source"),
                _words(item, "summary"), _symbols(str(item.get("related") or "").split(",")),
            )  # fmt: skip

        return _page("finnhub", symbol, answer, None, one)


class AlphaVantageNews:
    """`NEWS_SENTIMENT`. It gives no ids: they are made of the addresses."""

    def question(self, symbol: str, since_ns: int, now_ns: int) -> Question:
        parameters = {
            "function": "NEWS_SENTIMENT", "tickers": shares.theirs(symbol, "-"), "time_from": _minute(since_ns),
            "time_to": _minute(now_ns + 60 * SECOND_NS), "sort": "LATEST", "limit": "1000",
        }  # fmt: skip
        return Question("/query", parameters)

    def read(self, symbol: str, answer: Answer) -> Page:
        def one(item: Fields) -> News:
            about = item.get("ticker_sentiment")
            names = [part.get("ticker") for part in about if isinstance(part, dict)] if isinstance(about, list) else []
            return News(
                _digest(_text(item, "url")), _iso_time(item, "time_published"), _text(item, "title"), _words(item, "url"),
                _words(item, "source"), _words(item, "summary"), _symbols(names),
            )  # fmt: skip

        return _page("alpha_vantage", symbol, answer, "feed", one)


def _page(vendor: str, symbol: str, answer: Answer, name: str | None, read: Callable[[Fields], News]) -> Page:
    body = answer.body
    found = body if name is None else body.get(name, []) if isinstance(body, dict) else None
    if not isinstance(found, list):
        letter = RejectedInput(
            "bad_answer", "there is no list of news in it", f"{vendor} {symbol}", 1, answer.raw[:_VALUE_BYTES]
        )
        return Page((), [letter])
    return Page(*_each(vendor, symbol, found, read))


def _each(vendor: str, symbol: str, items: Sequence[Any], read: Callable[[Fields], News]) -> Iterator[Any]:
    news, rejected = [], []
    for number, item in enumerate(items, 1):
        try:
            if not isinstance(item, dict):
                raise Unfit("an item of news must be an object")
            news.append(read(item))
        except Unfit as error:
            value = json.dumps(item, default=str).encode()[:_VALUE_BYTES]
            rejected.append(RejectedInput("bad_answer", str(error), f"{vendor} {symbol}", number, value))
    yield news
    yield rejected


def _id(item: Fields, name: str) -> str:
    value = item.get(name)
    if isinstance(value, bool) or not isinstance(value, str | int) or value == "":
        raise Unfit(f"{name} is missing, or no id")
    return str(value)


def _digest(text: str) -> str:
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()


def _text(item: Fields, name: str) -> str:
    if not (found := _words(item, name)):
        raise Unfit(f"{name} is missing")
    return found


def _words(item: Fields, name: str) -> str:
    """A text on one line; empty where there is none. Half a surrogate pair, which UTF-8 does not have, is replaced."""
    value = item.get(name)
    return " ".join(value.encode("utf-8", "replace").decode().split()) if isinstance(value, str) else ""


def _symbols(value: Any) -> tuple[str, ...]:
    names = value if isinstance(value, list) else []
    return tuple(shares.ours(name) for name in names if isinstance(name, str) and name.strip())


def _iso(time_ns: int) -> str:
    return f"{datetime.fromtimestamp(time_ns // SECOND_NS, UTC):%Y-%m-%dT%H:%M:%SZ}"


def _minute(time_ns: int) -> str:
    return f"{datetime.fromtimestamp(time_ns // SECOND_NS, UTC):%Y%m%dT%H%M}"


def _iso_time(item: Fields, name: str) -> int:
    try:
        at = datetime.fromisoformat(str(item.get(name)))
        time_ns = round((at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp()) * SECOND_NS
    except (ValueError, OverflowError):
        time_ns = 0
    return _checked(time_ns)


def _checked(time_ns: int) -> int:
    if not EARLIEST_TIME_NS <= time_ns <= LATEST_TIME_NS:
        raise Unfit("the time of publication cannot be read")
    return time_ns
