"""Where a time lies in its calendar's sessions, and in which bar of a timeframe."""

import numpy as np

from marketpulse.compiled import bare_kernel, inlined
from marketpulse.engine.layout import Plan, Sessions, Tables
from marketpulse.model.session import SessionTable
from marketpulse.model.timeframe import DAY_NS


def join_sessions(tables: list[SessionTable]) -> Sessions:
    """Calendars one after the other, as the kernels read them."""
    sizes = [table.open_ns.size for table in tables]
    if not tables:
        none = np.empty(0, np.int64)
        return Sessions(np.zeros(1, np.int64), none, none, np.empty(0, np.int32))
    return Sessions(
        np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64),
        np.concatenate([table.open_ns for table in tables]).astype(np.int64),
        np.concatenate([table.close_ns for table in tables]).astype(np.int64),
        np.concatenate([table.date for table in tables]).astype(np.int32),
    )


@inlined
def find_session(tables: Tables, sessions: Sessions, plan: Plan, symbol: int, time_ns: int) -> tuple[int, int, int]:
    """The session of the symbol's calendar that takes a trade at `time_ns`: (open_ns, close_ns, date).

    A session also takes what comes within the grace after its close. (0, 0, 0): none does.
    """
    who = tables.symbols[symbol]
    start, end = sessions.start[who.calendar], sessions.start[who.calendar + 1]
    if start == end:
        day = time_ns // DAY_NS
        return day * DAY_NS, (day + 1) * DAY_NS, day
    at = who.session
    if not (
        start <= at < end and sessions.open_ns[at] <= time_ns and (at + 1 == end or time_ns < sessions.open_ns[at + 1])
    ):
        at = start + np.searchsorted(sessions.open_ns[start:end], time_ns, side="right") - 1
        if at < start:
            return 0, 0, 0
        who.session = at
    if time_ns >= sessions.close_ns[at] + plan.grace_ns:
        return 0, 0, 0
    return sessions.open_ns[at], sessions.close_ns[at], sessions.date[at]


@bare_kernel
def session_of_date(tables: Tables, sessions: Sessions, symbol: int, date: int) -> tuple[int, int]:
    """The session of a date, (open_ns, close_ns); (0, 0) when the calendar has none on that day."""
    calendar = tables.symbols[symbol].calendar
    start, end = sessions.start[calendar], sessions.start[calendar + 1]
    if start == end:
        return date * DAY_NS, (date + 1) * DAY_NS
    at = start + np.searchsorted(sessions.date[start:end], date)
    if at == end or sessions.date[at] != date:
        return 0, 0
    return sessions.open_ns[at], sessions.close_ns[at]


@inlined
def bar_span(plan: Plan, frame: int, opened_ns: int, closed_ns: int, time_ns: int) -> tuple[int, int]:
    """The bar [open_ns, close_ns) of a timeframe that a time of the session [opened, closed) belongs to.

    Bars are anchored at the session's open; the last one is cut at its close and takes the grace.
    """
    if plan.is_session[frame]:
        return opened_ns, closed_ns
    length = plan.length[frame]
    inside = min(time_ns, closed_ns - 1)
    open_ns = opened_ns + (inside - opened_ns) // length * length
    return open_ns, min(open_ns + length, closed_ns)


@bare_kernel
def due_time(tables: Tables, sessions: Sessions, plan: Plan, symbol: int, close_ns: int, session_close_ns: int) -> int:
    """The watermark that closes a bar: its close, and for a session's last bar the grace behind it."""
    calendar = tables.symbols[symbol].calendar
    if close_ns < session_close_ns or sessions.start[calendar] == sessions.start[calendar + 1]:
        return close_ns
    return close_ns + plan.grace_ns
