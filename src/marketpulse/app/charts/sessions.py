"""The sessions that a chart is shaded by: when a venue opens and closes, its half-days, and the hours around them."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from marketpulse.app.calendars import regular_days
from marketpulse.app.extended_hours import EXTENDED_HOURS, extend
from marketpulse.model.session import DaySpan
from marketpulse.settings import EngineSettings

SESSIONS_MAX = 3_000
_MS = 1_000_000


def sessions(settings: EngineSettings, venue: str | None, from_ms: float, to_ms: float) -> Mapping[str, Any]:
    """`calendar`, and its newest sessions that touch the span, each with `date` (days since 1970-01-01), `open_ms`,
    `close_ms`, `half_day`, and `pre_ms` and `post_ms`, where the venue trades before and after (else null). None of
    a calendar that never closes. `built` says which hours the engine makes bars of.

    A venue's calendar is found as the engine finds it (engine.registry), but for what a source says of itself.
    """
    name = _calendar_of(settings, venue)
    days = None if name == "24x7" else regular_days(name)
    if days is None or settings.sessions == "24x7":
        return {"calendar": "24x7", "built": "24x7", "sessions": []}
    spans: dict[str, DaySpan] = {**EXTENDED_HOURS, **settings.parsed_extended_hours()}
    wide = extend(days, spans[name]) if name in spans else days.table
    touching = np.flatnonzero((wide.close_ns >= from_ms * _MS) & (wide.open_ns < to_ms * _MS))[-SESSIONS_MAX:]
    around = name in spans
    found = [
        {
            "date": int(days.table.date[i]), "open_ms": int(days.table.open_ns[i]) // _MS,
            "close_ms": int(days.table.close_ns[i]) // _MS, "half_day": bool(days.early_ns[i] > 0),
            "pre_ms": int(wide.open_ns[i]) // _MS if around else None,
            "post_ms": int(wide.close_ns[i]) // _MS if around else None,
        }
        for i in touching.tolist()
    ]  # fmt: skip
    return {"calendar": name, "built": settings.sessions, "sessions": found}


def _calendar_of(settings: EngineSettings, venue: str | None) -> str:
    known: Callable[[str], bool] = lambda name: name == "24x7" or regular_days(name) is not None  # noqa: E731
    named = settings.venue_calendars.get(venue, venue) if venue else None
    return named if named is not None and known(named) else settings.calendar
