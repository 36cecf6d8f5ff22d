"""Whether a venue trades: what the sources that must tell a silence from a loss ask."""

from bisect import bisect_left
from collections.abc import Callable
from functools import cache

from marketpulse.app.calendars import SessionKind, sessions_by
from marketpulse.errors import ParameterError
from marketpulse.settings import EngineSettings


def open_between(calendar: str, sessions: SessionKind = "extended") -> Callable[[int, int], bool]:
    """(from_ns, to_ns) -> whether the venue was open at any time of `[from_ns, to_ns]`.

    `calendar`: a MIC, or 24x7. `sessions`: "extended" with pre- and post-market. Raises ParameterError when nothing is
    known of it.
    """
    table = sessions_by(sessions, {})(calendar)
    if table is None:
        raise ParameterError(f"there is no calendar {calendar!r}: write a MIC such as XNYS, or 24x7")
    if not len(table.open_ns):
        return lambda from_ns, to_ns: True  # noqa: ARG005  it never closes
    opens, closes = table.open_ns.tolist(), table.close_ns.tolist()

    def trades(from_ns: int, to_ns: int) -> bool:
        first = bisect_left(closes, from_ns + 1)  # the first session that ends after `from_ns`
        return first < len(opens) and opens[first] <= to_ns

    return trades


def venue_is_open(settings: EngineSettings) -> Callable[[str | None, int], bool]:
    """(venue, at_ns) -> whether the venue's regular session is open then; False where its calendar is not known: a venue
    that is not given counts as one of `engine.calendar`, unless that is the default."""

    @cache
    def find(venue: str | None) -> Callable[[int, int], bool]:
        calendar = settings.calendar if venue is None else settings.venue_calendars.get(venue, venue)
        try:
            if venue is not None or calendar != "24x7":
                return open_between(calendar, "regular")
        except ParameterError:
            pass
        return lambda from_ns, to_ns: False  # noqa: ARG005

    return lambda venue, at_ns: find(venue)(at_ns, at_ns)
