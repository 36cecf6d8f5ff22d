"""What one message of a vendor can say. Parsers give these; nothing else leaves a parser.

Symbols are as the vendor writes them. Times are nanoseconds UTC, prices and sizes as the log holds them.
"""

from typing import Literal, NamedTuple


class Trade(NamedTuple):
    """One execution. `trade_id` counts up by 1 within a symbol. `live`: it happened just now (else the
    vendor tells what was before we came, and its delay means nothing). `aggregate`: several executions of one order
    at one price, in one; these count up by ids of their own."""

    symbol: str
    trade_id: int
    time_ns: int
    price: float
    size: float
    live: bool = True
    aggregate: bool = False


class Quote(NamedTuple):
    """Best bid and ask. `time_ns` is None where the vendor gives no time: it was true when it came."""

    symbol: str
    time_ns: int | None
    bid: float
    bid_size: float
    ask: float
    ask_size: float


class Print(NamedTuple):
    """One execution of a feed whose ids do not count. `trade_id` tells it from all others of its symbol; None: it has none."""

    symbol: str
    trade_id: str | None
    time_ns: int
    price: float
    size: float
    venue: str | None = None  # a MIC
    conditions: tuple[str, ...] = ()
    live: bool = True


class Correction(NamedTuple):
    """A trade was otherwise than it was told. `new_id`: what the vendor calls it from now on."""

    symbol: str
    trade_id: str
    time_ns: int
    price: float
    size: float
    new_id: str


class Cancel(NamedTuple):
    """A trade was none."""

    symbol: str
    trade_id: str
    time_ns: int


class Bar(NamedTuple):
    """A bar that the vendor has made, closed."""

    symbol: str
    timeframe: str
    open_ns: int
    close_ns: int
    open: float
    high: float
    low: float
    close: float
    volume: float
    vwap: float | None
    trade_count: int | None


class Interruption(NamedTuple):
    """Trading in a symbol has halted, or has resumed."""

    symbol: str
    kind: Literal["halt", "resume"]
    time_ns: int
    reason: str


class LastTrade(NamedTuple):
    """The vendor says which trade of a symbol is its newest."""

    symbol: str
    trade_id: int


class Heard(NamedTuple):
    """A message that is no market data of ours: an answer, a heartbeat, a channel nobody asked for."""

    kind: str


class Refusal(NamedTuple):
    """The vendor will not give what was asked for. `for_good`: asking again changes nothing.
    `key`: it is the key that is not taken."""

    message: str
    for_good: bool
    key: bool = False


class Unusable(NamedTuple):
    """A message, or one element of it (`value`), that cannot be used: to the dead letters."""

    reason: str  # a key of model.market.REASONS
    detail: str
    value: bytes | None = None  # None: the whole message


Parsed = Trade | Print | Correction | Cancel | Bar | Interruption | Quote | LastTrade | Heard | Refusal | Unusable
