"""What the engine writes: Arrow schemas of bars, indicators, alerts, live rows and dead letters.

Every stored row carries a receipt: the span of the log that it was made from.
"""

from collections.abc import Sequence
from functools import lru_cache

import pyarrow as pa

ENGINE_VERSION = "7"

_str, _i32, _i64, _f64 = pa.string(), pa.int32(), pa.int64(), pa.float64()

RECEIPT = pa.struct([
    ("topic", _str), ("partition", _i32), ("first_offset", _i64), ("first_row", _i32), ("last_offset", _i64),
    ("last_row", _i32), ("late_count", _i64), ("engine_version", _str),
])  # fmt: skip
"""A span of the log, both ends included. It bounds the inputs; it does not list them."""

BAR = pa.schema([
    ("symbol", _str), ("timeframe", _str), ("open_time_ns", _i64), ("close_time_ns", _i64), ("open", _f64),
    ("high", _f64), ("low", _f64), ("close", _f64), ("volume", _f64), ("vwap", _f64), ("trade_count", _i64),
    ("revision", _i64), ("source", _str), ("venue", _str), ("session_date", pa.date32()), ("receipt", RECEIPT),
])  # fmt: skip

INDICATORS_HEAD = pa.schema([
    ("symbol", _str), ("timeframe", _str), ("open_time_ns", _i64), ("close_time_ns", _i64), ("close", _f64),
    ("revision", _i64),
])  # fmt: skip


def indicators_schema(names: Sequence[str]) -> pa.Schema:
    """Head, then one nullable float64 per indicator name, then the receipt."""
    return _indicators_schema(tuple(names))


@lru_cache(maxsize=16)  # it is asked for with each batch
def _indicators_schema(names: tuple[str, ...]) -> pa.Schema:
    schema = INDICATORS_HEAD
    for name in names:
        schema = schema.append(pa.field(name, _f64))
    return schema.append(pa.field("receipt", RECEIPT))


ALERT = pa.schema([
    ("symbol", _str), ("rule", _str), ("severity", _str), ("timeframe", _str), ("open_time_ns", _i64),
    ("event_time_ns", _i64), ("state", _str), ("was", _str), ("late", pa.bool_()), ("value", _f64),
    ("message", _str), ("revision", _i64), ("receipt", RECEIPT),
])  # fmt: skip
"""One change of an alert: `state` is raised, cleared or withdrawn. It happened on the bar that opens at
`open_time_ns`, when that closed (`event_time_ns`), and the receipt is that bar's. `was` is the state that
readers knew there before (null: none), `late` that a revision brought it. Of the same symbol, rule and event time the
highest revision is the truth, and a withdrawn one says that there is nothing."""


LIVE_HEAD = pa.schema([
    ("symbol", _str), ("timeframe", _str), ("open_time_ns", _i64), ("close_time_ns", _i64), ("open", _f64),
    ("high", _f64), ("low", _f64), ("close", _f64), ("volume", _f64), ("vwap", _f64), ("trade_count", _i64),
    ("source", _str), ("venue", _str), ("session_date", pa.date32()), ("event_time_ns", _i64),
    ("ingest_time_ns", _i64), ("bid", _f64), ("bid_size", _f64), ("ask", _f64), ("ask_size", _f64),
])  # fmt: skip
"""The forming bar and the symbol's newest quote (null: none in this session). `event_time_ns` is its newest
trade's, `ingest_time_ns` (0: unknown) that of the newest trade or quote."""


LIVE_NAME = {"vwap": "session_vwap"}
"""An indicator's name in a live row, where the forming bar has a column of its own by that name."""


def live_schema(names: list[str]) -> pa.Schema:
    """The forming bar, then one nullable float64 per indicator name (`vwap`: see LIVE_NAME)."""
    schema = LIVE_HEAD
    for name in names:
        schema = schema.append(pa.field(LIVE_NAME.get(name, name), _f64))
    return schema


DEAD_LETTER = pa.schema([
    ("reason", _str), ("detail", _str), ("topic", _str), ("partition", _i32), ("offset", _i64), ("row", _i32),
    ("symbol", _str), ("timeframes", pa.list_(_str)), ("key", _str), ("value", _str), ("value_base64", _str),
])  # fmt: skip
"""`row` is null when the whole record is meant. `value` holds the record as text; a record that is
not UTF-8 stands in `value_base64` instead."""
