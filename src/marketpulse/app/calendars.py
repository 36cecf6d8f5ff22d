"""Exchange calendars: sessions, half-days, holidays and DST of every venue that the library knows by MIC."""

from functools import lru_cache

import numpy as np

from marketpulse.model.session import SessionTable, around_the_clock

_EARLIEST = "1990-01-01"


@lru_cache(maxsize=64)
def sessions_of(name: str) -> SessionTable | None:
    """The regular sessions of a venue by MIC, `24x7` for one that never closes, None for an unknown one."""
    if name == "24x7":
        return around_the_clock()
    import exchange_calendars  # takes a second, and many runs need only 24x7

    if len(name) != 4 or name not in exchange_calendars.get_calendar_names(include_aliases=True):
        return None
    try:
        calendar = exchange_calendars.get_calendar(name, start=_EARLIEST)
    except ValueError:  # this calendar begins later: take all that the library gives by itself
        calendar = exchange_calendars.get_calendar(name)
    return SessionTable(
        name,
        calendar.opens.dt.tz_convert(None).to_numpy("datetime64[ns]").astype(np.int64),
        calendar.closes.dt.tz_convert(None).to_numpy("datetime64[ns]").astype(np.int64),
        calendar.sessions.to_numpy("datetime64[D]").astype(np.int32),
    )
