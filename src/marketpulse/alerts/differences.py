"""What a revision makes of alerts: the events as readers know them, held against those of the same rows now.

events now  -  events before  =  events to tell
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from marketpulse.alerts.events import WITHDRAWN


class Differences(NamedTuple):
    """EVENT rows: what to tell, and what readers know then, which is the next revision's `old`."""

    told: np.ndarray
    known: np.ndarray


def differences(old: np.ndarray, new: np.ndarray) -> Differences:
    """What differs between two evaluations (EVENT) of the same stretch by the same rules.

    Events are the same when rule, symbol, event time and state are. One of `old` that is not in `new` is withdrawn:
    its state is WITHDRAWN, `was` the state that is withdrawn, its row -1. One that is only in `new` is late. One
    that both have is told only if the bits of its value differ, or a number that its message cites: as it is now, with
    `was` its own state. So whoever applies them in their order knows what is in `new`, and nothing else.

    Order: (event time, symbol, rule), a withdrawal first. No rule may have two events of a symbol at one time: that
    holds for bars cut by time, and others are never revised. Events of removed rules do not belong in `old`.
    """
    both = np.concatenate([old, new])
    is_new = np.arange(len(both)) >= len(old)
    order = np.lexsort((is_new, both["state"], both["rule"], both["symbol"], both["event_time_ns"]))
    events, is_new = both[order], is_new[order]
    paired = _same_as_before(events)  # of a pair, the new one comes second
    has_pair = paired | np.append(paired[1:], False)[: len(paired)]
    events["late"][is_new & ~paired] = 1
    events["late"][paired] = events["late"][np.flatnonzero(paired) - 1]
    known = events[is_new]

    bits = np.ascontiguousarray(events["value"]).view(np.int64)
    cited, cited_before = events["cited"], np.roll(events["cited"], 1)
    recited = (cited != cited_before) & (cited != 0) & (cited_before != 0)
    revalued = paired & ((bits != np.roll(bits, 1)) | recited)
    withdrawn = ~is_new & ~has_pair
    events["was"][withdrawn | revalued] = events["state"][withdrawn | revalued]
    events["state"][withdrawn], events["row"][withdrawn], events["late"][withdrawn] = WITHDRAWN, -1, 0
    told = events[withdrawn | revalued | (is_new & ~paired)]
    order = np.lexsort((told["state"] != WITHDRAWN, told["rule"], told["symbol"], told["event_time_ns"]))
    return Differences(told[order], known)


def _same_as_before(events: np.ndarray) -> NDArray[np.bool_]:
    """Which events, in order of these four, are the same as the one before them."""
    same = np.ones(len(events), np.bool_)
    same[:1] = False
    for name in ("event_time_ns", "symbol", "rule", "state"):
        same[1:] &= events[name][1:] == events[name][:-1]
    return same
