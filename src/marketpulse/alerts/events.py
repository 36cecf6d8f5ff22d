"""What alerts give: one row per change of an alert."""

import numpy as np

RAISED, CLEARED, WITHDRAWN = 1, 2, 3
STATE_NAMES = ("", "raised", "cleared", "withdrawn")

EVENT = np.dtype([
    ("symbol", "i4"),
    ("rule", "i4"),  # the rule's number
    ("row", "i8"),  # the row that it happened on, in the batch; -1: that row is no more
    ("open_ns", "i8"),
    ("event_time_ns", "i8"),  # when that row's bar closed
    ("state", "i1"),  # RAISED, CLEARED or WITHDRAWN
    ("was", "i1"),  # what readers knew of this place before (differences.py); 0: nothing
    ("late", "i1"),  # 1: a revision made it true
    ("value", "f8"),  # what stands to the left of the rule's first comparison; NaN: unknown
    ("cited", "u8"),  # the bits of the numbers that the rule's message cites, mixed; 0: none, or another message's
])  # fmt: skip
"""One change of the alert of one rule on one symbol."""


def no_events() -> np.ndarray:
    return np.empty(0, EVENT)
