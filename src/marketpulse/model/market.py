"""What flows in `market`: everything that the engine hears, as columns in log order.

Two shapes of the same rows:

- `MarketBatch`, numpy columns with interned strings: what the decoder hands to the engine.
- Arrow schemas by contract name (`TRADE`, `QUOTE`, `BAR_IN`, `EVENT`): what sources hand to the
  log and the log hands to the stores.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from marketpulse.model.quality import RULES


class Kind(IntEnum):
    """The record's `type`. Up to CLOCK they are hot: decoded into columns; the rest are rare."""

    TRADE = 0
    QUOTE = 1
    BAR = 2
    HEARTBEAT = 3
    CLOCK = 4
    CORRECTION = 5
    CANCEL = 6
    SPLIT = 7
    DIVIDEND = 8
    GAP = 9
    HALT = 10
    RESUME = 11
    HELLO = 12
    GOODBYE = 13
    REBUILD = 14
    CONTROL = 15
    QUALITY = 16
    SWITCH = 17
    NEWS = 18
    LATE = 19


KIND_OF_TYPE = {kind.name.lower(): kind for kind in Kind}
OF_ENGINE = frozenset({Kind.REBUILD, Kind.QUALITY, Kind.SWITCH, Kind.LATE})
"""What the pipeline itself writes into `market`; all else is of its sources."""
WITHOUT_SYMBOL = frozenset({Kind.HEARTBEAT, Kind.CLOCK, Kind.HELLO, Kind.GOODBYE, Kind.CONTROL})

ABSENT = -1  # an interned string, a count or a time that the record does not carry
NOT_ASKED = -(2**63)
LOADED = -(2**62)
LOAD_BITS = 40
"""The engine's offset of row r of the n-th load is LOADED + n · 2**LOAD_BITS + r: before every record of the log."""
ROW_BITS_MASK = (1 << LOAD_BITS) - 1
"""What an offset of a loaded row has of this is the row's number in its load."""

NO_APPEND_TIME = -(2**62)  # there is no broker behind these rows

COMPLETE = 2**63 - 1  # a goodbye's final watermark: nothing more will come, close what is open

# Times outside 1970-01-02 .. 2200-01-01 cannot be: they are seconds or milliseconds given as
# nanoseconds, or a broken clock.
EARLIEST_TIME_NS = 86_400 * 10**9
LATEST_TIME_NS = 7_258_118_400 * 10**9

PRICE_MAX = 1e18  # above these, numbers are faults, and exact sums need not hold them
SIZE_MAX = 1e18

SYMBOL_BYTES_MAX = 64
RECORD_BYTES_MAX = 1_000_000  # a JSON object larger than this is not market data

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Ids = NDArray[np.int32]
Bytes = NDArray[np.uint8]


class StringTable:
    """Interned strings: a dense id for each symbol, source, venue and timeframe name met so far.

    It only grows, so an id means the same string for the life of its owner.
    """

    __slots__ = ("_bytes", "_ends", "_ids", "_texts")

    def __init__(self, texts: list[str] | None = None) -> None:
        self._texts: list[str] = list(texts or [])
        self._ids = {text: i for i, text in enumerate(self._texts)}
        self._bytes: Bytes = np.empty(0, np.uint8)
        self._ends: Ints = np.zeros(1, np.int64)

    def intern(self, text: str) -> int:
        found = self._ids.get(text)
        if found is None:
            found = self._ids[text] = len(self._texts)
            self._texts.append(text)
        return found

    def find(self, text: str) -> int:
        """The string's id, ABSENT when it has not been met."""
        return self._ids.get(text, ABSENT)

    def __getitem__(self, index: int) -> str:
        return self._texts[index]

    def __len__(self) -> int:
        return len(self._texts)

    def texts(self) -> list[str]:
        """All strings by id. The table's own list: read it, do not change it."""
        return self._texts

    def laid_out(self) -> tuple[Bytes, Ints]:
        """All strings by id as UTF-8, end to end, and where each ends, behind a 0: (n + 1,). Read only."""
        if len(self._ends) <= len(self._texts):
            new = [text.encode() for text in self._texts[len(self._ends) - 1 :]]
            ends = self._ends[-1] + np.cumsum([len(text) for text in new], dtype=np.int64)
            self._bytes = np.concatenate([self._bytes, np.frombuffer(b"".join(new), np.uint8)])
            self._ends = np.concatenate([self._ends, ends])
        return self._bytes, self._ends


@dataclass(slots=True)
class MarketBatch:
    """Rows of one partition of `market` in the order of the log; n rows, every column (n,).

    A column holds a value only where the row's kind has that field; elsewhere its content is
    undefined. Optional fields that are missing hold ABSENT (ids, counts, times) or NaN (floats).
    The four value columns carry, by kind:

        kind    a      b          c     d          e       f
        TRADE   price  size
        QUOTE   bid    bid_size   ask   ask_size
        BAR     open   high       low   close      volume  vwap (both NaN when missing)
    """

    topic: str
    partition: int
    strings: StringTable
    kind: NDArray[np.int8]
    symbol: Ids
    source: Ids
    venue: Ids
    event_time_ns: Ints
    ingest_time_ns: Ints
    a: Floats
    b: Floats
    c: Floats
    d: Floats
    e: Floats
    f: Floats
    timeframe: Ids  # BAR: interned name
    open_time_ns: Ints  # BAR
    close_time_ns: Ints  # BAR
    trade_count: Ints  # BAR
    final: NDArray[np.int8]  # BAR: 0 while the source may still change it
    session_date: Ids  # BAR: days since 1970-01-01 when the source gave a date only
    trade_id_start: Ints  # TRADE: where in `data` its id lies
    trade_id_length: Ids  # TRADE: ABSENT without an id
    offset: Ints
    row: Ids  # 0 for a JSON record, the row's place in an Arrow frame
    log_time_ns: Ints  # the broker's append time of a HEARTBEAT or CLOCK; NOT_ASKED for other rows
    data: Bytes  # the bytes that spans point into
    rare: dict[int, dict[str, Any]] = field(default_factory=dict)
    """The whole decoded object of each row whose kind is above CLOCK, by row index; for trades with
    `conditions`, `{"conditions": [...]}`; for bars with columns of their source, `{"extra": {...}}`."""

    append_time_of: Callable[[int], int] = lambda _: NO_APPEND_TIME
    """The broker's append time (ns) of the record at an offset: asking costs, and few rows need it."""

    def __len__(self) -> int:
        return len(self.kind)

    @classmethod
    def empty(cls, topic: str, partition: int, strings: StringTable, n: int) -> "MarketBatch":
        """Columns for n rows, their content undefined but for the optional fields, which are missing.

        `data` is read-only as it is in all batches: kernels are compiled for one kind of it.
        """
        i64, i32, i8, f64 = np.int64, np.int32, np.int8, np.float64
        return cls(
            topic, partition, strings,
            kind=np.empty(n, i8), symbol=np.full(n, ABSENT, i32), source=np.full(n, ABSENT, i32),
            venue=np.full(n, ABSENT, i32), event_time_ns=np.empty(n, i64), ingest_time_ns=np.full(n, ABSENT, i64),
            a=np.empty(n, f64), b=np.empty(n, f64), c=np.empty(n, f64), d=np.empty(n, f64),
            e=np.full(n, np.nan, f64), f=np.full(n, np.nan, f64), timeframe=np.full(n, ABSENT, i32), open_time_ns=np.empty(n, i64),
            close_time_ns=np.empty(n, i64), trade_count=np.full(n, ABSENT, i64), final=np.ones(n, i8),
            session_date=np.full(n, ABSENT, i32), trade_id_start=np.zeros(n, i64),
            trade_id_length=np.full(n, ABSENT, i32), offset=np.empty(n, i64), row=np.zeros(n, i32),
            log_time_ns=np.full(n, NOT_ASKED, i64), data=np.frombuffer(b"", np.uint8),
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """One record, or one row of a frame, set aside whole with its reason and its place.

    `row` is ABSENT when the whole record is meant. `value` is the record's own bytes (for a frame's
    row: that row as JSON).
    """

    reason: str  # one of REASONS
    detail: str  # one sentence for a person
    topic: str
    partition: int
    offset: int
    row: int
    key: bytes | None
    value: bytes | None
    symbol: str | None = None
    timeframes: tuple[str, ...] = ()  # too_late: which refused it


REASONS = {
    "not_json": "the value is not a JSON object",
    "not_avro": "the value is not Avro of its topic's schema",
    "unreadable_frame": "the Arrow frame cannot be read",
    "unreadable_batch": "the log's batch cannot be unpacked or parsed, and is stepped over",
    "unreadable_row": "the record holds no row of its topic",
    "too_large": "the record is larger than market data can be",
    "unknown_type": "the field `type` is missing or unknown",
    "bad_answer": "a vendor's answer is not what it should be, or says that the question is wrong",
    "missing_field": "a required field is missing",
    "empty_row": "the row has a time, and no price at all",
    "wrong_type": "a field has the wrong type",
    "bad_symbol": "the symbol is empty, too long or not printable",
    "bad_price": "a price is not above 0 and finite, or above 1e18",
    "bad_size": "a size or volume is negative, not finite, or above 1e18",
    "bad_time": "a time cannot be",
    "bad_bar": "high and low, or the bar's times, contradict each other",
    "unknown_timeframe": "the engine does not build this timeframe",
    "other_origin": "the symbol's bars are built from trades and this is a bar, or the other way round: see engine.bars_from",
    "future_time": "the event time is ahead of the log by more than max_skew",
    "past_time": "the event time of a live source is behind the log by more than max_age",
    "too_late": "the bar has closed and the correction window is past it",
    "unknown_trade": "no trade with this id is in the correction window",
    "bad_control": "the change that the control record states cannot be made",
    "bad_rebuild": "the rebuild record is not whole, or nothing can be built from it",
    "stale_rebuild": "the rebuild's history ends before it began, or comes long after: heal again",
    "too_many_symbols": "the engine's cap on symbols is reached: raise engine.symbols_max, or look who writes them",
    "too_many_sources": "more than 64 sources have fed this partition: let feeds share a source name",
    "too_many_venues": "more than 4,096 venues have fed this partition: look who writes them",
    "too_many_splits": "32 splits of this symbol are known, and more cannot be: look who writes them",
    **RULES,
}

CAPS = frozenset({"too_many_symbols", "too_many_sources", "too_many_venues", "too_many_splits"})
"""Reasons that a person should hear of: something writes more than this pipeline was set up for."""

_str, _i64, _f64 = pa.string(), pa.int64(), pa.float64()

TRADE = pa.schema([
    ("type", _str), ("symbol", _str), ("source", _str), ("event_time_ns", _i64), ("venue", _str), ("price", _f64),
    ("size", _f64), ("trade_id", _str), ("conditions", pa.list_(_str)), ("ingest_time_ns", _i64),
])  # fmt: skip
QUOTE = pa.schema([
    ("type", _str), ("symbol", _str), ("source", _str), ("event_time_ns", _i64), ("venue", _str), ("bid", _f64),
    ("bid_size", _f64), ("ask", _f64), ("ask_size", _f64), ("ingest_time_ns", _i64),
])  # fmt: skip
BAR_IN = pa.schema([
    ("type", _str), ("symbol", _str), ("source", _str), ("event_time_ns", _i64), ("venue", _str), ("timeframe", _str),
    ("open_time_ns", _i64), ("close_time_ns", _i64), ("open", _f64), ("high", _f64), ("low", _f64), ("close", _f64),
    ("volume", _f64), ("vwap", _f64), ("trade_count", _i64), ("final", pa.bool_()), ("session_date", pa.date32()),
    ("ingest_time_ns", _i64),
])  # fmt: skip
EVENT = pa.schema([("type", _str), ("symbol", _str), ("source", _str), ("event_time_ns", _i64), ("body", _str)])
"""Everything rare. `body` is the whole record as JSON text."""

SCHEMA_OF_TYPE = {"trade": TRADE, "quote": QUOTE, "bar": BAR_IN}
