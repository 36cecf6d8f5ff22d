"""Whether a venue trades: what the sources that must tell a silence from a loss ask."""

from bisect import bisect_left
from collections.abc import Callable

from marketpulse.app.calendars import sessions_by
from marketpulse.errors import ParameterError


def open_between(calendar: str) -> Callable[[int, int], bool]:
    """(from_ns, to_ns) -> whether the venue was open, pre- and post-market included, at any time of `[from_ns, to_ns]`.

    `calendar`: a MIC, or 24x7. Raises ParameterError when nothing is known of it.
    """
    table = sessions_by("extended", {})(calendar)
    if table is None:
        raise ParameterError(f"there is no calendar {calendar!r}: write a MIC such as XNYS, or 24x7")
    if not len(table.open_ns):
        return lambda from_ns, to_ns: True  # noqa: ARG005  it never closes
    opens, closes = table.open_ns.tolist(), table.close_ns.tolist()

    def trades(from_ns: int, to_ns: int) -> bool:
        first = bisect_left(closes, from_ns + 1)  # the first session that ends after `from_ns`
        return first < len(opens) and opens[first] <= to_ns

    return trades
