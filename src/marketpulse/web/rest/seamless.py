"""A stretch of one series out of two places, without a seam: what is stored, and what the board has of it already.

The board is ahead of the store by what is not flushed yet, the store goes further back. Where both have a bar, the
higher revision is the truth; a bar that the board knows to be withdrawn is gone.
"""

import dataclasses
import math
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from marketpulse.ports import BarSpan
from marketpulse.web.board import Board
from marketpulse.web.rest.stored import Stored
from marketpulse.web.series import BAR_COLUMNS, REVISION, Held

_OF_BAR = len(BAR_COLUMNS)
Rows = dict[float, list[float]]  # by open time in ms


@dataclass(frozen=True, slots=True)
class Stretch:
    """Rows as `columns` names them, oldest first; `older`: there are others before them. `session` is the symbol's
    session so far, None where the board does not know the series. `missing`: bars between these two open times
    are known nowhere, since the board had to forget them before they were stored (the first None: from the beginning)."""

    columns: list[str]
    rows: list[list[float]]
    older: bool
    session: dict[str, Any] | None
    missing: tuple[float | None, float] | None = None


async def stretch(board: Board, stored: Stored | None, span: BarSpan) -> Stretch | None:
    """The newest `span.limit` bars of the span; None when no bar of this series is known anywhere.

    Raises what Stored.ask does.
    """
    with board.lock:
        held, columns = board.held(span.symbol, span.timeframe), board.columns()
    had, session = held or (Held(), None)
    live = _within(had.rows, span)
    if stored is None:
        return None if held is None else _newest(Stretch(columns, [], False, session), live, span.limit)
    wider = dataclasses.replace(span, limit=span.limit + 1 + len(had.gone))
    table = await stored.ask(lambda history: history.bars(wider))
    if held is None and table.num_rows == 0:
        anything = BarSpan(span.symbol, span.timeframe, limit=1)
        if (await stored.ask(lambda history: history.bars(anything))).num_rows == 0:
            return None
    if columns == list(BAR_COLUMNS):  # the log has told of no indicator yet
        columns = [*BAR_COLUMNS, *table.column_names[_OF_BAR:]]
        missing = [math.nan] * (len(columns) - _OF_BAR)
        live = {time: [*row[:_OF_BAR], *missing] for time, row in live.items()}
    known = _rows(table, columns)
    empty = Stretch(columns, [], False, session, _missing(span, known, live, had.forgotten_ms))
    if table.num_rows == wider.limit:  # what is stored goes on: older rows of the board may have others between them
        oldest = min(known)
        live = {time: row for time, row in live.items() if time >= oldest}
    return _newest(empty, _merged(known, live, had.gone), span.limit)


def _newest(empty: Stretch, rows: Rows, limit: int) -> Stretch:
    times = sorted(rows)[-limit:]
    missing = empty.missing if times and empty.missing and empty.missing[1] >= times[0] else None
    page = [rows[time] for time in times]
    return dataclasses.replace(empty, rows=page, older=len(rows) > limit, missing=missing)


def _missing(span: BarSpan, known: Rows, live: Rows, forgotten_ms: float | None) -> tuple[float | None, float] | None:
    """Between what is stored and what is live, when the store has not come to what the board has forgotten."""
    last = max(known, default=None)
    if forgotten_ms is None or not live or (last is not None and last >= forgotten_ms):
        return None
    first = min(live)
    begins = -math.inf if span.from_ms is None else span.from_ms
    return (last, first) if begins <= forgotten_ms < first else None


def _within(rows: Rows, span: BarSpan) -> Rows:
    first = -math.inf if span.from_ms is None else span.from_ms
    end = math.inf if span.before_ms is None else span.before_ms
    return {time: row for time, row in rows.items() if first <= time < end}


def _merged(known: Rows, live: Rows, gone: dict[float, float]) -> Rows:
    merged = {time: row for time, row in known.items() if gone.get(time, -math.inf) < row[REVISION]}
    for time, row in live.items():
        stored = merged.get(time)
        if stored is None or row[REVISION] > stored[REVISION]:
            merged[time] = row
        elif row[REVISION] == stored[REVISION]:  # its values may not have come from the log yet
            values = [s if math.isnan(v) else v for v, s in zip(row[_OF_BAR:], stored[_OF_BAR:], strict=True)]
            merged[time] = [*row[:_OF_BAR], *values]
    return merged


def _rows(table: pa.Table, columns: list[str]) -> Rows:
    """Rows of the store as the board would show them."""
    count = table.num_rows
    if count == 0:
        return {}
    found: list[list[float]] = []
    for name in columns:
        if name.endswith("_time_ms"):
            found.append([time / 1e6 for time in table[name.replace("_ms", "_ns")].to_pylist()])
        elif name in table.column_names:
            values = table[name].to_pylist()
            found.append([math.nan if value is None else float(value) for value in values])
        else:
            found.append([math.nan] * count)
    return {row[0]: list(row) for row in zip(*found, strict=True)}
