"""How much a worker takes at once: what it has committed before the broker ends its transaction, on a slow machine too.

    turn -> note (share taken, seconds) -> the next turn's share        a turn may last a fifth of the transaction's time
    transaction timed out -> slow_down  -> half the share, four times the time

A share of 1 is what a turn takes at full speed. It begins small and at most doubles from turn to turn, so a process that
was started anew finds out what it can do. What a turn costs is wall time: a slow disk counts as well as a busy processor.
One row's consequences cannot be divided (a rebuild of many rows, a large state that is saved): for those a transaction
gets more time once it has run out of it. Committed readers of a killed worker then wait that long at most.
"""

from marketpulse.engine.step import CLOSED_MOST
from marketpulse.kafka import transaction
from marketpulse.kafka.record_queue import BYTES_MOST
from marketpulse.telemetry import get_logger

RECORDS_MOST = 50_000  # large enough for full speed
_FIRST_SHARE, _LEAST_SHARE = 1 / 16, 1 / 5_000
_GROWTH, _FADE = 2.0, 0.75
_LONGER, _LONGEST = 4, 16  # times the transaction's first time
_BARS_LEAST = 1_000  # a step that closes fewer bars costs more than it parts
_TURN = 0.2


class Pace:
    """What the turns of a worker may take; it outlives the worker whose transaction timed out."""

    def __init__(self) -> None:
        self._first_s = self.transaction_s = transaction.TRANSACTION_S
        self.turn_s = _TURN * self._first_s
        self.share = _FIRST_SHARE
        self._cost_s = 0.0  # of a whole share

    @property
    def records(self) -> int:
        return max(1, int(RECORDS_MOST * self.share))

    @property
    def bytes(self) -> int:
        return max(1, int(BYTES_MOST * self.share))

    @property
    def bars(self) -> int:
        """How many bars one step may close."""
        return max(_BARS_LEAST, int(CLOSED_MOST * self.share))

    def share_of(self, records: int, size: int) -> float:
        """What so many records of so many bytes together are."""
        return max(records / RECORDS_MOST, size / BYTES_MOST)

    def note(self, share: float, seconds: float) -> None:
        """A turn took so much, and so long. One of a few records says little of what a full one would cost."""
        if share < self.share / 2 and seconds < self.turn_s:
            return
        self._cost_s = max(seconds / max(share, _LEAST_SHARE), _FADE * self._cost_s)
        self.share = max(_LEAST_SHARE, min(1.0, _GROWTH * self.share, self.turn_s / max(self._cost_s, 1e-9)))

    def slow_down(self) -> None:
        """A transaction has run out of its time."""
        self.share = max(_LEAST_SHARE, self.share / 2)
        self.transaction_s = min(_LONGER * self.transaction_s, _LONGEST * self._first_s)
        get_logger().warning("takes_less", records=self.records, transaction_s=self.transaction_s)
