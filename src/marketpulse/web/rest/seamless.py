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
from marketpulse.web.series import BAR_COLUMNS, REVISION

_OF_BAR = len(BAR_COLUMNS)
Rows = dict[float, list[float]]  # by open time in ms


@dataclass(frozen=True, slots=True)
class Stretch:
    """Rows as `columns` names them, oldest first; `older`: there are others before them. `session` is the symbol's
    session so far, None where the board does not know the series."""

    columns: list[str]
    rows: list[list[float]]
    older: bool
    session: dict[str, Any] | None


async def stretch(board: Board, stored: Stored | None, span: BarSpan) -> Stretch | None:
    """The newest `span.limit` bars of the span; None when no bar of this series is known anywhere.

    Raises what Stored.ask does.
    """
    with board.lock:
        held, columns = board.held(span.symbol, span.timeframe), board.columns()
    live: Rows
    live, gone, session = held or ({}, {}, None)
    if stored is None:
        if held is None:
            return None
        return _newest(columns, _within(live, span), span.limit, session)
    wider = dataclasses.replace(span, limit=span.limit + 1 + len(gone))
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
    live = _within(live, span)
    if (
        table.num_rows == wider.limit
    ):  # what is stored goes on: older rows of the board may have others between them
        oldest = min(known)
        live = {time: row for time, row in live.items() if time >= oldest}
    return _newest(columns, _merged(known, live, gone), span.limit, session)


def _newest(columns: list[str], rows: Rows, limit: int, session: dict[str, Any] | None) -> Stretch:
    times = sorted(rows)
    return Stretch(columns, [rows[time] for time in times[-limit:]], len(times) > limit, session)


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
