"""Recomputed rows held against stored ones, row for row and bit for bit.

    (recomputed, stored) -> which belong together, which columns differ, what only one side has

A row is known by symbol, timeframe, open time and revision, an alert by its rule as well; rows of bars cut by
count, which may share these, also by their receipt's span. (Both its ends: one may be the same quote's.)
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from marketpulse.model.tables import TABLES
from marketpulse.model.timeframe import is_by_count
from marketpulse.query.stored_rows import SHAPE

Table = Literal["bars", "indicators", "alerts"]
Ints = NDArray[np.int64]
Mask = NDArray[np.bool_]

PLACES: dict[Table, tuple[str, ...]] = {
    "bars": ("symbol", "timeframe", "open_time_ns"),
    "indicators": ("symbol", "timeframe", "open_time_ns"),
    "alerts": ("symbol", "timeframe", "rule", "open_time_ns"),
}
"""What all revisions of a row have in common. A rule tells of a bar at most once, but for revisions; whether it
raised or cleared may itself be revised, so the state is no part of it."""
SPAN = ("receipt.first_offset", "receipt.first_row", "receipt.last_offset", "receipt.last_row")


@dataclass(frozen=True, slots=True)
class Difference:
    """One stored row that is not what the log gives. `column` is empty when only one side has the row, `rule`
    where it is no alert."""

    table: Table
    symbol: str
    timeframe: str
    open_time_ns: int
    revision: int
    column: str
    stored: Any
    recomputed: Any
    rule: str = ""


@dataclass(frozen=True, slots=True)
class Comparison:
    """`same` counts rows with the same bits. The n differing rows stand with all their differing columns in
    `differences`; `only_*` are places of rows that the other side does not have."""

    same: int
    differing: int
    differences: list[Difference]
    matched: Ints  # places of recomputed rows that a stored one belongs to
    only_recomputed: Ints
    only_stored: Ints


def key_of(table: Table) -> tuple[str, ...]:
    """The columns that tell one row of the table from all others."""
    return (*PLACES[table], "revision")


def flat(rows: pa.Table) -> pa.Table:
    """The rows with the fields of the receipt as columns, `receipt.topic` …"""
    return rows.flatten() if "receipt" in rows.column_names else rows


def compare(
    table: Table,
    recomputed: pa.Table,
    stored: pa.Table,
    shapes: Sequence[tuple[str, ...]] = (),
    ignoring: frozenset[str] = frozenset(),
) -> Comparison:
    """Compare flat rows. Columns that a stored row's file does not have, and those `ignoring` names, are passed over."""
    mine, theirs = match(table, recomputed, stored)
    left, right = recomputed.take(pa.array(mine)), stored.take(pa.array(theirs))
    passed_over = {*ignoring, *key_of(table)}
    names = [n for n in left.column_names if n in right.column_names and n not in passed_over]
    shape = right.column(SHAPE).to_numpy() if SHAPE in right.column_names else None
    differs = np.zeros(len(mine), np.bool_)
    by_column: list[tuple[str, Mask]] = []
    for name in names:
        mask = differing(left.column(name), right.column(name))
        if shape is not None and name not in TABLES[table][1].names and not name.startswith("receipt."):
            lacking = [i for i, columns in enumerate(shapes) if name not in columns]
            mask &= ~np.isin(shape, lacking)
        if mask.any():
            by_column.append((name, mask))
            differs |= mask
    found = [
        _difference(table, left, right, int(place), name)
        for place in np.flatnonzero(differs)
        for name, mask in by_column
        if mask[place]
    ]
    count = int(np.count_nonzero(differs))
    return Comparison(
        same=len(mine) - count,
        differing=count,
        differences=found,
        matched=np.sort(mine),
        only_recomputed=np.setdiff1d(np.arange(recomputed.num_rows), mine),
        only_stored=np.setdiff1d(np.arange(stored.num_rows), theirs),
    )


def match(table: Table, recomputed: pa.Table, stored: pa.Table) -> tuple[Ints, Ints]:
    """Places of the rows that both have."""
    if not recomputed.num_rows or not stored.num_rows:
        return np.empty(0, np.int64), np.empty(0, np.int64)
    split = recomputed.num_rows
    keys = _keys(table, (recomputed, stored))
    side = np.arange(len(keys[0])) >= split
    # The n-th row of a key on one side belongs to the n-th on the other: there is one, unless a row is there twice.
    order = np.lexsort((side, *reversed(keys)))
    number = _number_in_run([key[order] for key in (*keys, side)])
    again = np.lexsort((side[order], number, *(key[order] for key in reversed(keys))))
    order, number = order[again], number[again]
    twins = number[1:] == number[:-1]
    for key in keys:
        twins &= key[order][1:] == key[order][:-1]
    first = np.flatnonzero(twins)
    return order[first].astype(np.int64), order[first + 1].astype(np.int64) - split


def _keys(table: Table, sides: tuple[pa.Table, pa.Table]) -> list[NDArray[Any]]:
    """What a row of both sides is known by, as columns of numbers, one side behind the other."""
    keys: list[NDArray[Any]] = []
    by_count = np.zeros(sum(t.num_rows for t in sides), np.bool_)
    for name in key_of(table):
        both = pa.chunked_array([chunk for t in sides for chunk in t.column(name).chunks])
        if not pa.types.is_string(both.type):
            keys.append(both.to_numpy())
            continue
        text = pc.dictionary_encode(both.combine_chunks())
        keys.append(text.indices.to_numpy())
        if name == "timeframe":
            ends = [is_by_count(frame) for frame in text.dictionary.to_pylist()]
            by_count = np.array(ends, np.bool_)[keys[-1]]
    for name in SPAN:
        place = np.concatenate([pc.fill_null(t.column(name), -1).to_numpy() for t in sides])
        keys.append(np.where(by_count, place, 0))
    return keys


def _number_in_run(keys: Sequence[NDArray[Any]]) -> Ints:
    """How many equal rows stand before each, in sorted columns."""
    n = len(keys[0])
    begins = np.ones(n, np.bool_)
    begins[1:] = np.logical_or.reduce([key[1:] != key[:-1] for key in keys])
    starts = np.flatnonzero(begins)
    numbers: Ints = np.arange(n) - np.repeat(starts, np.diff(np.append(starts, n)))
    return numbers


def differing(left: pa.ChunkedArray, right: pa.ChunkedArray) -> Mask:
    """(n,) where the values do not have the same bits; two nulls are the same."""
    there = [np.asarray(pc.is_valid(side)) for side in (left, right)]
    if pa.types.is_floating(left.type):
        bits = [
            np.ascontiguousarray(pc.fill_null(side.cast(pa.float64()), 0.0).to_numpy()).view(np.int64)
            for side in (left, right)
        ]
        other = bits[0] != bits[1]
    else:
        unequal = pc.not_equal(left, right.cast(left.type))
        other = np.asarray(pc.fill_null(unequal, False))
    mask: Mask = (there[0] != there[1]) | (there[0] & there[1] & other)
    return mask


def only_one_side(table: Table, rows: pa.Table, places: Ints, *, stored: bool) -> list[Difference]:
    """Differences of rows that the other side does not have: `stored` or recomputed ones."""
    if not len(places):
        return []
    there, missing = ("there", None) if stored else (None, "there")
    chosen = rows.select(list(key_of(table))).take(pa.array(places)).to_pylist()
    return [Difference(table, **row, column="", stored=there, recomputed=missing) for row in chosen]


def _difference(table: Table, left: pa.Table, right: pa.Table, place: int, column: str) -> Difference:
    key = {name: left.column(name)[place].as_py() for name in key_of(table)}
    values = right.column(column)[place].as_py(), left.column(column)[place].as_py()
    return Difference(table, **key, column=column, stored=values[0], recomputed=values[1])
