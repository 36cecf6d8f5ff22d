"""Exact sums against math.fsum, which rounds the true sum once."""

import math
from random import Random

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from marketpulse.engine.exact_sum import DIGITS, add_exact, add_sum, read_sum

terms = st.lists(st.floats(0, 1e30, allow_subnormal=False).filter(lambda x: x == 0 or x > 1e-20), max_size=40)


def sum_of(values: list[float]) -> np.ndarray:
    total = np.zeros(DIGITS, np.int64)
    for value in values:
        add_exact(total, value)
    return total


@given(terms, terms, st.randoms(use_true_random=False))
def test_a_sum_is_the_nearest_double_in_any_order(left: list[float], right: list[float], random: Random) -> None:
    values, total = left + right, sum_of(left)
    add_sum(total, sum_of(right))
    sums = (sum_of(values), sum_of(random.sample(values, len(values))), total)
    assert [read_sum(found) for found in sums] == [math.fsum(values)] * 3


def test_ties_go_to_the_even_neighbour() -> None:
    assert (read_sum(sum_of([2.0**53, 1.0])), read_sum(sum_of([2.0**53, 2.0, 1.0]))) == (2.0**53, 2.0**53 + 4)
    assert read_sum(sum_of([2.0**53, 1.0, 2.0**-100])) == 2.0**53 + 2
