"""What the watch list says about a symbol after bars of it were revised or withdrawn."""

from array import array
from collections.abc import Collection

from marketpulse.web.quote import Quote, Session
from marketpulse.web.series import CLOSE, CLOSE_TIME, HIGH, LOW, OPEN, Series

_EVER_NS = 2**63 - 1


def correct(quote: Quote, held: Collection[Series], revised_to_ns: int, history: int) -> None:
    """Take back what only a revised row said: a last price, an extreme, an open that is no more.

    `revised_to_ns` is the largest close time among the revised bars: a price that is newer stays. The
    session is told by the series that reach back to its open; where none does, what was known stays.
    """
    session = quote.session
    if session is None:
        return
    if revised_to_ns >= quote.last_time_ns and (newest := _newest(held, _EVER_NS)) is not None:
        quote.last, quote.last_time_ns = newest[CLOSE], int(newest[CLOSE_TIME] * 1e6)
        if int(newest[0] * 1e6) >= session.open_time_ns:
            session.close, session.close_time_ns = quote.last, quote.last_time_ns
    _tell(session, held, history)
    before = quote.before
    if before is not None and (last := _newest(held, session.open_time_ns)) is not None:
        before.close, before.close_time_ns = last[CLOSE], int(last[CLOSE_TIME] * 1e6)


def _tell(session: Session, held: Collection[Series], history: int) -> None:
    """Open and extremes, from the series that goes back furthest; the one with most bars, where some do alike."""
    tellers = []
    for series in held:
        begins = series.begins_ns
        if begins is not None and (begins <= session.open_time_ns or len(series) < history):
            bars = list(series.bars_from(session.open_time_ns))
            if bars:
                tellers.append((bars[0][0], -len(bars), bars))
    if not tellers:
        return
    session.open_time_ns, _, bars = min(tellers, key=lambda told: told[:2])
    session.open = bars[0][1][OPEN]
    session.high = max(row[HIGH] for _, row in bars)
    session.low = min(row[LOW] for _, row in bars)


def _newest(held: Collection[Series], before_ns: int) -> "array[float] | None":
    rows = [row for series in held if (row := series.newest_before(before_ns)) is not None]
    return max(rows, key=lambda row: row[CLOSE_TIME], default=None)
