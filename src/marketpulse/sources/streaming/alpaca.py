"""Alpaca: trades, quotes and bars of the United States' stocks (IEX alone, or all venues), and of pairs.

The vendor speaks first; then comes the key, then what is asked for. Frames are JSON or MessagePack, and always lists.
Ids are of a venue and a day. A correction gives a trade another id.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import msgpack
import orjson

from marketpulse.errors import ParameterError
from marketpulse.model.timeframe import SECOND_NS
from marketpulse.settings import AlpacaSettings, KeyedStreamSettings
from marketpulse.sources import symbols as shares
from marketpulse.sources.rest.secret import Key
from marketpulse.sources.streaming import fields as read
from marketpulse.sources.streaming import symbols as pairs
from marketpulse.sources.streaming.fields import Fields, Unfit
from marketpulse.sources.streaming.parsed import (
    Bar,
    Cancel,
    Correction,
    Heard,
    Interruption,
    Parsed,
    Print,
    Quote,
    Refusal,
    Unusable,
)
from marketpulse.sources.streaming.tape import BY_LETTER, trade_id
from marketpulse.sources.streaming.vendor import Credentials, Page, RestRequest

PAGE = 10_000  # most trades of one answer
_SILENT = frozenset({"subscription", "d", "l", "i", "n", "o"})
"""Types that say nothing which the log holds: answers, the bar of a day that still forms, bands, imbalances, news, books."""
_HALTS = {"H": "halt", "2": "halt", "T": "resume", "3": "resume"}  # tape C has letters, A and B numbers
_GONE = frozenset({"canceled", "incorrect"})
_KEY_CODES = frozenset({401, 402})
_FINAL_CODES = frozenset({405, 409, 410})  # too many symbols, not in the plan, not in this feed


class Alpaca:
    """The vendor's protocol; see vendor.TimedVendor."""

    name = "alpaca"

    def url(self, settings: KeyedStreamSettings, credentials: Credentials) -> str:  # noqa: ARG002
        feed = _feed(settings)
        return f"{settings.url.rstrip('/')}/{'v1beta3/crypto/us' if feed == 'crypto' else f'v2/{feed}'}"

    def headers(self, settings: KeyedStreamSettings) -> Mapping[str, str]:
        wanted = isinstance(settings, AlpacaSettings) and settings.msgpack
        return {"Content-Type": "application/msgpack"} if wanted else {}

    def greeting(self, settings: KeyedStreamSettings, symbols: Sequence[str]) -> None:  # noqa: ARG002
        return None  # it speaks first

    def replies(
        self, settings: KeyedStreamSettings, symbols: Sequence[str], credentials: Credentials, message: bytes
    ) -> Sequence[str] | None:
        heard = _listed(message)
        said = [m.get("msg") for m in heard if m.get("T") == "success"]
        if "connected" in said:
            secret = credentials.secret.get_secret_value() if credentials.secret else ""
            return [_sent("auth", key=credentials.key.get_secret_value(), secret=secret)]
        if "authenticated" in said:
            wanted = (("trades", settings.trades), ("quotes", settings.quotes), ("bars", settings.bars),
                      ("updatedBars", settings.bars))  # fmt: skip
            return [_sent("subscribe", **{name: list(symbols) for name, on in wanted if on})]
        return None if any(m.get("T") == "subscription" for m in heard) else []

    def probe(self) -> str:
        return _sent("subscribe", trades=[])  # answered with what is subscribed to

    def parse(self, message: bytes | str) -> list[Parsed]:
        text = _json(message)
        return [text] if isinstance(text, Unusable) else read.each_object(text, _parse)

    def rest_key(self, credentials: Credentials) -> tuple[Key, Mapping[str, str]]:
        secret = credentials.secret or credentials.key
        return Key(secret, header="APCA-API-SECRET-KEY"), {"APCA-API-KEY-ID": credentials.key.get_secret_value()}

    def history_request(
        self, settings: KeyedStreamSettings, symbol: str, from_ns: int, to_ns: int, page: str | None
    ) -> RestRequest:
        feed = _feed(settings)
        parameters: dict[str, str | int] = {
            "symbols": symbol, "start": _iso(from_ns), "end": _iso(to_ns), "limit": PAGE, "sort": "asc",
        }  # fmt: skip
        if page is not None:
            parameters["page_token"] = page
        what = "bars" if settings.bars else "trades"
        if settings.bars:
            parameters["timeframe"] = "1Min"
        if feed == "crypto":
            return RestRequest(f"/v1beta3/crypto/us/{what}", parameters)
        return RestRequest(f"/v2/stocks/{what}", {**parameters, "feed": feed.removeprefix("delayed_")})

    def parse_page(self, symbol: str, body: bytes) -> Page:
        found = read.each_object(body, lambda fields: iter(_history(fields, symbol)))
        following = _listed(body)[0].get("next_page_token") if _listed(body) else None
        rows = [x for x in found if isinstance(x, Print | Bar | Unusable)]
        return Page(rows, following if isinstance(following, str) and following else None)

    def to_vendor(self, symbol: str) -> str:
        if pairs.is_pair(symbol):
            return pairs.dashed(symbol).replace("-", "/")
        plain = shares.theirs(symbol, ".")
        if not plain or not plain.isascii() or not plain.isprintable() or len(plain) > 32:
            raise ParameterError(f"{symbol[:60]!r} is no symbol: write one such as AAPL, BRK.B or BTC-USD")
        return plain

    def to_ours(self, symbol: str) -> str:
        return symbol.replace("/", "-") if "/" in symbol else shares.ours(symbol)

    def calendar(self, settings: KeyedStreamSettings) -> str:
        return "24x7" if _feed(settings) == "crypto" else "XNYS"


def _feed(settings: KeyedStreamSettings) -> str:
    return settings.feed if isinstance(settings, AlpacaSettings) else "iex"


def _sent(action: str, **fields: object) -> str:
    return orjson.dumps({"action": action, **fields}).decode()


def _iso(time_ns: int) -> str:
    whole, part = divmod(time_ns, SECOND_NS)
    return f"{datetime.fromtimestamp(whole, UTC):%Y-%m-%dT%H:%M:%S}.{part:09d}Z"


def _json(message: bytes | str) -> bytes | str | Unusable:
    """The message as JSON; a MessagePack frame begins with a byte that no JSON has."""
    if isinstance(message, str) or not message or message[0] < 0x80:
        return message
    try:
        value = msgpack.unpackb(message, timestamp=0, strict_map_key=False)
        return orjson.dumps(value, default=_stamp, option=orjson.OPT_NON_STR_KEYS)
    except (ValueError, TypeError, msgpack.UnpackException, RecursionError) as error:
        return Unusable("not_json", f"neither JSON nor MessagePack: {error or type(error).__name__}")


def _stamp(value: Any) -> str:
    """What JSON does not have: a frame's times."""
    if isinstance(value, msgpack.Timestamp):
        return _iso(value.to_unix_nano())
    raise TypeError(f"a value of type {type(value).__name__}")


def _listed(message: bytes) -> list[dict[str, Any]]:
    """The objects of a message, for the conversation; [] where it has none."""
    text = _json(message)
    try:
        value = [] if isinstance(text, Unusable) else orjson.loads(text)
    except orjson.JSONDecodeError:
        return []
    return [m for m in (value if isinstance(value, list) else [value]) if isinstance(m, dict)]


def _parse(fields: Fields) -> Iterator[Parsed]:
    kind = fields.get("T")
    if not isinstance(kind, str):
        if "trades" in fields:  # an answer by REST
            yield from _history(fields, None)
            return
        raise Unfit("unknown_type", "the message has no type")
    if (parse := _KINDS.get(kind)) is not None:
        yield parse(fields)
    elif kind in _SILENT:
        yield Heard(kind)
    else:
        raise Unfit("unknown_type", f"messages of type {kind[:40]!r} are not known")


def _trade(fields: Fields, symbol: str | None = None, live: bool = True) -> Print:
    time_ns = read.iso_time_ns(fields, "t")
    letter = fields.get("x")
    return Print(
        symbol or read.text(fields, "S"), _id(fields, "i", time_ns), time_ns, read.price(fields, "p"),
        read.size(fields, "s"), BY_LETTER.get(letter) if isinstance(letter, str) else None,
        read.texts(fields, "c"), live,
    )  # fmt: skip


def _id(fields: Fields, name: str, time_ns: int) -> str:
    letter = fields.get("x")
    number = read.trade_id(fields, name)
    return trade_id(time_ns, letter, number) if isinstance(letter, str) and letter else trade_id(time_ns, number)


def _quote(fields: Fields) -> Parsed:
    if not fields.get("bp") or not fields.get("ap"):
        return Heard("quote of one side")
    return Quote(
        read.text(fields, "S"), read.iso_time_ns(fields, "t"), read.price(fields, "bp"), read.size(fields, "bs"),
        read.price(fields, "ap"), read.size(fields, "as"),
    )  # fmt: skip


def _bar(fields: Fields, symbol: str | None = None) -> Bar:
    open_ns = read.iso_time_ns(fields, "t")
    return Bar(
        symbol or read.text(fields, "S"), "1m", open_ns, open_ns + 60 * SECOND_NS, read.price(fields, "o"), read.price(fields, "h"),
        read.price(fields, "l"), read.price(fields, "c"), read.size(fields, "v"),
        read.price(fields, "vw") if fields.get("vw") else None,
        read.trade_id(fields, "n") if fields.get("n") is not None else None,
    )  # fmt: skip


def _correction(fields: Fields) -> Correction:
    time_ns = read.iso_time_ns(fields, "t")
    return Correction(
        read.text(fields, "S"), _id(fields, "oi", time_ns), time_ns, read.price(fields, "cp"), read.size(fields, "cs"),
        _id(fields, "ci", time_ns),
    )  # fmt: skip


def _cancel(fields: Fields) -> Cancel:
    time_ns = read.iso_time_ns(fields, "t")
    return Cancel(read.text(fields, "S"), _id(fields, "i", time_ns), time_ns)


def _status(fields: Fields) -> Parsed:
    code = fields.get("sc")
    kind = _HALTS.get(code) if isinstance(code, str) else None
    if kind is None:
        return Heard("status")
    words = [str(fields[name])[:100] for name in ("sm", "rc", "rm") if fields.get(name)]
    at = read.iso_time_ns(fields, "t")
    return Interruption(read.text(fields, "S"), "halt" if kind == "halt" else "resume", at, ": ".join(words))


def _refusal(fields: Fields) -> Refusal:
    code = fields.get("code")
    words = f"{code}: {str(fields.get('msg'))[:300]}"
    known = isinstance(code, int)
    return Refusal(words, known and code in _FINAL_CODES, known and code in _KEY_CODES)


def _history(fields: Fields, symbol: str | None) -> list[Parsed]:
    """The trades or bars of an answer: by symbol, or a list of the one symbol that was asked for."""
    kind = next((name for name in ("trades", "bars") if name in fields), None)
    if kind is None:
        raise Unfit("bad_answer", "there are no trades in it")
    trades = fields[kind]
    if trades is None:
        return []  # nothing traded
    named = fields.get("symbol")
    if isinstance(trades, list):
        own = symbol or (named if isinstance(named, str) else None)
        trades = {own or "": trades}
    if not isinstance(trades, dict):
        raise Unfit("bad_answer", "its trades are no list")
    found: list[Parsed] = []
    for name, items in trades.items():
        if not name or not isinstance(items, list):
            raise Unfit("bad_answer", "its trades have no symbol, or are no list")
        known = read.text({"symbol": name}, "symbol")
        found += read.each(items, lambda item, name=known: _told(item, name))  # type: ignore[misc]
    return found


def _told(fields: Fields, symbol: str) -> Iterator[Parsed]:
    update = fields.get("u")
    if isinstance(update, str) and update in _GONE:
        yield Heard("taken back")
    else:
        yield _bar(fields, symbol) if "o" in fields else _trade(fields, symbol, live=False)


_KINDS: dict[str, Callable[[Fields], Parsed]] = {
    "t": _trade, "q": _quote, "b": _bar, "u": _bar, "c": _correction, "x": _cancel, "s": _status, "error": _refusal,
    "success": lambda _: Heard("success"),
}  # fmt: skip
