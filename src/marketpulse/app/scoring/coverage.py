"""Coverage against the calendar: in which of the minutes that its venue was open a symbol had rows.

Of a symbol: from its first row, at most `hours` back, up to the last whole minute. A minute counts when its calendar is open
at its beginning, and is covered when a trade or quote lies in it, or a bar over it. Of a source: all its symbols' minutes.
"""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from marketpulse.app.scoring.series import MINUTE_NS, SeriesTable
from marketpulse.model.market import Ints
from marketpulse.model.session import SessionTable

Mask = NDArray[np.bool_]
SessionsOf = Callable[[str], SessionTable | None]

WITH_ROWS, WITHOUT_ROWS, CLOSED = "1", "0", "."
"""A minute of a strip. `CLOSED` is also what lies before the first row."""


def covered_minutes(series: SeriesTable, places: Ints, first: int, end: int) -> Mask:
    """(k, end - first) whether each of these series had rows in each of the minutes [first, end)."""
    minutes = np.arange(first, end)
    head = series.head[places][:, None]
    found: Mask = series.covered[places[:, None], minutes % series.minutes]
    return found & (minutes <= head) & (minutes > head - series.minutes)


def open_minutes(table: SessionTable | None, first: int, end: int) -> Mask:
    """(end - first,) whether a calendar is open at the beginning of each minute; without one it always is."""
    if table is None or table.around_the_clock:
        return np.ones(end - first, np.bool_)
    at_ns = np.arange(first, end) * MINUTE_NS
    session = np.searchsorted(table.open_ns, at_ns, side="right") - 1
    opened: Mask = (session >= 0) & (at_ns < table.close_ns[session])
    return opened


def counted_minutes(
    series: SeriesTable, places: Ints, calendars: Sequence[str], sessions_of: SessionsOf, first: int, end: int
) -> Mask:
    """(k, end - first) the minutes that count: open by the series' calendar (k names), and not before its first row."""
    by_name = {name: open_minutes(sessions_of(name), first, end) for name in set(calendars)}
    opened = np.array([by_name[name] for name in calendars], np.bool_).reshape(len(places), end - first)
    since: Mask = np.arange(first, end) >= series.first[places][:, None]
    return opened & since


def strip_text(covered: Mask, counted: Mask) -> str:
    """(m,) and (m,) -> a character for each minute."""
    marks = np.where(counted, np.where(covered, WITH_ROWS, WITHOUT_ROWS), CLOSED)
    return "".join(marks.tolist())


def share(covered: Mask, counted: Mask) -> float | None:
    """The covered part of what counts; None where nothing does."""
    total = int(counted.sum())
    return int((covered & counted).sum()) / total if total else None
