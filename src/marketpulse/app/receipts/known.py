"""What readers know of one row: all its revisions, as the lake stores them or else as the topic told them."""

from dataclasses import dataclass
from typing import Any, Literal

import pyarrow as pa

from marketpulse.app.receipts.compare import Table
from marketpulse.app.receipts.time_text import show_time
from marketpulse.app.receipts.trace import Ask
from marketpulse.errors import Fatal
from marketpulse.kafka.log_reader import LogReader
from marketpulse.kafka.partitioner import partitions_of
from marketpulse.query.stored_rows import ALWAYS, SHAPE, StoredRows, Wanted
from marketpulse.settings import Settings

_NAMED_MOST = 20


@dataclass(frozen=True, slots=True)
class Known:
    """The revisions of the bar, of its indicator row and of the rule's alert on it, oldest first, and where they
    were found."""

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
    wanted = Wanted(ask.open_ns, ask.open_ns + 1, frozenset({ask.symbol}))
    found: dict[Table, list[dict[str, Any]]] = {
        table: _mine(_listed(stored, table, wanted), ask) for table in _OF_EVERY_BAR
    }
    if bars := found["bars"] or found["indicators"]:
        closes = bars[0]["close_time_ns"]
        wanted = Wanted(closes, closes + 1, frozenset({ask.symbol}))
        found["alerts"] = _of_rule(_mine(_listed(stored, "alerts", wanted), ask), ask)
        return Known(settings.lake_url(), found)
    if log is not None:
        found = {table: _mine(_on_topic(log, table, ask), ask) for table in (*_OF_EVERY_BAR, "alerts")}
        found["alerts"] = _of_rule(found["alerts"], ask)
        if any(found.values()):
            return Known(f"the topics {settings.topic('bars')} and {settings.topic('indicators')}", found)
    raise Fatal(_what_there_is(stored, ask))


_OF_EVERY_BAR: tuple[Literal["bars"], Literal["indicators"]] = ("bars", "indicators")


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


def _on_topic(log: LogReader, table: Table, ask: Ask) -> list[dict[str, Any]]:
    key = ask.symbol.encode()
    partitions = log.partitions(table)
    if not partitions:
        return []
    number = int(partitions_of([key], partitions)[0])
    return [
        row
        for batch in log.rows(table, number, key)
        for row in pa.table(batch.rows).to_pylist()
        if row["symbol"] == ask.symbol and row["open_time_ns"] == ask.open_ns
    ]


def _mine(rows: list[dict[str, Any]], ask: Ask) -> list[dict[str, Any]]:
    """Those of the timeframe, in order of revision; of bars cut by count that share the open time, the first."""
    own = sorted((r for r in rows if r["timeframe"] == ask.timeframe), key=_order)
    begins = (own[0]["receipt"]["first_offset"], own[0]["receipt"]["first_row"]) if own else None
    if ask.timeframe.endswith("t"):
        own = [r for r in own if (r["receipt"]["first_offset"], r["receipt"]["first_row"]) == begins]
    return own


def _order(row: dict[str, Any]) -> tuple[int, int, int]:
    first = row["receipt"]["first_offset"]
    return row["revision"], -1 if first is None else first, row["receipt"]["first_row"] or 0


def _what_there_is(stored: StoredRows, ask: Ask) -> str:
    """The sentence for a row that is not there."""
    rows = stored.table("bars", Wanted(*ALWAYS)).rows
    if not rows.num_rows:
        return (
            "nothing is stored yet, and no topic tells of this bar: start the pipeline with `marketpulse up`"
        )
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
