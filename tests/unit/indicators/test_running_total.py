"""A sum over everything, against exact arithmetic."""

import math

import numpy as np
import pytest

from marketpulse.indicators.running_total import TOTAL_WIDTH, total_push, total_step


def test_a_running_total_keeps_what_a_double_would_lose() -> None:
    rng = np.random.default_rng(1)
    terms = rng.normal(size=5_000) * 10.0 ** rng.integers(-8, 13, 5_000)
    state = np.array([[-7.0, *[0.0] * TOTAL_WIDTH, -7.0]])
    for i, term in enumerate(terms):
        total = total_push(state, 0, 1, term)
        if i % 500 == 499:
            assert total == pytest.approx(math.fsum(terms[: i + 1]), rel=1e-15)
    assert state[0, 0] == state[0, -1] == -7.0


def test_a_running_total_says_what_it_adds() -> None:
    state = np.zeros((1, TOTAL_WIDTH))
    total_push(state, 0, 0, 2.0)
    assert total_step(state, 0, -0.5, "obv") == ("obv = before + term = 2.0 + -0.5 = 1.5", 1.5)
