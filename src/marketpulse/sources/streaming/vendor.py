"""What a vendor's file gives to the shared machinery: pure functions over its messages and addresses."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol, runtime_checkable

from pydantic import SecretStr

from marketpulse.settings import KeyedStreamSettings, StreamSettings
from marketpulse.sources.rest.secret import Key
from marketpulse.sources.streaming.parsed import Bar, Parsed, Print, Trade, Unusable


class RestRequest(NamedTuple):
    """A GET below the vendor's `rest_url`."""

    path: str
    params: Mapping[str, str | int]


class Credentials(NamedTuple):
    """A vendor's key, and the secret that goes with it where it has one. Neither shows in a repr."""

    key: SecretStr
    secret: SecretStr | None = None


class Page(NamedTuple):
    """Rows of one answer, oldest first, and what to ask with for the next page. None: this was the last."""

    rows: list[Print | Bar | Unusable]
    next_page: str | None


@runtime_checkable
class Vendor(Protocol):
    """One vendor's protocol. It holds no connection and no state."""

    name: str
    venue: str
    aggregates: bool  # its trades are aggregates

    def url(self, settings: StreamSettings, symbols: Sequence[str]) -> str:
        """Where to connect for these symbols, as the vendor writes them."""
        ...

    def subscribe(self, settings: StreamSettings, symbols: Sequence[str]) -> Sequence[str]:
        """Messages to send on every new connection, in order."""
        ...

    def probe(self) -> str | None:
        """A message that is answered at once, for a feed that may rightly be silent. None: this one never is."""
        ...

    def parse(self, message: bytes | str) -> list[Parsed]:
        """What a message says. Nothing is raised: what cannot be used is said too."""
        ...

    def newest_request(self, symbol: str) -> RestRequest | None:
        """How to ask for the newest trade, where the feed itself does not tell its id. None: it does."""
        ...

    def trades_request(self, symbol: str, first: int, last: int) -> RestRequest:
        """How to ask for trades from id `first` on, up to `last`, as many as one page holds."""
        ...

    def recent_request(self, symbol: str) -> RestRequest | None:
        """How to ask for the newest trades, as many as one page holds, where older ones are refused. None: no other way."""
        ...

    def unknown_symbol(self, words: str) -> bool:
        """Whether the vendor says with these words that it does not have a symbol."""
        ...

    def parse_trades(self, symbol: str, body: bytes) -> list[Trade | Unusable]:
        """The trades of such an answer, by id."""
        ...

    def to_vendor(self, symbol: str) -> str:
        """Our symbol (BTC-USD) as the vendor writes it. Raises ParameterError."""
        ...

    def to_ours(self, symbol: str) -> str:
        """The vendor's symbol as we write it."""
        ...


class TimedVendor(Protocol):
    """One vendor's protocol where trade ids do not count up by 1, so what did not come is asked for by time.

    It holds no connection and no state.
    """

    name: str

    def url(self, settings: KeyedStreamSettings, credentials: Credentials) -> str:
        """Where to connect."""
        ...

    def headers(self, settings: KeyedStreamSettings) -> Mapping[str, str]:
        """What goes with the request to connect."""
        ...

    def greeting(self, settings: KeyedStreamSettings, symbols: Sequence[str]) -> Sequence[str] | None:
        """What to send at once; None: the vendor speaks first, and `replies` says what it hears."""
        ...

    def replies(
        self, settings: KeyedStreamSettings, symbols: Sequence[str], credentials: Credentials, message: bytes
    ) -> Sequence[str] | None:
        """What to send after a message of the conversation before the first trade. None: it is over."""
        ...

    def probe(self) -> str | None:
        """A message that is answered at once; None: there is none."""
        ...

    def parse(self, message: bytes | str) -> list[Parsed]:
        """What a message says. Nothing is raised: what cannot be used is said too."""
        ...

    def rest_key(self, credentials: Credentials) -> tuple[Key, Mapping[str, str]]:
        """How a request shows the key: the key itself, and further headers."""
        ...

    def history_request(
        self, settings: KeyedStreamSettings, symbol: str, from_ns: int, to_ns: int, page: str | None
    ) -> RestRequest | None:
        """How to ask for trades, or the bars that the settings want, of `[from_ns, to_ns]`, oldest first. None: the
        vendor has no such history."""
        ...

    def parse_page(self, symbol: str, body: bytes) -> Page:
        """The rows of such an answer."""
        ...

    def to_vendor(self, symbol: str) -> str:
        """Our symbol as the vendor writes it. Raises ParameterError."""
        ...

    def to_ours(self, symbol: str) -> str:
        """The vendor's symbol as we write it."""
        ...

    def calendar(self, settings: KeyedStreamSettings) -> str:
        """When its symbols trade: a MIC, or 24x7."""
        ...
