"""Counts of the newest slots only."""

import numpy as np

from marketpulse.app.scoring.ring import Ring


def test_counts_are_summed_over_slots_and_old_ones_are_gone() -> None:
    ring = Ring(3, 2)
    ring.add(np.array([5, 5, 6]), np.array([0, 1, 1]))
    assert ring.between(5, 7).tolist() == [1, 2]
    assert ring.between(6, 9).tolist() == [0, 1]
    ring.add(np.array([8, 5]), np.array([0, 0]))  # 5 is too old now
    assert ring.between(0, 100).tolist() == [1, 1]


def test_a_ring_that_has_heard_nothing_counts_nothing() -> None:
    assert Ring(3, 1).between(0, 10).tolist() == [0]
