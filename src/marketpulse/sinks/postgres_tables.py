"""Our tables in PostgreSQL: what each is keyed by, and how the contract's rows become its columns.

Beside every `…_ns` stands the same time as timestamptz (to the microsecond), and the receipt lies flat,
`receipt_first_offset` and so on: what tools for people can read.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import reduce

import pyarrow as pa
import pyarrow.compute as pc

from marketpulse.model.rows import RECEIPT
from marketpulse.model.tables import TABLES

TIMESTAMP = pa.timestamp("us", "UTC")
_TYPES = {
    pa.string(): "text", pa.int32(): "integer", pa.int64(): "bigint", pa.float64(): "double precision",
    pa.bool_(): "boolean", pa.date32(): "date", pa.list_(pa.string()): "text[]", TIMESTAMP: "timestamptz",
}  # fmt: skip
_NAME_BYTES_MAX = 63  # of a column in PostgreSQL; longer ones it cuts off
_ROWS_OF_A_RECORD = 2**20  # more than a record of the log can hold

_MARKET_KEY = ("symbol", "timestamp", "partition", "offset", "row", "topic")
_BAR_KEY = ("symbol", "timeframe", "open_time", "tick")
_BAR_TIMES = {"open_time": "open_time_ns", "close_time": "close_time_ns"}


@dataclass(frozen=True, slots=True)
class Table:
    """One table. `key` is its primary key; a key that begins with symbol and time also serves the queries."""

    name: str
    about: str
    key: tuple[str, ...]
    times: Mapping[str, str] = field(default_factory=dict)  # timestamptz column -> the …_ns that it shows
    time: str = "timestamp"  # what it is partitioned by, and grows old by
    partitioned: bool = False
    revised: bool = False  # rows come again: the highest revision of a key is the truth
    indexes: tuple[str, ...] = ()
    generated: tuple[str, ...] = ()  # columns that the server fills

    def columns(self) -> dict[str, pa.DataType]:
        """By name, in order; `indicators` has one more per indicator."""
        columns = dict.fromkeys(self.times, TIMESTAMP)
        for one in TABLES[self.name][1]:
            if one.name != "receipt":
                columns[one.name] = one.type
        if self.name in ("bars", "indicators"):
            columns["tick"] = pa.int64()
        if self.revised:
            columns |= {f"receipt_{one.name}": one.type for one in RECEIPT}
        return columns

    def definition(self) -> list[str]:
        """The columns and the key, as they stand in CREATE TABLE."""
        columns = [*self.generated]
        for name, kind in self.columns().items():
            # Symbols and the like are compared byte by byte: fast, and the same on every server.
            collate = ' COLLATE "C"' if name in self.key and kind == pa.string() else ""
            columns.append(f'"{name}" {_TYPES[kind]}{collate}{" NOT NULL" if name in self.key else ""}')
        return [*columns, f"PRIMARY KEY ({', '.join(quoted(self.key))})"]

    def arrange(self, rows: pa.Table) -> pa.Table:
        """The contract's rows as columns of this table, in the order of its key and of their revisions.

        Rows that come in the order of the key cost the server a third less than others.
        """
        columns = {name: _time(rows.column(ns)) for name, ns in self.times.items()}
        receipt = rows.column("receipt").combine_chunks() if "receipt" in rows.column_names else None
        for name in rows.column_names:
            if name != "receipt":
                columns[column_name(name)] = rows.column(name)
        if receipt is not None:
            parts = {one.name: _of(receipt, one.name) for one in RECEIPT}
            if self.name in ("bars", "indicators"):
                columns["tick"] = _tick(rows, parts)
            columns |= {f"receipt_{name}": values for name, values in parts.items()}
        arranged = pa.table(columns)
        order = [name for name in (*self.key, "revision") if name in columns]
        return arranged.sort_by([(name, "ascending") for name in order]) if order else arranged

    def newest(self, arranged: pa.Table) -> pa.Table:
        """Of the rows that share a key the one with the highest revision."""
        return arranged.filter(_is_last(arranged.select(self.key)))

    def withdrawn(self, rows: pa.Table) -> pa.ChunkedArray:
        """Which of the arranged rows say that there is nothing (any more)."""
        if self.name == "alerts":
            return pc.fill_null(pc.equal(rows.column("state"), "withdrawn"), False)
        return pc.is_null(rows.column("close"))


ALL = {
    table.name: table
    for table in (
        Table("trades", "one execution", _MARKET_KEY, {"timestamp": "event_time_ns"}, partitioned=True),
        Table("quotes", "best bid and ask", _MARKET_KEY, {"timestamp": "event_time_ns"}, partitioned=True),
        Table(
            "events", "everything else in the topic market but heartbeats and clocks",
            ("topic", "partition", "offset", "row"), {"timestamp": "event_time_ns"},
            indexes=('(type, "timestamp")',),
        ),
        Table(
            "bars", "one bar, as its last revision says", _BAR_KEY, _BAR_TIMES, "open_time",
            partitioned=True, revised=True, indexes=("USING brin (open_time)",),
        ),
        Table(
            "indicators", "one bar's values, as their last revision says", _BAR_KEY, _BAR_TIMES, "open_time",
            partitioned=True, revised=True, indexes=("USING brin (open_time)",),
        ),
        Table(
            "alerts", "one change of an alert, as its last revision says", ("symbol", "rule", "event_time_ns"),
            {"event_time": "event_time_ns", "open_time": "open_time_ns"}, "event_time",
            revised=True, indexes=("(event_time)",),
        ),
        Table(
            "dead_letters", "a record that was set aside", ("id",), time="stored_at", indexes=("(stored_at)",),
            generated=("id bigint GENERATED ALWAYS AS IDENTITY", "stored_at timestamptz NOT NULL DEFAULT now()"),
        ),
    )
}  # fmt: skip
"""Our tables by name: all of model.tables.TABLES."""


def column_name(name: str) -> str:
    """A column's name for an indicator's: the same, or a shorter one that is its own, where it is too long."""
    if len(name.encode()) <= _NAME_BYTES_MAX:
        return name
    return f"{name.encode()[:54].decode(errors='ignore')}_{hashlib.sha256(name.encode()).hexdigest()[:8]}"


def quoted(names: tuple[str, ...] | list[str]) -> list[str]:
    """The names as SQL writes them."""
    return ['"' + name.replace('"', '""') + '"' for name in names]


def without_nul(rows: pa.Table) -> pa.Table:
    """Texts with the sign for NUL instead of the character, which PostgreSQL cannot keep."""
    for i, one in enumerate(rows.schema):
        if one.type == pa.string():
            rows = rows.set_column(i, one, pc.replace_substring(rows.column(i), "\0", "\u2400"))
        elif one.type == pa.list_(pa.string()):
            texts = [t and [s and s.replace("\0", "\u2400") for s in t] for t in rows.column(i).to_pylist()]
            rows = rows.set_column(i, one, pa.array(texts, one.type))
    return rows


def _time(ns: pa.ChunkedArray) -> pa.ChunkedArray:
    return pc.divide(ns, 1_000).cast(TIMESTAMP)  # no time is before 1970


def _tick(rows: pa.Table, receipt: Mapping[str, pa.Array]) -> pa.Array:
    """What tells bars apart that share symbol, timeframe and open_time.

    Of bars by a number of trades the place of the last of them; of others the nanoseconds that open_time has not.
    """
    ns = rows.column("open_time_ns")
    below = pc.subtract(ns, pc.multiply(pc.divide(ns, 1_000), 1_000))
    offset, row = (pc.fill_null(receipt[name], 0) for name in ("last_offset", "last_row"))
    place = pc.add(pc.multiply(offset, _ROWS_OF_A_RECORD), row.cast(pa.int64()))
    by_trades = pc.fill_null(pc.ends_with(rows.column("timeframe"), "t"), False)
    return pc.if_else(by_trades, place, below)


def _of(receipt: pa.ChunkedArray | pa.StructArray, name: str) -> pa.Array:
    return pc.struct_field(receipt, name)


def _is_last(keys: pa.Table) -> pa.Array:
    """(n,): whether the next row has another key. The rows lie in the order of their keys."""
    rows = keys.num_rows
    if rows < 2:
        return pa.array([True] * rows, pa.bool_())
    differs = [pc.not_equal(column.slice(1), column.slice(0, rows - 1)) for column in keys.columns]
    other: pa.ChunkedArray = reduce(pc.or_, differs)
    return pa.chunked_array([*other.chunks, pa.array([True])])
