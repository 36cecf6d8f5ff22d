"""Coinbase: the Exchange feed (`matches`, `ticker`, `heartbeat`), which needs no key.

Trade ids count up by 1 within a product, and each second a heartbeat says the newest of them, so the
last trade before a silence is missed too. A feed of Advanced Trade (`market_trades`, `ticker`) says
the same with the same ids; recordings of either are understood.
"""

from collections.abc import Callable, Iterator, Sequence

import orjson

from marketpulse.settings import StreamSettings
from marketpulse.sources.streaming import fields as read
from marketpulse.sources.streaming import symbols
from marketpulse.sources.streaming.fields import Fields, Unfit
from marketpulse.sources.streaming.parsed import Heard, LastTrade, Parsed, Quote, Refusal, Trade, Unusable
from marketpulse.sources.streaming.vendor import RestRequest

PAGE = 1_000  # most trades of one answer
_SILENT = frozenset({"subscriptions", "status", "heartbeats", "candles", "level2", "l2_data", "ticker_batch",
                     "snapshot", "l2update", "received", "open", "done", "change", "activate", "auction",
                     "rfq_match", "balance", "user"})  # fmt: skip
"""Types and channels that say nothing which the log holds."""


class Coinbase:
    """The vendor's protocol; see vendor.Vendor."""

    name = "coinbase"
    venue = "COINBASE"
    aggregates = False

    def url(self, settings: StreamSettings, products: Sequence[str]) -> str:  # noqa: ARG002
        return settings.url

    def subscribe(self, settings: StreamSettings, products: Sequence[str]) -> Sequence[str]:
        wanted = (("heartbeat", True), ("matches", settings.trades), ("ticker", settings.quotes))
        channels = [name for name, on in wanted if on]
        message = {"type": "subscribe", "product_ids": list(products), "channels": channels}
        return [orjson.dumps(message).decode()]

    def probe(self) -> str | None:
        return None  # a heartbeat comes each second

    def parse(self, message: bytes | str) -> list[Parsed]:
        return read.each_object(message, _parse)

    def newest_request(self, product: str) -> RestRequest | None:  # noqa: ARG002
        return None  # the heartbeat says it

    def trades_request(self, product: str, first: int, last: int) -> RestRequest:
        # `after` means older: the page ends just below the cursor, so ids that count make pages that go forward.
        return RestRequest(f"/products/{product}/trades", {"limit": PAGE, "after": min(first + PAGE, last + 1)})

    def recent_request(self, product: str) -> RestRequest | None:  # noqa: ARG002
        return None  # older ones are asked for in the same way

    def unknown_symbol(self, words: str) -> bool:
        return "not a valid product" in words or "NotFound" in words

    def parse_trades(self, product: str, body: bytes) -> list[Trade | Unusable]:
        def trade(fields: Fields) -> Iterator[Parsed]:
            yield _trade({**fields, "product_id": product}, live=False)

        found = [x for x in read.each_object(body, trade) if isinstance(x, Trade | Unusable)]
        return sorted(found, key=lambda x: x.trade_id if isinstance(x, Trade) else -1)

    def to_vendor(self, symbol: str) -> str:
        return symbols.dashed(symbol)

    def to_ours(self, symbol: str) -> str:
        return symbol


def _parse(fields: Fields) -> Iterator[Parsed]:
    kind = fields.get("type")
    if isinstance(fields.get("channel"), str) and not isinstance(kind, str):
        yield from _advanced(fields)
    elif not isinstance(kind, str):
        raise Unfit("unknown_type", "the message has no type")
    elif kind in ("match", "last_match"):
        yield _trade(fields, live=kind == "match")
    elif kind == "ticker":
        yield _quote(fields, "best_bid_size", "best_ask_size", read.iso_time_ns(fields, "time"))
    elif kind == "heartbeat":
        yield LastTrade(read.text(fields, "product_id"), read.trade_id(fields, "last_trade_id"))
    elif kind == "error":
        yield _refusal(fields)
    elif kind in _SILENT:
        yield Heard(kind)
    else:
        raise Unfit("unknown_type", f"messages of type {kind[:40]!r} are not known")


def _trade(fields: Fields, live: bool) -> Trade:
    return Trade(
        read.text(fields, "product_id"), read.trade_id(fields, "trade_id"), read.iso_time_ns(fields, "time"),
        read.price(fields, "price"), read.size(fields, "size"), live,
    )  # fmt: skip


def _quote(fields: Fields, bid_size: str, ask_size: str, time_ns: int) -> Parsed:
    if not all(fields.get(name) for name in ("best_bid", "best_ask")):
        return Heard("ticker without quote")  # an empty book has none
    if bid_size not in fields and ask_size not in fields:
        return Heard("ticker without sizes")  # as the vendor said it until 2022
    return Quote(
        read.text(fields, "product_id"), time_ns,
        read.price(fields, "best_bid"), read.size(fields, bid_size),
        read.price(fields, "best_ask"), read.size(fields, ask_size),
    )  # fmt: skip


def _refusal(fields: Fields) -> Refusal:
    words = ": ".join(str(fields[name])[:300] for name in ("message", "reason") if fields.get(name))
    return Refusal(words or "no reason given", "not a valid product" in words)


def _advanced(fields: Fields) -> Iterator[Parsed]:
    """A message of Advanced Trade: its events hold lists, newest trade first."""
    channel = fields["channel"]
    if channel == "market_trades":
        for event in _events(fields):
            live = event.get("type") != "snapshot"
            trades = _elements(event, "trades", lambda item, live=live: _trade(item, live))  # type: ignore[misc]
            yield from sorted(trades, key=lambda x: x.trade_id if isinstance(x, Trade) else -1)
    elif channel in ("ticker", "ticker_batch"):
        at = read.iso_time_ns(fields, "timestamp")
        for event in _events(fields):
            yield from _elements(
                event, "tickers", lambda item: _quote(item, "best_bid_quantity", "best_ask_quantity", at)
            )
    elif channel in _SILENT:
        yield Heard(channel)
    else:
        raise Unfit("unknown_type", f"the channel {channel[:40]!r} is not known")


def _events(fields: Fields) -> Iterator[Fields]:
    for event in read.objects(fields, "events"):
        if not isinstance(event, dict):
            raise Unfit("wrong_type", "an event must be an object")
        yield event


def _elements(event: Fields, name: str, parse: Callable[[Fields], Parsed]) -> list[Parsed]:
    """Each element on its own: one that cannot be used does not spoil the others."""
    found: list[Parsed] = []
    for item in read.objects(event, name):
        own = orjson.dumps(item)
        if isinstance(item, dict):
            found += read.one_object(item, lambda one: iter((parse(one),)), own)
        else:
            found.append(Unusable("wrong_type", f"an element of {name} must be an object", own))
    return found
