"""What a vendor's file gives to the shared machinery: pure functions over its messages and addresses."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol

from marketpulse.settings import StreamSettings
from marketpulse.sources.streaming.parsed import Parsed, Trade, Unusable


class RestRequest(NamedTuple):
    """A GET below the vendor's `rest_url`."""

    path: str
    params: Mapping[str, str | int]


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
