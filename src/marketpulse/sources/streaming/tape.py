"""What the vendors of the United States' consolidated tape have in common: their venues by MIC, and ids of trades."""

from marketpulse.model.timeframe import DAY_NS, SECOND_NS

BY_LETTER = {
    "A": "XASE", "B": "XBOS", "C": "XCIS", "D": "FINR", "H": "EPRL", "I": "XISE", "J": "EDGA", "K": "EDGX", "L": "LTSE",
    "M": "XCHI", "N": "XNYS", "P": "ARCX", "Q": "XNAS", "S": "XNAS", "T": "XNAS", "U": "MEMX", "V": "IEXG", "W": "CBSX",
    "X": "XPSX", "Y": "BATY", "Z": "BATS",
}  # fmt: skip
"""The tape's letter of a participant -> MIC. D is FINRA: what was traded off the exchanges."""

_NEW_YORK_BEHIND_NS = (
    5 * 3_600 * SECOND_NS
)  # its winter; in summer the day ends an hour after midnight, when nothing trades


def trade_id(time_ns: int, *parts: str | int) -> str:
    """An id that is one trade's alone: venues give the same numbers, and begin them anew each day.

    The day of New York is in front, in digits that only count: 20260-V-6142.
    """
    day = (time_ns - _NEW_YORK_BEHIND_NS) // DAY_NS
    return "-".join(str(part) for part in (day, *parts))
