"""Counts by slots of time, the newest of them only."""

import numpy as np

from marketpulse.model.market import Ints


class Ring:
    """`slots` rows of `width` counts, one row for each stretch of time, told by its number.

    What belongs to a slot that is no more among the newest is left out, so the same counts come out however their
    rows are cut into calls.
    """

    def __init__(self, slots: int, width: int) -> None:
        self._cells = np.zeros((slots, width), np.int32)
        self._head = -1

    def add(self, slots: Ints, columns: Ints) -> None:
        """Count 1 for each (slot, column); both (n,)."""
        n, width = self._cells.shape
        self._advance(int(slots.max()))
        new = slots > self._head - n
        places = slots[new] % n * width + columns[new]
        self._cells += np.bincount(places, minlength=n * width).astype(np.int32).reshape(n, width)

    def between(self, first: int, end: int) -> Ints:
        """(width,) the sums over the slots [first, end)."""
        n, width = self._cells.shape
        slots = np.arange(max(first, self._head - n + 1), min(end, self._head + 1))
        total: Ints = self._cells[slots % n].sum(axis=0, dtype=np.int64)
        return total if len(slots) else np.zeros(width, np.int64)

    def _advance(self, newest: int) -> None:
        n = len(self._cells)
        if newest > self._head:
            passed = np.arange(max(self._head + 1, newest - n + 1), newest + 1)
            self._cells[passed % n] = 0
            self._head = newest
