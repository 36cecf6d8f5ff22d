"""Finnhub: trades of stocks and pairs. The key stands in the address, and a `ping` says that the feed is there.

Its trades have no ids, and there is no history of them to ask for: what a connection did not bring is said, as a time,
and one that comes twice cannot be told from two.
"""

from collections.abc import Iterator, Mapping, Sequence
from urllib.parse import quote

import orjson

from marketpulse.errors import ParameterError
from marketpulse.settings import FinnhubSettings, KeyedStreamSettings
from marketpulse.sources import symbols as shares
from marketpulse.sources.rest.secret import Key
from marketpulse.sources.streaming import fields as read
from marketpulse.sources.streaming.fields import Fields, Unfit
from marketpulse.sources.streaming.parsed import Heard, Parsed, Print, Refusal
from marketpulse.sources.streaming.vendor import Credentials, Page

_SILENT = frozenset({"ping", "news", "pr"})
"""Types that say nothing which the log holds."""


class Finnhub:
    """The vendor's protocol; see vendor.TimedVendor."""

    name = "finnhub"

    def url(self, settings: KeyedStreamSettings, credentials: Credentials) -> str:
        return f"{settings.url.rstrip('/')}/?token={quote(credentials.key.get_secret_value(), safe='')}"

    def headers(self, settings: KeyedStreamSettings) -> Mapping[str, str]:  # noqa: ARG002
        return {}

    def greeting(self, settings: KeyedStreamSettings, symbols: Sequence[str]) -> Sequence[str]:  # noqa: ARG002
        return [orjson.dumps({"type": "subscribe", "symbol": symbol}).decode() for symbol in symbols]

    def replies(
        self,
        settings: KeyedStreamSettings,  # noqa: ARG002
        symbols: Sequence[str],  # noqa: ARG002
        credentials: Credentials,  # noqa: ARG002
        message: bytes,  # noqa: ARG002
    ) -> None:
        return None  # there is no conversation

    def probe(self) -> None:
        return None  # it says `ping` by itself

    def parse(self, message: bytes | str) -> list[Parsed]:
        return read.each_object(message, _parse)

    def rest_key(self, credentials: Credentials) -> tuple[Key, Mapping[str, str]]:
        return Key(credentials.key, header="X-Finnhub-Token"), {}

    def history_request(
        self,
        settings: KeyedStreamSettings,  # noqa: ARG002
        symbol: str,  # noqa: ARG002
        from_ns: int,  # noqa: ARG002
        to_ns: int,  # noqa: ARG002
        page: str | None,  # noqa: ARG002
    ) -> None:
        return None

    def parse_page(self, symbol: str, body: bytes) -> Page:  # noqa: ARG002
        return Page([], None)

    def to_vendor(self, symbol: str) -> str:
        plain = shares.theirs(symbol, ".")
        if not plain or not plain.isascii() or not plain.isprintable() or len(plain) > 64:
            raise ParameterError(f"{symbol[:60]!r} is no symbol: write one such as AAPL or BINANCE:BTCUSDT")
        return plain

    def to_ours(self, symbol: str) -> str:
        return shares.ours(symbol)

    def calendar(self, settings: KeyedStreamSettings) -> str:
        return settings.calendar if isinstance(settings, FinnhubSettings) else "XNYS"


def _parse(fields: Fields) -> Iterator[Parsed]:
    kind = fields.get("type")
    if not isinstance(kind, str):
        raise Unfit("unknown_type", "the message has no type")
    if kind == "trade":
        yield from read.each(read.objects(fields, "data"), lambda item: iter((_trade(item),)))
    elif kind == "error":
        words = str(fields.get("msg"))[:300]
        yield Refusal(words, for_good=False, key="api key" in words.lower() or "token" in words.lower())
    elif kind in _SILENT:
        yield Heard(kind)
    else:
        raise Unfit("unknown_type", f"messages of type {kind[:40]!r} are not known")


def _trade(fields: Fields) -> Print:
    return Print(
        read.text(fields, "s"), None, read.epoch_time_ns(fields, "t"), read.price(fields, "p"), read.size(fields, "v"),
        None, read.texts(fields, "c"),
    )  # fmt: skip
