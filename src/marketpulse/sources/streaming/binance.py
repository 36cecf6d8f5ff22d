"""Binance spot: `trade`, or `aggTrade`, and `bookTicker` streams, which need no key.

Trade ids count up by 1 within a symbol, and so do those of aggregates. The feed does not say the newest id by itself, so it is asked
for by REST at each new connection. A best bid and ask has no time of its own: it is true when it comes.
"""

from collections.abc import Iterator, Sequence

import orjson

from marketpulse.settings import StreamSettings
from marketpulse.sources.streaming import fields as read
from marketpulse.sources.streaming import symbols
from marketpulse.sources.streaming.fields import Fields, Unfit
from marketpulse.sources.streaming.parsed import Heard, Parsed, Quote, Refusal, Trade, Unusable
from marketpulse.sources.streaming.vendor import RestRequest

PAGE = 1_000  # most trades of one answer
_SILENT = frozenset({"kline", "24hrMiniTicker", "24hrTicker", "1hTicker", "4hTicker", "1dTicker",
                     "avgPrice", "depthUpdate", "serverShutdown", "referencePrice", "blockTrade"})  # fmt: skip
"""Events that say nothing which the log holds."""
_LISTED_PER_MESSAGE = 100
_UNKNOWN = "Invalid symbol"


class Binance:
    """The vendor's protocol; see vendor.Vendor. `aggregates`: these are asked for in place of single trades."""

    name = "binance"
    venue = "BINANCE"

    def __init__(self, aggregates: bool = False) -> None:
        self.aggregates = aggregates

    def url(self, settings: StreamSettings, pairs: Sequence[str]) -> str:  # noqa: ARG002
        return f"{settings.url.rstrip('/')}/stream"

    def subscribe(self, settings: StreamSettings, pairs: Sequence[str]) -> Sequence[str]:
        trades = "aggTrade" if self.aggregates else "trade"
        wanted = ((trades, settings.trades), ("bookTicker", settings.quotes))
        streams = [f"{pair.lower()}@{stream}" for pair in pairs for stream, on in wanted if on]
        parts = [streams[i : i + _LISTED_PER_MESSAGE] for i in range(0, len(streams), _LISTED_PER_MESSAGE)]
        return [
            orjson.dumps({"method": "SUBSCRIBE", "params": part, "id": number}).decode()
            for number, part in enumerate(parts, start=1)
        ]

    def probe(self) -> str | None:
        return '{"method":"LIST_SUBSCRIPTIONS","id":0}'

    def parse(self, message: bytes | str) -> list[Parsed]:
        return read.each_object(message, _parse)

    def newest_request(self, pair: str) -> RestRequest | None:
        path = "/api/v3/aggTrades" if self.aggregates else "/api/v3/trades"
        return RestRequest(path, {"symbol": pair, "limit": 1})

    def trades_request(self, pair: str, first: int, last: int) -> RestRequest:
        limit = min(PAGE, last - first + 1)
        path = "/api/v3/aggTrades" if self.aggregates else "/api/v3/historicalTrades"
        return RestRequest(path, {"symbol": pair, "fromId": first, "limit": limit})

    def recent_request(self, pair: str) -> RestRequest | None:
        return None if self.aggregates else RestRequest("/api/v3/trades", {"symbol": pair, "limit": PAGE})

    def unknown_symbol(self, words: str) -> bool:
        return _UNKNOWN in words

    def parse_trades(self, pair: str, body: bytes) -> list[Trade | Unusable]:
        def trade(fields: Fields) -> Iterator[Parsed]:
            if "a" in fields and "id" not in fields:
                yield _aggregate({**fields, "s": pair}, live=False)
                return
            yield Trade(
                pair, read.trade_id(fields, "id"), read.epoch_time_ns(fields, "time"), read.price(fields, "price"),
                read.size(fields, "qty"), live=False,
            )  # fmt: skip

        found = [x for x in read.each_object(body, trade) if isinstance(x, Trade | Unusable)]
        return sorted(found, key=lambda x: x.trade_id if isinstance(x, Trade) else -1)

    def to_vendor(self, symbol: str) -> str:
        return symbols.joined(symbol)

    def to_ours(self, symbol: str) -> str:
        return symbols.dashed(symbol)


def _parse(fields: Fields) -> Iterator[Parsed]:
    if "stream" in fields and "data" in fields:  # combined streams wrap each event
        inner = fields["data"]
        if isinstance(inner, list):
            yield from read.each(inner, _parse)
        elif isinstance(inner, dict):
            yield from _parse(inner)
        else:
            raise Unfit("wrong_type", "data must be an object or a list of them")
        return
    kind = fields.get("e")
    if kind == "trade":
        yield Trade(
            read.text(fields, "s"), read.trade_id(fields, "t"), read.epoch_time_ns(fields, "T"),
            read.price(fields, "p"), read.size(fields, "q"),
        )  # fmt: skip
    elif kind == "aggTrade":
        yield _aggregate(fields, live=True)
    elif kind in (None, "bookTicker") and {"s", "b", "B", "a", "A"} <= fields.keys():
        yield _quote(fields)
    elif isinstance(kind, str):
        if kind not in _SILENT:
            raise Unfit("unknown_type", f"events of type {kind[:40]!r} are not known")
        yield Heard(kind)
    elif "error" in fields or "code" in fields:
        yield _refusal(fields)
    elif "result" in fields and "id" in fields:
        yield Heard("answer")
    else:
        raise Unfit("unknown_type", "the message has no type")


def _aggregate(fields: Fields, live: bool) -> Trade:
    return Trade(
        read.text(fields, "s"), read.trade_id(fields, "a"), read.epoch_time_ns(fields, "T"),
        read.price(fields, "p"), read.size(fields, "q"), live, aggregate=True,
    )  # fmt: skip


def _quote(fields: Fields) -> Parsed:
    time_ns = read.epoch_time_ns(fields, "E") if "E" in fields else None
    if any(fields[name] == "0.00000000" for name in ("b", "a")):
        return Heard("empty book")
    return Quote(
        read.text(fields, "s"), time_ns, read.price(fields, "b"), read.size(fields, "B"), read.price(fields, "a"),
        read.size(fields, "A"),
    )  # fmt: skip


def _refusal(fields: Fields) -> Refusal:
    inner = fields.get("error")
    fault = inner if isinstance(inner, dict) else fields
    words = ": ".join(str(fault[name])[:300] for name in ("code", "msg") if fault.get(name) is not None)
    return Refusal(words or "no reason given", for_good=_UNKNOWN in words)
