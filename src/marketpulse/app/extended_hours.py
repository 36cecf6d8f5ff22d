"""Pre- and post-market hours: the calendar library has the regular sessions only.

Where the venues publish them:
- United States: the consolidated tapes of New York's and Nasdaq's shares run from 04:00 to 20:00 New York time
  (CTA and UTP plans), whichever of the exchanges a trade was on; after an early close at 13:00 until 17:00.
- Hong Kong: the pre-opening session from 09:00, the closing auction until 16:10; on half-days until 12:10
  (HKEX, "Trading Hours", securities market).
A venue that is missing here has its regular sessions, unless `engine.extended_hours` names its span.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from marketpulse.model.session import DaySpan, SessionTable
from marketpulse.model.timeframe import DAY_NS

_UNITED_STATES = DaySpan.parse(("04:00", "20:00"))
_HONG_KONG = DaySpan.parse(("09:00", "16:10"))
EXTENDED_HOURS: dict[str, DaySpan] = {
    **dict.fromkeys(("XNYS", "NYSE", "XNAS", "ARCX", "BATS", "XASE"), _UNITED_STATES),
    **dict.fromkeys(("XHKG", "HKEX"), _HONG_KONG),
}


class RegularDays(NamedTuple):
    """A venue's regular sessions, and what it takes to widen them."""

    table: SessionTable
    offset_ns: NDArray[np.int64]  # the venue's clock less UTC, when the session opens
    early_ns: NDArray[np.int64]  # by how much a half-day closes before the usual time, else 0


def extend(days: RegularDays, span: DaySpan) -> SessionTable:
    """One session a day from the pre-market's begin to the post-market's end.

    The post-market ends as much earlier as the regular session did. A session is never shorter than
    its regular hours, and never reaches into those of its neighbours.
    """
    regular = days.table
    midnight_ns = regular.date.astype(np.int64) * DAY_NS - days.offset_ns
    open_ns = np.minimum(regular.open_ns, midnight_ns + span.from_ns)
    close_ns = np.maximum(regular.close_ns, midnight_ns + span.to_ns - days.early_ns)
    open_ns[1:] = np.maximum(open_ns[1:], regular.close_ns[:-1])
    close_ns[:-1] = np.minimum(close_ns[:-1], open_ns[1:])
    return SessionTable(regular.name, open_ns, close_ns, regular.date)
