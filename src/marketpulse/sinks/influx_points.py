"""What of a table's rows stands where in its points: the key (tags and time), and the fields.

A point is known by measurement, tags and time: writing the same key again replaces it. So a key is what tells rows
of a table apart for good, and what a revision may change is a field.

- bars, indicators: symbol and timeframe, at the open time. alerts: symbol and rule, at the event time.
- trades, quotes: symbol, source and venue, at the event time. Of several quotes of one nanosecond the last one stays, for it is
  the book after them. Trades of one nanosecond are told apart by a tag more, `slot`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import polars as pl
import pyarrow as pa

TAGS: dict[str, tuple[str, ...]] = {
    "trades": ("symbol", "source", "venue", "slot"),
    "quotes": ("symbol", "source", "venue"),
    "bars": ("symbol", "timeframe"),
    "indicators": ("symbol", "timeframe"),
    "alerts": ("symbol", "rule"),
}
TIME = {
    "trades": "event_time_ns",
    "quotes": "event_time_ns",
    "bars": "open_time_ns",
    "indicators": "open_time_ns",
    "alerts": "event_time_ns",
}
WITHDRAWN = "withdrawn"
"""The field that says of a bar, an indicators row or an alert that a revision took it back."""


@dataclass(frozen=True, slots=True)
class Points:
    """Rows ready to be written: each key once, but for trades that could not be told apart (`shared`).

    `emptied` are the keys among them of which a revision took back values that an earlier one may have had: fields
    that are not written stay as they were, so these points are removed first where a server can.
    """

    table: str
    rows: pl.DataFrame
    emptied: pl.DataFrame
    shared: int = 0

    @property
    def tags(self) -> tuple[str, ...]:
        return TAGS[self.table]

    @property
    def time(self) -> str:
        return TIME[self.table]


def points(table: str, rows: pa.Table, trade_slots: int) -> Points:
    """The points of these rows, which stand in the order of the log."""
    columns = _flat(rows)
    key = [*TAGS[table], TIME[table]]
    if table == "trades":
        columns = columns.with_columns(_slots(columns, trade_slots))
        shared = columns.height - columns.select(key).n_unique()
        return Points(table, columns, columns.select(key).clear(), shared)
    columns = columns.unique(key, keep="last", maintain_order=True)
    if table == "quotes":
        return Points(table, columns, columns.select(key).clear())
    taken_back = pl.col("state") == "withdrawn" if table == "alerts" else pl.col("close").is_null()
    columns = columns.with_columns(taken_back.alias(WITHDRAWN))
    values = [name for name, kind in columns.schema.items() if kind.is_float()]
    emptied = pl.any_horizontal(pl.col(WITHDRAWN), *(pl.col(name).is_null() for name in values))
    return Points(table, columns, columns.filter((pl.col("revision") > 0) & emptied).select(key))


def keys(emptied: pl.DataFrame) -> Sequence[tuple[Mapping[str, str], int]]:
    """Tags and time of each key."""
    return [
        ({name: value for name, value in zip(emptied.columns[:-1], key[:-1], strict=True) if value}, key[-1])
        for key in emptied.rows()
    ]


def _flat(rows: pa.Table) -> pl.DataFrame:
    """Columns of plain kinds: a receipt becomes `receipt_…`, a list or a date text. What is the same in all rows is left out."""
    columns = pl.DataFrame(pl.from_arrow(rows))
    columns = columns.drop("type", strict=False)
    changed = []
    for name, kind in columns.schema.items():
        if kind == pl.Struct:
            parts = columns[name].struct.unnest()
            changed += [parts[part].alias(f"{name}_{part}") for part in parts.columns]
        elif kind == pl.List:
            changed.append(columns[name].list.join(",").alias(name))
        elif kind == pl.Date:
            changed.append(columns[name].cast(pl.String).alias(name))
    structs = [name for name, kind in columns.schema.items() if kind == pl.Struct]
    return columns.with_columns(changed).drop(structs)


def _slots(rows: pl.DataFrame, trade_slots: int) -> pl.Series:
    """A tag with few values that tells apart trades of one symbol, source, venue and nanosecond.

    It follows from the row's own place in the log, so it is the same however the stream is cut: the record's offset,
    modulo the number of slots; and of trades that share one record (rows of a frame, which always come together) the
    second and later ones count on from there. Trades whose offsets are a multiple of it apart are not told apart.
    """
    slot = pl.col("offset") % trade_slots
    if rows["row"].max():
        same = ["symbol", "source", "venue", "event_time_ns", "topic", "partition", "offset"]
        slot = slot + trade_slots * (pl.int_range(pl.len()).over(same))
    return rows.select(slot.cast(pl.String).alias("slot"))["slot"]
