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


@given(terms, st.randoms(use_true_random=False))
def test_a_sum_is_the_double_nearest_to_the_true_one_in_any_order(values: list[float], random: Random) -> None:
    assert read_sum(sum_of(values)) == math.fsum(values)
    assert read_sum(sum_of(random.sample(values, len(values)))) == math.fsum(values)


@given(terms, terms)
def test_a_sum_of_sums_is_the_sum_of_all_terms(left: list[float], right: list[float]) -> None:
    total = sum_of(left)
    add_sum(total, sum_of(right))
    assert read_sum(total) == math.fsum(left + right)


def test_ties_go_to_the_even_neighbour() -> None:
    assert (read_sum(sum_of([2.0**53, 1.0])), read_sum(sum_of([2.0**53, 2.0, 1.0]))) == (2.0**53, 2.0**53 + 4)
    assert read_sum(sum_of([2.0**53, 1.0, 2.0**-100])) == 2.0**53 + 2
