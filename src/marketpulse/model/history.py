"""One symbol's past, as `rebuild` records carry it from a store back into the log (docs/semantics.md, 11).

{"type": "rebuild", "symbol": "AAA", "id": "…", "begins": true}
{"type": "rebuild", "symbol": "AAA", "id": "…", "part": 0, "parts": 2, "covers_offset": 811,
 "timeframes": ["1s", "1m"], "sources": ["feed"], "venues": ["XNYS"], "rules": ["high"],
 "trades": {"event_time_ns": [1767225610200000000], "price": [5.0], …}, "quotes": {…}, "revisions": {…}, "alerts": {…}}

Columns hold numbers only: names stand beside them, once, and are named by their place.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from marketpulse.model.market import EARLIEST_TIME_NS, LATEST_TIME_NS, PRICE_MAX, SIZE_MAX

ALWAYS, HEALED, REPLACED = 0, 1, 2
"""What a trade's row is for: it was known; it comes in now; or another row, which comes in now, takes its place."""

PAST_TRADE = np.dtype([
    ("event_time_ns", "i8"),
    ("price", "f8"),
    ("size", "f8"),
    ("source", "i4"),  # place in `sources`
    ("venue", "i4"),  # place in `venues`; -1: none
    ("offset", "i8"),
    ("row", "i4"),
    ("late", "u4"),  # a bit for each of `timeframes` whose bar had closed when the trade came or was changed
    ("side", "i1"),  # ALWAYS, HEALED or REPLACED
    ("cancelled", "i1"),
    ("changed_offset", "i8"),  # of the correction, cancel or rebuild that changed it last; -1: none
    ("changed_row", "i4"),
])  # fmt: skip
PAST_QUOTE = np.dtype([
    ("event_time_ns", "i8"), ("bid", "f8"), ("bid_size", "f8"), ("ask", "f8"), ("ask_size", "f8"), ("offset", "i8"),
    ("row", "i4"),
])  # fmt: skip
PAST_REVISION = np.dtype([("timeframe", "i4"), ("open_time_ns", "i8"), ("bar", "i8"), ("indicators", "i8")])
"""How often a bar and its indicator row were told again, where it was at all."""
PAST_ALERT = np.dtype([("rule", "i4"), ("event_time_ns", "i8"), ("open_time_ns", "i8"), ("revision", "i8")])
"""How often a rule's alert on a bar was told again, where it was at all."""

COLUMNS = {
    "trades": PAST_TRADE, "quotes": PAST_QUOTE, "late_quotes": PAST_QUOTE, "revisions": PAST_REVISION,
    "alerts": PAST_ALERT,
}  # fmt: skip
"""`quotes` were known; `late_quotes` come in now."""
NAMES = ("timeframes", "sources", "venues", "rules")
PARTS_MAX = 400
"""With what a record holds, some 2 M rows: the engine builds them within the seconds that a transaction has."""
_NAMES_MAX = 4_096


@dataclass(frozen=True, slots=True)
class History:
    """A symbol's trades up to the record `covers_offset` of its partition, and what was told of them. `tables` by the
    names of COLUMNS; what is not named there is empty. `names` by those of NAMES."""

    symbol: str
    covers_offset: int
    names: dict[str, tuple[str, ...]]
    tables: dict[str, np.ndarray]


@dataclass(frozen=True, slots=True)
class Part:
    """One record's part of a history: number `part` of `parts`, all with the same `id`."""

    id: str
    part: int
    parts: int
    history: History

    @property
    def is_last(self) -> bool:
        return self.part + 1 == self.parts

    def follows(self, before: "Part") -> bool:
        """Whether it goes on where the part `before` ended."""
        same = (self.id, self.parts) == (before.id, before.parts)
        mine, theirs = self.history, before.history
        same = same and (mine.covers_offset, mine.names) == (theirs.covers_offset, theirs.names)
        return same and self.part == before.part + 1

    def size_bytes(self) -> int:
        return sum(rows.nbytes for rows in self.history.tables.values())


def begins_rebuild(record: Mapping[str, Any]) -> bool:
    """Whether a `rebuild` record says that one begins; the others are its parts."""
    return record.get("begins") is True


def read_id(record: Mapping[str, Any]) -> str:
    """What all records of one rebuild share. Raises ValueError where there is none."""
    identity = record.get("id")
    if not isinstance(identity, str) or not identity:
        raise ValueError("id must be a text that all records of one rebuild share")
    return identity


def read_part(record: Mapping[str, Any]) -> Part:
    """A `rebuild` record that has a symbol. Raises ValueError, with one sentence, for one that is not whole."""
    number, parts = _whole(record, "part"), _whole(record, "parts")
    if not 0 <= number < parts <= PARTS_MAX:
        raise ValueError(f"part {number} of {parts}: at most {PARTS_MAX}, counted from 0")
    names = {name: _texts(record, name) for name in NAMES}
    tables = {name: _table(record, name, dtype) for name, dtype in COLUMNS.items()}
    _check_places(tables, names)
    _check_values(tables)
    return Part(
        read_id(record), number, parts, History(str(record["symbol"]), _whole(record, "covers_offset"), names, tables)
    )


def joined_parts(parts: Sequence[Part]) -> History:
    """What the parts of one rebuild say together."""
    first = parts[0].history
    tables = {name: np.concatenate([part.history.tables[name] for part in parts]) for name in COLUMNS}
    return History(first.symbol, first.covers_offset, first.names, tables)


def part_record(part: Part) -> dict[str, Any]:
    """The inverse of `read_part`."""
    history = part.history
    tables = {
        name: {column: rows[column].tolist() for column in rows.dtype.names or ()}
        for name, rows in history.tables.items()
        if len(rows)
    }
    return {
        "type": "rebuild", "symbol": history.symbol, "id": part.id, "part": part.part, "parts": part.parts,
        "covers_offset": history.covers_offset, **{n: list(t) for n, t in history.names.items()}, **tables,
    }  # fmt: skip


def _whole(record: Mapping[str, Any], name: str) -> int:
    value = record.get(name)
    if type(value) is not int or value < 0:
        raise ValueError(f"{name} must be a whole number, 0 or more, found {value!r:.60}")
    return value


def _texts(record: Mapping[str, Any], name: str) -> tuple[str, ...]:
    value = record.get(name, [])
    if not isinstance(value, list) or len(value) > _NAMES_MAX or not all(isinstance(text, str) for text in value):
        raise ValueError(f"{name} must be a list of texts")
    return tuple(value)


def _table(record: Mapping[str, Any], name: str, dtype: np.dtype[Any]) -> np.ndarray:
    columns = record.get(name, {})
    if not isinstance(columns, dict):
        raise ValueError(f"{name} must be an object of columns")
    if not columns:
        return np.empty(0, dtype)
    found: dict[str, np.ndarray] = {}
    for column in dtype.names or ():
        wanted = dtype[column]
        try:
            values = np.asarray(columns.get(column))
            fits = values.ndim == 1 and values.dtype.kind in ("iuf" if wanted.kind == "f" else "iu")
            narrow = values.astype(wanted) if fits or values.size == 0 else values
        except (ValueError, OverflowError):
            fits = False
        if (not fits and values.size) or (wanted.kind != "f" and not np.array_equal(narrow, values)):
            raise ValueError(
                f"{name}.{column} must be a list of {'numbers' if wanted.kind == 'f' else 'whole numbers'}"
            )
        found[column] = narrow
    lengths = {len(values) for values in found.values()}
    if len(lengths) != 1:
        raise ValueError(f"the columns of {name} must be of one length, found {sorted(lengths)}")
    rows = np.empty(lengths.pop(), dtype)
    for column, values in found.items():
        rows[column] = values
    return rows


def _check_places(tables: dict[str, np.ndarray], names: dict[str, tuple[str, ...]]) -> None:
    for table, column, of, least in (
        ("trades", "source", "sources", 0), ("trades", "venue", "venues", -1),
        ("revisions", "timeframe", "timeframes", 0), ("alerts", "rule", "rules", 0),
    ):  # fmt: skip
        places = tables[table][column]
        if len(places) and not least <= places.min() <= places.max() < len(names[of]):
            raise ValueError(f"{table}.{column} must name places in {of}")


def _check_values(tables: dict[str, np.ndarray]) -> None:
    for name, rows in tables.items():
        for column in rows.dtype.names or ():
            values = rows[column]
            if not len(values):
                continue
            if column.endswith("time_ns"):
                good = (values >= EARLIEST_TIME_NS) & (values <= LATEST_TIME_NS)
            elif column in ("price", "bid", "ask"):
                good = (values > 0) & (values <= PRICE_MAX)
            elif column.endswith("size"):
                good = (values >= 0) & (values <= SIZE_MAX)
            elif column == "offset":
                good = values != -1  # below stands what was loaded
            elif column in ("row", "bar", "indicators", "revision"):
                good = values >= 0
            elif column == "side":
                good = (values >= ALWAYS) & (values <= REPLACED)
            else:
                continue
            if not good.all():
                raise ValueError(f"{name}.{column} holds {values[~good][0]}, which cannot be")
