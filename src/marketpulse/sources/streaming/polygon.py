"""Polygon, now called Massive: trades, quotes and bars of the United States' stocks, or of pairs.

The vendor speaks first; then comes the key, then what is asked for. Frames are lists. A feed's times are milliseconds,
those of its history nanoseconds. Ids are of a venue, and off the exchanges of a reporting facility, and of a day.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import parse_qs, quote, urlsplit

import orjson

from marketpulse.errors import ParameterError
from marketpulse.settings import KeyedStreamSettings, PolygonSettings
from marketpulse.sources import symbols as shares
from marketpulse.sources.rest.secret import Key
from marketpulse.sources.streaming import fields as read
from marketpulse.sources.streaming import symbols as pairs
from marketpulse.sources.streaming.fields import Fields, Unfit
from marketpulse.sources.streaming.parsed import Bar, Heard, Parsed, Print, Quote, Refusal, Unusable
from marketpulse.sources.streaming.tape import trade_id
from marketpulse.sources.streaming.vendor import Credentials, Page, RestRequest

PAGE = 50_000  # most rows of one answer
MICS = {
    1: "XASE", 2: "XBOS", 3: "XCIS", 4: "FINR", 6: "XISE", 7: "EDGA", 8: "EDGX", 9: "XCHI", 10: "XNYS", 11: "ARCX",
    12: "XNAS", 14: "LTSE", 15: "IEXG", 16: "CBSX", 17: "XPHL", 18: "BATY", 19: "BATS", 20: "EPRL", 21: "MEMX",
}  # fmt: skip
"""The vendor's numbers of the stocks' exchanges -> MIC. 4 is all that was traded off them."""

_SILENT = frozenset({"NOI", "LULD", "FMV", "XL2", "V", "LV"})
"""Events that say nothing which the log holds: imbalances, bands, fair values, books, indices."""
_TAKEN_BACK = frozenset(
    {7, 8, 10, 11, 12}
)  # the tape's correction codes: wrong, cancelled, and the records that say so


class Polygon:
    """The vendor's protocol; see vendor.TimedVendor."""

    name = "polygon"

    def url(self, settings: KeyedStreamSettings, credentials: Credentials) -> str:  # noqa: ARG002
        return f"{settings.url.rstrip('/')}/{_market(settings)}"

    def headers(self, settings: KeyedStreamSettings) -> Mapping[str, str]:  # noqa: ARG002
        return {}

    def greeting(self, settings: KeyedStreamSettings, symbols: Sequence[str]) -> None:  # noqa: ARG002
        return None  # it speaks first

    def replies(
        self, settings: KeyedStreamSettings, symbols: Sequence[str], credentials: Credentials, message: bytes
    ) -> Sequence[str] | None:
        said = list(_statuses(message))
        if any(status == "connected" for status, _ in said):
            return [_sent("auth", credentials.key.get_secret_value())]
        if any(status == "auth_success" or words == "authenticated" for status, words in said):
            kinds = ("XT", "XQ", "XA") if _market(settings) == "crypto" else ("T", "Q", "AM")
            wanted = zip(kinds, (settings.trades, settings.quotes, settings.bars), strict=True)
            names = [f"{kind}.{symbol}" for kind, on in wanted if on for symbol in symbols]
            return [_sent("subscribe", ",".join(names))]
        return None if any(status == "success" for status, _ in said) else []

    def probe(self) -> None:
        return None  # its answer to a ping is all that tells

    def parse(self, message: bytes | str) -> list[Parsed]:
        return read.each_object(message, _parse)

    def rest_key(self, credentials: Credentials) -> tuple[Key, Mapping[str, str]]:
        return Key(credentials.key, header="Authorization", scheme="Bearer "), {}

    def history_request(
        self, settings: KeyedStreamSettings, symbol: str, from_ns: int, to_ns: int, page: str | None
    ) -> RestRequest:
        pair = _market(settings) == "crypto"
        ticker = quote(f"X:{symbol.replace('-', '')}" if pair else symbol, safe="")
        if settings.bars:
            path = f"/v2/aggs/ticker/{ticker}/range/1/minute/{from_ns // 10**6}/{to_ns // 10**6}"
            return RestRequest(path, {"cursor": page} if page else {"sort": "asc", "limit": PAGE})
        path = f"/v3/trades/{ticker}"
        if page is not None:
            return RestRequest(path, {"cursor": page})
        return RestRequest(
            path, {"timestamp.gte": from_ns, "timestamp.lte": to_ns, "order": "asc", "sort": "timestamp", "limit": PAGE}
        )  # fmt: skip

    def parse_page(self, symbol: str, body: bytes) -> Page:
        found = read.each_object(body, lambda fields: iter(_history(fields, symbol)))
        rows = [x for x in found if isinstance(x, Print | Bar | Unusable)]
        return Page(rows, _cursor(body))

    def to_vendor(self, symbol: str) -> str:
        if pairs.is_pair(symbol):
            return pairs.dashed(symbol)
        plain = shares.theirs(symbol, ".")
        if not plain or not plain.isascii() or not plain.isprintable() or "," in plain or len(plain) > 32:
            raise ParameterError(f"{symbol[:60]!r} is no symbol: write one such as AAPL, BRK.B or BTC-USD")
        return plain

    def to_ours(self, symbol: str) -> str:
        return shares.ours(symbol)

    def calendar(self, settings: KeyedStreamSettings) -> str:
        return "24x7" if _market(settings) == "crypto" else "XNYS"


def _market(settings: KeyedStreamSettings) -> str:
    return settings.market if isinstance(settings, PolygonSettings) else "stocks"


def _sent(action: str, words: str) -> str:
    return orjson.dumps({"action": action, "params": words}).decode()


def _statuses(message: bytes) -> Iterator[tuple[str, str]]:
    """(status, words) of each status event; none where the message is another."""
    try:
        value = orjson.loads(message)
    except orjson.JSONDecodeError:
        return
    for event in value if isinstance(value, list) else [value]:
        if isinstance(event, dict) and event.get("ev") == "status":
            yield str(event.get("status")), str(event.get("message"))


def _parse(fields: Fields) -> Iterator[Parsed]:
    kind = fields.get("ev")
    if not isinstance(kind, str):
        raise Unfit("unknown_type", "the event has no type")
    if (parse := _KINDS.get(kind)) is not None:
        yield parse(fields)
    elif kind in _SILENT:
        yield Heard(kind)
    else:
        raise Unfit("unknown_type", f"events of type {kind[:40]!r} are not known")


def _trade(fields: Fields) -> Print:
    time_ns = read.epoch_time_ns(fields, "t")
    return Print(
        read.text(fields, "sym"), _id(fields, "i", "x", "trfi", time_ns), time_ns, read.price(fields, "p"),
        read.size(fields, "s"), _mic(fields, "x"), read.texts(fields, "c"),
    )  # fmt: skip


def _pair_trade(fields: Fields) -> Print:
    time_ns = read.epoch_time_ns(fields, "t")
    return Print(
        read.text(fields, "pair"), _id(fields, "i", "x", "", time_ns), time_ns, read.price(fields, "p"),
        read.size(fields, "s"), None, read.texts(fields, "c"),
    )  # fmt: skip


def _id(fields: Fields, name: str, venue: str, facility: str, time_ns: int) -> str:
    parts = [fields.get(venue), fields.get(facility)]
    whose = [part for part in parts if isinstance(part, int) and not isinstance(part, bool) and part]
    number = fields.get(name)
    return trade_id(time_ns, *whose, number if isinstance(number, int) else read.text(fields, name))


def _mic(fields: Fields, name: str) -> str | None:
    number = fields.get(name)
    return MICS.get(number) if isinstance(number, int) else None


def _quote(fields: Fields, symbol: str = "sym") -> Parsed:
    if not fields.get("bp") or not fields.get("ap"):
        return Heard("quote of one side")
    return Quote(
        read.text(fields, symbol), read.epoch_time_ns(fields, "t"), read.price(fields, "bp"), read.size(fields, "bs"),
        read.price(fields, "ap"), read.size(fields, "as"),
    )  # fmt: skip


def _bar(fields: Fields, timeframe: str, symbol: str = "sym") -> Bar:
    open_ns, close_ns = read.epoch_time_ns(fields, "s"), read.epoch_time_ns(fields, "e")
    return Bar(read.text(fields, symbol), timeframe, open_ns, close_ns, *_values(fields), None)


def _values(fields: Fields) -> tuple[float, float, float, float, float, float | None]:
    """Open, high, low, close, volume and vwap."""
    return (
        read.price(fields, "o"), read.price(fields, "h"), read.price(fields, "l"), read.price(fields, "c"),
        read.size(fields, "v"), read.price(fields, "vw") if fields.get("vw") else None,
    )  # fmt: skip


def _status(fields: Fields) -> Parsed:
    status, words = str(fields.get("status")), str(fields.get("message"))[:300]
    if status in ("connected", "auth_success", "success"):
        return Heard(status)
    of_the_plan = "plan" in words or "not authorized" in words
    return Refusal(f"{status}: {words}", for_good=of_the_plan, key=status == "auth_failed" and not of_the_plan)


def _history(fields: Fields, symbol: str) -> list[Parsed]:
    """The rows of an answer: trades, or bars of a minute, which have a begin."""
    if "results" not in fields:
        if fields.get("status") in ("OK", "DELAYED"):
            return []  # nothing traded
        raise Unfit("bad_answer", "there are no results in it")
    return read.each(read.objects(fields, "results"), lambda item: iter((_told(item, symbol),)))


def _told(fields: Fields, symbol: str) -> Parsed:
    if "o" in fields:
        open_ns = read.epoch_time_ns(fields, "t")
        count = read.trade_id(fields, "n") if fields.get("n") is not None else None
        return Bar(symbol, "1m", open_ns, open_ns + 60 * 10**9, *_values(fields), count)
    correction = fields.get("correction")
    if isinstance(correction, int) and correction in _TAKEN_BACK:
        return Heard("taken back")
    stamp = "sip_timestamp" if "sip_timestamp" in fields else "participant_timestamp"
    time_ns = read.epoch_time_ns(fields, stamp)
    return Print(
        symbol, _id(fields, "id", "exchange", "trf_id", time_ns), time_ns, read.price(fields, "price"),
        read.size(fields, "size"), _mic(fields, "exchange") if stamp == "sip_timestamp" else None,
        read.texts(fields, "conditions"), live=False,
    )  # fmt: skip


def _cursor(body: bytes) -> str | None:
    """What the next page is asked for with: it stands in the address that the vendor gives."""
    try:
        value: Any = orjson.loads(body)
        address = value.get("next_url") if isinstance(value, dict) else None
        found = parse_qs(urlsplit(address).query).get("cursor") if isinstance(address, str) else None
    except ValueError:
        return None
    return found[0] if found else None


_KINDS: dict[str, Callable[[Fields], Parsed]] = {
    "T": _trade, "XT": _pair_trade, "Q": _quote, "XQ": lambda f: _quote(f, "pair"), "AM": lambda f: _bar(f, "1m"),
    "A": lambda f: _bar(f, "1s"), "XA": lambda f: _bar(f, "1m", "pair"), "XAS": lambda f: _bar(f, "1s", "pair"),
    "status": _status,
}  # fmt: skip
