"""Raw rows + plan -> rows of our kinds, a column at a time; what cannot be a row is set aside.

Set aside here is what our columns could not hold or say: a missing field, a text that is no number
or time, a price that is not above 0. Whether a bar makes sense is the engine's question.
"""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import orjson
import polars as pl

from marketpulse.model.market import Floats, Ints
from marketpulse.model.timeframe import DAY_NS
from marketpulse.ports import RejectedInput
from marketpulse.settings import Mapping
from marketpulse.sources.local_clock import LocalClock
from marketpulse.sources.mapping import NEEDED, Plan
from marketpulse.sources.numbers import to_floats
from marketpulse.sources.raw import RawRows
from marketpulse.sources.split_columns import LastCloses
from marketpulse.sources.times import NAIVE, Mask, Times, parse_times

_NUMBER = re.compile(r"-?(0|[1-9]\d{0,14})(\.\d+)?([eE][+-]?\d{1,2})?")  # as JSON has it


@dataclass(frozen=True, slots=True)
class Rows:
    """n rows of one kind in the order in which they were read.

    `frame` holds the kind's own columns and `symbol`, `venue`, of bars also `has_clock` (whether the label has a time of
    day) and, where it is asked for, `extra` (the other columns as JSON); `time_ns` (n,) UTC, for a bar its label; `local_ns`
    (n,) the same on the wall of the place it was written for; `raw` (n,) the rows they come from.
    """

    frame: pl.DataFrame
    time_ns: Ints
    local_ns: Ints
    raw: Ints

    def __len__(self) -> int:
        return len(self.time_ns)

    def take(self, where: Ints | Mask) -> "Rows":
        indices = np.flatnonzero(where) if where.dtype == np.bool_ else where
        return Rows(self.frame[indices], self.time_ns[indices], self.local_ns[indices], self.raw[indices])


@dataclass(frozen=True, slots=True)
class Normalised:
    """What became of a block: rows by kind ("trade", "quote", "bar", "event") and what was set aside."""

    rows: dict[str, Rows]
    rejected: list[RejectedInput]


@dataclass(slots=True)
class Reader:
    """Understands the blocks of one origin, in order. It remembers what spans blocks: the local clock, the last closes."""

    plan: Plan
    mapping: Mapping
    fallback_symbol: str
    decimal_comma: bool = False
    day_first: bool | None = None
    zoned: bool = False  # whether a time that was read had a zone
    clock: LocalClock = field(init=False)
    closes: LastCloses = field(default_factory=LastCloses)
    _symbol_ids: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.clock = LocalClock(self.mapping.timezone)

    def inferred(self) -> tuple[Plan, bool, bool | None]:
        """What was told from some rows, and others may tell better."""
        return self.plan, self.decimal_comma, self.day_first

    def read(self, raw: RawRows) -> Normalised:
        """Split a block into kinds. A column that the plan knows may be missing from it (JSON)."""
        frame = raw.frame
        n = len(frame)
        faults = Faults(n)
        columns = _Columns(frame, self.plan, faults, self.decimal_comma)
        kind_of = self._kind_of_rows(columns, n, faults)
        symbols = self._symbols(columns, n, faults)
        times = self._times(columns, n)
        self.zoned |= bool((times.offset_ns != NAIVE)[times.valid].any())
        faults.add(~times.valid & _missing(columns.series("time"), n), "missing_field", lambda _: "time is missing")
        faults.add(~times.valid, "bad_time", lambda i: f"time {columns.text('time', i)!r} cannot be read")
        bars = self.plan.kinds[0] == "bar"
        utc, exists = self.clock.to_utc(times, self._groups(symbols), bars)
        faults.add(
            ~exists, "bad_time", lambda i: f"time {columns.text('time', i)!r} does not exist in {self.mapping.timezone}"
        )
        venue = columns.texts("venue", self.mapping.venue)
        base = pl.DataFrame({"symbol": symbols, "venue": venue})
        rows: dict[str, Rows] = {}
        for number, kind in enumerate(self.plan.kinds):
            own = kind_of == number
            fields = _BUILD[kind](columns, own)
            good = np.flatnonzero(own & ~faults.any)
            if good.size:
                if kind == "bar":
                    fields["has_clock"] = pl.Series(times.clock)
                    if self.mapping.extra_columns:
                        fields["extra"] = _extra(frame, self.plan)
                whole = base.hstack([s.alias(name) for name, s in fields.items()])
                rows[kind] = Rows(whole, utc, times.local_ns, np.arange(n)).take(good)
        if bars and "bar" in rows:
            told = self.mapping.split_adjusted
            adjusted = self.closes.adjusted(rows["bar"].frame, rows["bar"].time_ns) if told is None else told
            events = _events(rows["bar"], adjusted)
            if events is not None:
                rows["event"] = events
        return Normalised(rows, [*raw.broken, *faults.rejected(raw)])

    def _kind_of_rows(self, columns: "_Columns", n: int, faults: "Faults") -> Ints:
        """(n,) the index in `plan.kinds` of each row's kind: the first whose needed fields are all there."""
        kind_of = np.full(n, -1, np.int64)
        empty = np.full(n, self.plan.kinds == ("bar",))
        for number, kind in enumerate(self.plan.kinds):
            there = np.ones(n, np.bool_)
            for name in NEEDED[kind]:
                own = columns.floats(name)[1]
                there &= own
                empty &= ~own
            kind_of[(kind_of < 0) & there] = number
        needed = " or ".join(", ".join(NEEDED[kind]) for kind in self.plan.kinds)
        faults.add(empty, "empty_row", lambda _: f"none of {needed} is in it")
        faults.add((kind_of < 0) & ~empty, "missing_field", lambda _: f"a row needs {needed}")
        return kind_of

    def _symbols(self, columns: "_Columns", n: int, faults: "Faults") -> pl.Series:
        fallback = self.mapping.symbol if self.mapping.symbol is not None else self.fallback_symbol
        column = columns.series("symbol")
        if column is None:
            return pl.repeat(fallback, n, dtype=pl.String, eager=True)
        symbols = column.cast(pl.String, strict=False).str.strip_chars()
        missing = (symbols.is_null() | (symbols == "")).fill_null(True)
        if self.mapping.symbol is not None:
            return symbols.set(missing, self.mapping.symbol)
        faults.add(missing.to_numpy(), "missing_field", lambda _: "the symbol is missing")
        return symbols.fill_null("")

    def _groups(self, symbols: pl.Series) -> Ints:
        """(n,) a number per symbol that stays the same from block to block."""
        if self.mapping.timezone == "UTC":
            return np.zeros(len(symbols), np.int64)
        unique = symbols.unique()
        ids = {s: self._symbol_ids.setdefault(s, len(self._symbol_ids)) for s in unique.to_list()}
        return symbols.replace_strict(ids, return_dtype=pl.Int64).to_numpy()

    def _times(self, columns: "_Columns", n: int) -> Times:
        column = columns.series("time")
        if column is None:
            none = np.zeros(n, np.int64)
            return Times(none, none, np.zeros(n, np.bool_), np.zeros(n, np.bool_))
        if (date := columns.series("date")) is not None:
            column = date.cast(pl.String).str.strip_chars() + " " + _clock_text(column)
        return parse_times(column, self.mapping.time_format, self.day_first)


def _clock_text(column: pl.Series) -> pl.Series:
    texts = column.cast(pl.String).str.strip_chars()
    digits = texts.str.contains(r"^\d+$")
    padded = texts.str.pad_start(4, "0")
    padded = padded.str.pad_start(6, "0").zip_with(padded.str.len_chars() > 4, padded + "00")
    spelled = padded.str.replace(r"^(\d\d)(\d\d)(\d\d)$", "$1:$2:$3")
    return spelled.zip_with(digits, texts)


class Faults:
    """The first fault found with each row."""

    def __init__(self, n: int) -> None:
        self.any = np.zeros(n, np.bool_)
        self._found: list[tuple[Ints, str, Callable[[int], str]]] = []

    def add(self, rows: Mask, reason: str, detail: Callable[[int], str]) -> None:
        """`detail` is asked for the rows' sentences only."""
        fresh = np.flatnonzero(rows & ~self.any)
        if fresh.size:
            self.any[fresh] = True
            self._found.append((fresh, reason, detail))

    def rejected(self, raw: RawRows) -> list[RejectedInput]:
        faults = [(int(i), reason, detail) for rows, reason, detail in self._found for i in rows]
        return [raw.rejected(i, reason, detail(i)) for i, reason, detail in sorted(faults, key=lambda f: f[0])]


class _Columns:
    """A block's columns by our names. A fault with one is noted when it is read as numbers."""

    def __init__(self, frame: pl.DataFrame, plan: Plan, faults: Faults, decimal_comma: bool) -> None:
        self._frame = frame
        self._plan = plan
        self.faults = faults
        self._decimal_comma = decimal_comma
        self._floats: dict[str, tuple[Floats, Mask]] = {}

    def series(self, name: str) -> pl.Series | None:
        column = self._plan.columns.get(name)
        return self._frame[column] if column in self._frame.columns else None

    def text(self, name: str, index: int) -> str:
        column = self.series(name)
        return "" if column is None else str(column[index])[:100]

    def texts(self, name: str, otherwise: str | None = None) -> pl.Series:
        """A text column, `otherwise` where it is missing or blank."""
        column = self.series(name)
        if column is None:
            return pl.repeat(otherwise, len(self._frame), dtype=pl.String, eager=True)
        texts = column.cast(pl.String, strict=False).str.strip_chars()
        return texts.set((texts == "").fill_null(True), otherwise)

    def floats(self, name: str) -> tuple[Floats, Mask]:
        """(values, present); a value that is no number is a fault of its row."""
        if name not in self._floats:
            column = self.series(name)
            if column is None:
                n = len(self._frame)
                return np.full(n, np.nan), np.zeros(n, np.bool_)
            values, present, readable = to_floats(column, self._decimal_comma)
            self.faults.add(~readable, "wrong_type", lambda i: f"{name} {self.text(name, i)!r} is not a number")
            self._floats[name] = values, present
        return self._floats[name]

    def prices(self, name: str, own: Mask) -> pl.Series:
        values, _ = self.floats(name)
        wrong = own & ~((values > 0) & np.isfinite(values))
        self.faults.add(wrong, "bad_price", lambda i: f"{name} must be above 0 and finite, found {values[i]}")
        return pl.Series(values)

    def sizes(self, name: str, own: Mask, absent: float | None = 0.0) -> pl.Series:
        """Sizes and volumes; `absent` where the file says nothing."""
        values, present = self.floats(name)
        wrong = own & present & ~((values >= 0) & np.isfinite(values))
        self.faults.add(wrong, "bad_size", lambda i: f"{name} must be 0 or more and finite, found {values[i]}")
        return pl.Series(values).set(pl.Series(~present), absent)


def _missing(column: pl.Series | None, n: int) -> Mask:
    if column is None:
        return np.ones(n, np.bool_)
    blank = column.is_null()
    if column.dtype == pl.String:
        blank |= (column.str.strip_chars() == "").fill_null(True)
    return blank.to_numpy()


def _trade(columns: _Columns, own: Mask) -> dict[str, pl.Series]:
    return {
        "price": columns.prices("price", own),
        "size": columns.sizes("size", own),
        "trade_id": columns.texts("trade_id"),
        "conditions": _conditions(columns.series("conditions"), len(own)),
    }


def _conditions(column: pl.Series | None, n: int) -> pl.Series:
    kind = pl.List(pl.String)
    if column is None:
        return pl.Series([None], dtype=kind).new_from_index(0, n)
    if isinstance(column.dtype, pl.List):
        return column.cast(kind)
    texts = column.cast(pl.String, strict=False)
    return texts.set((texts.str.strip_chars() == "").fill_null(True), None).str.split(",")


def _quote(columns: _Columns, own: Mask) -> dict[str, pl.Series]:
    prices = {name: columns.prices(name, own) for name in ("bid", "ask")}
    return prices | {name: columns.sizes(name, own) for name in ("bid_size", "ask_size")}


def _bar(columns: _Columns, own: Mask) -> dict[str, pl.Series]:
    fields = {name: columns.prices(name, own) for name in NEEDED["bar"]}
    fields["volume"] = columns.sizes("volume", own, absent=None)
    vwap, there = columns.floats("vwap")
    fields["vwap"] = pl.Series(np.where(there & (vwap > 0), vwap, np.nan)).fill_nan(None)
    count, there = columns.floats("trade_count")
    fields["trade_count"] = pl.Series(count).set(pl.Series(~there), None).cast(pl.Int64, strict=False)
    fields["timeframe"] = columns.texts("timeframe")
    close_time = columns.series("close_time")
    fields["close_time_ns"] = (
        pl.repeat(None, len(own), dtype=pl.Int64, eager=True)
        if close_time is None
        else close_time.cast(pl.Int64, strict=False)
    )
    for name, usual in (("dividend", 0.0), ("split", 1.0)):
        values, there = columns.floats(name)
        # A split of 0 is how some files say that there was none.
        unusual = there & (values > 0) & (values != usual) & np.isfinite(values)
        fields[name] = pl.Series(np.where(unusual, values, np.nan)).fill_nan(None)
    return fields


_BUILD = {"trade": _trade, "quote": _quote, "bar": _bar}


def _extra(frame: pl.DataFrame, plan: Plan) -> pl.Series:
    """(n,) the columns that mean nothing to us, as a JSON object; null where a row has none of them. Texts that are numbers are
    numbers."""
    others = frame.drop(set(plan.columns.values()), strict=False)
    rows = ({k: _number(v) for k, v in row.items() if v not in (None, "")} for row in others.iter_rows(named=True))
    texts = [orjson.dumps(row, default=str).decode() if row else None for row in rows]
    return pl.Series(texts or [None] * len(frame), dtype=pl.String)


def _number(value: object) -> object:
    return orjson.loads(value) if isinstance(value, str) and _NUMBER.fullmatch(value) else value


def _events(bars: Rows, adjusted: Mask | bool) -> Rows | None:
    """Dividends and splits that stand in the bars' rows: an event at the beginning of that day or bar. `adjusted` (n,): the
    prices are, for the row's split."""
    found = []
    adjusted = np.broadcast_to(adjusted, len(bars))
    for kind, name in (("dividend", "amount"), ("split", "ratio")):
        index = bars.frame[kind].is_not_null().arg_true().to_numpy()
        some = bars.take(index)
        # An ex date is a date: midnight UTC of it, whatever the zone of the file.
        dated = some.local_ns % DAY_NS == 0
        ex_time = np.where(dated, some.local_ns, some.time_ns)
        is_adjusted = adjusted[index] if kind == "split" else np.zeros(len(index), np.bool_)
        body = [
            json.dumps({name: value, "ex_time_ns": at, **({"adjusted": True} if already else {})})
            for value, at, already in zip(
                some.frame[kind].to_list(), ex_time.tolist(), is_adjusted.tolist(), strict=True
            )
        ]
        frame = pl.DataFrame(
            {
                "type": pl.Series([kind] * len(body), dtype=pl.String),
                "symbol": some.frame["symbol"],
                "body": pl.Series(body, dtype=pl.String),
            }
        )
        found.append(Rows(frame, ex_time, some.local_ns, some.raw))
    whole = Rows(
        pl.concat([rows.frame for rows in found]),
        *(np.concatenate([getattr(rows, name) for rows in found]) for name in ("time_ns", "local_ns", "raw")),
    )
    return whole if len(whole) else None
