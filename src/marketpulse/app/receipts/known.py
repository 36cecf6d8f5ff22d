"""What readers know of one row: all its revisions, as the lake stores them or else as the topic told them."""

import itertools
from dataclasses import dataclass, replace
from typing import Any, Literal

import pyarrow as pa

from marketpulse.app.receipts.compare import Table
from marketpulse.app.receipts.sought import Place
from marketpulse.app.receipts.time_text import show_time
from marketpulse.app.receipts.trace import Ask
from marketpulse.errors import Fatal
from marketpulse.kafka.log_reader import LogReader
from marketpulse.kafka.partitioner import partitions_of
from marketpulse.model.timeframe import is_by_count
from marketpulse.query.history import TIE_STEP_NS
from marketpulse.query.stored_rows import ALWAYS, SHAPE, StoredRows, Wanted
from marketpulse.settings import Settings

_NAMED_MOST = 20
_SHOWN_AROUND_NS = 10_000_000  # how far a page may show a bar from where it opens: ties of 10,000 bars


@dataclass(frozen=True, slots=True)
class Known:
    """The revisions of the bar, of its indicator row and of the rule's alert on it, oldest first, and where they
    were found."""

    ask: Ask  # with the bar's own open time
    where: str
    rows: dict[Table, list[dict[str, Any]]]

    def begins_before_the_log(self) -> bool:
        """Whether the bar holds trades, and its receipt no record that was the first: that lies in loaded history."""
        bar = self.rows["bars"][-1] if self.rows["bars"] else None
        return bar is not None and bar["receipt"]["first_offset"] is None and bool(bar["trade_count"])

    def close_ns(self) -> int:
        """When the bar closes."""
        return int((self.rows["bars"] or self.rows["indicators"])[-1]["close_time_ns"])


def find_known(settings: Settings, stored: StoredRows, log: LogReader | None, ask: Ask) -> Known:
    """Raises Fatal when there is no such row, with what there is instead."""
    around = _SHOWN_AROUND_NS if ask.as_shown else 0
    wanted = Wanted(ask.open_ns - around, ask.open_ns + around + 1, frozenset({ask.symbol}))
    rows: dict[Table, list[dict[str, Any]]] = {table: _listed(stored, table, wanted) for table in _OF_EVERY_BAR}
    found, own = _of_bar(rows, ask)
    if bars := found["bars"] or found["indicators"]:
        closes = bars[0]["close_time_ns"]
        wanted = Wanted(closes, closes + 1, frozenset({ask.symbol}))
        found["alerts"] = _of_rule(_mine(_listed(stored, "alerts", wanted), own), own)
        return Known(own, settings.lake_url(), found)
    if log is not None:
        found, own = _of_bar({table: _on_topic(log, table, ask.symbol) for table in (*_OF_EVERY_BAR, "alerts")}, ask)
        found["alerts"] = _of_rule(found["alerts"], own)
        if any(found.values()):
            return Known(own, f"the topics {settings.topic('bars')} and {settings.topic('indicators')}", found)
    raise Fatal(_what_there_is(stored, ask))


_OF_EVERY_BAR: tuple[Literal["bars"], Literal["indicators"]] = ("bars", "indicators")


def _of_bar(rows: dict[Table, list[dict[str, Any]]], ask: Ask) -> tuple[dict[Table, list[dict[str, Any]]], Ask]:
    """The bar's rows, and the question with its own open time."""
    begins = None
    if ask.as_shown and (bar := _shown_bar(rows["bars"], ask)) is not None:
        ask, begins = replace(ask, open_ns=bar[0], as_shown=False), bar[1]
    return {table: _mine(some, ask, begins) for table, some in rows.items()}, ask


def _shown_bar(rows: list[dict[str, Any]], ask: Ask) -> tuple[int, Place] | None:
    """The open time and the first record of the bar that a page shows at this time: of bars that open at one time it
    shows each a microsecond after the one before."""
    bars = sorted({(r["open_time_ns"], _begin(r)) for r in rows if r["timeframe"] == ask.timeframe})
    same_time = itertools.groupby(bars, key=lambda bar: bar[0])
    shown = {open_ns + i * TIE_STEP_NS: bar for open_ns, some in same_time for i, bar in enumerate(some)}
    nearest = min(shown, key=lambda at: abs(at - ask.open_ns), default=None)
    return None if nearest is None or abs(nearest - ask.open_ns) >= TIE_STEP_NS else shown[nearest]


def _of_rule(rows: list[dict[str, Any]], ask: Ask) -> list[dict[str, Any]]:
    return [row for row in rows if row["rule"] == ask.rule and row["open_time_ns"] == ask.open_ns]


def _listed(stored: StoredRows, table: Table, wanted: Wanted) -> list[dict[str, Any]]:
    """The rows, each with the columns that its file has."""
    held = stored.table(table, wanted)
    rows: list[dict[str, Any]] = []
    every = {name for shape in held.shapes for name in shape}
    for row in held.rows.to_pylist():
        lacking = every - set(held.shapes[row.pop(SHAPE)])
        rows.append({name: value for name, value in row.items() if name not in lacking})
    return rows


def _on_topic(log: LogReader, table: Table, symbol: str) -> list[dict[str, Any]]:
    key = symbol.encode()
    partitions = log.partitions(table)
    if not partitions:
        return []
    number = int(partitions_of([key], partitions)[0])
    return [
        row
        for batch in log.rows(table, number, key)
        for row in pa.table(batch.rows).to_pylist()
        if row["symbol"] == symbol
    ]


def _mine(rows: list[dict[str, Any]], ask: Ask, begins: Place | None = None) -> list[dict[str, Any]]:
    """Those of the timeframe, in order of revision; of bars cut by count that share the open time, the one that begins
    there (None: the first)."""
    own = sorted(
        (r for r in rows if r["timeframe"] == ask.timeframe and r["open_time_ns"] == ask.open_ns),
        key=lambda row: (row["revision"], *_begin(row)),
    )
    if own and is_by_count(ask.timeframe):
        place = _begin(own[0]) if begins is None else begins
        own = [row for row in own if _begin(row) == place]
    return own


def _begin(row: dict[str, Any]) -> Place:
    first = row["receipt"]["first_offset"]
    return -1 if first is None else first, row["receipt"]["first_row"] or 0


def _what_there_is(stored: StoredRows, ask: Ask) -> str:
    """The sentence for a row that is not there."""
    rows = stored.table("bars", Wanted(*ALWAYS)).rows
    if not rows.num_rows:
        return "nothing is stored yet, and no topic tells of this bar: start the pipeline with `marketpulse up`"
    symbols = sorted(rows["symbol"].unique().to_pylist())
    if ask.symbol not in symbols:
        more = f" … ({len(symbols)} in all)" if len(symbols) > _NAMED_MOST else ""
        return f"there is no symbol {ask.symbol!r}: choose one of {', '.join(symbols[:_NAMED_MOST])}{more}"
    opens = sorted({
        at
        for symbol, frame, at in zip(*(rows[n].to_pylist() for n in ("symbol", "timeframe", "open_time_ns")), strict=True)
        if (symbol, frame) == (ask.symbol, ask.timeframe)
    })  # fmt: skip
    if not opens:
        return f"there is no bar of {ask.symbol} in {ask.timeframe}"
    nearest = sorted(sorted(opens, key=lambda at: abs(at - ask.open_ns))[:2])
    return (
        f"no {ask.timeframe} bar of {ask.symbol} opens at {show_time(ask.open_ns)}: the nearest open at "
        f"{' and '.join(show_time(at) for at in nearest)} (one that is still forming is not told yet)"
    )
