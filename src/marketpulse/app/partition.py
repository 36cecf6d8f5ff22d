"""One partition in a worker's hands: its state, how far it has come, and when it was shown and saved."""

from dataclasses import dataclass, field

import numpy as np

from marketpulse.engine.provisional import changed_symbols
from marketpulse.engine.state import PartitionState
from marketpulse.kafka.snapshot import Pointer
from marketpulse.kafka.source_counts import SourceCounts


@dataclass(slots=True)
class OwnedPartition:
    """`next_offset` is the next record to take; those before `muted_until` are only replayed."""

    number: int
    state: PartitionState
    next_offset: int
    muted_until: int
    pointer: Pointer | None
    moved: bool = False  # since the last commit
    midway: bool = False  # the state holds a part of what its next record closes: it must be saved with it
    unsaved: int = 0  # records since the last snapshot, those of a frame by its rows
    snapshot: bytes = b""  # the state as the next commit saves it; empty: it is not due
    counts: SourceCounts = field(default_factory=SourceCounts)
    shown_at: np.ndarray = field(default_factory=lambda: np.empty(0))

    @property
    def muted(self) -> bool:
        return self.next_offset < self.muted_until

    def take_in(self, next_offset: int, records: int, rows: int) -> None:
        """The state holds the records before `next_offset` too: so many, which were so many rows."""
        self.next_offset = next_offset
        self.unsaved += max(records, rows)
        self.moved = True

    def due_to_show(self, now: float, interval_s: float) -> np.ndarray:
        """Changed symbols that were not shown within the interval; they count as shown now."""
        symbols = changed_symbols(self.state)
        if not symbols.size:
            return symbols
        missing = int(symbols[-1]) + 1 - self.shown_at.size
        if missing > 0:
            self.shown_at = np.concatenate([self.shown_at, np.full(missing + 64, -np.inf)])
        due: np.ndarray = symbols[now - self.shown_at[symbols] >= interval_s]
        self.shown_at[due] = now
        return due
