"""Moments of a window by hand and against exact fractions; the indicators built on them are held against TA-Lib."""

from fractions import Fraction

import numpy as np
import pytest

from marketpulse.indicators.moments import (
    central_moments,
    correlation,
    mean_absolute_deviation,
    population_deviation,
    population_variance,
)


def test_moments_by_hand() -> None:
    window = np.array([[-7.0, 1.0, 1.0, 1.0, 5.0, -7.0]])
    assert mean_absolute_deviation(window, 0, 1, 4, 2.0) == 1.5
    assert population_variance(window, 0, 1, 4, 2.0) == 3.0
    assert population_deviation(window, 0, 1, 4, 2.0) == np.sqrt(3.0)
    # distances -1 -1 -1 3 in units of 3
    assert central_moments(window, 0, 1, 4, 2.0) == pytest.approx((12 / 4 / 9, 24 / 4 / 27, 84 / 4 / 81))


def test_moments_of_a_flat_window_are_zero() -> None:
    window = np.full((1, 5), 1 / 3)
    assert central_moments(window, 0, 0, 5, 1 / 3) == (0.0, 0.0, 0.0)
    assert population_variance(window, 0, 0, 5, 1 / 3) == 0.0
    assert correlation(window, 0, (0, 0), 5, (1 / 3, 1 / 3)) == 0.0


def test_a_centre_that_is_only_nearly_the_mean_does_no_harm() -> None:
    window = 1e13 + np.random.default_rng(1).integers(0, 9, (1, 20)).astype(np.float64)
    values = [Fraction(v) for v in window[0].tolist()]
    centre = sum(values, Fraction(0)) / 20
    second, third, fourth = (float(sum((v - centre) ** k for v in values) / 20) for k in (2, 3, 4))
    for off in (-1.0, 0.0, 1.0):
        assert population_variance(window, 0, 0, 20, float(centre) + off) == pytest.approx(second, rel=1e-12)
        found = central_moments(window, 0, 0, 20, float(centre) + off)
        assert found[1] / found[0] ** 1.5 == pytest.approx(third / second**1.5, rel=1e-9)
        assert found[2] / found[0] ** 2 == pytest.approx(fourth / second**2, rel=1e-12)


def test_a_correlation_by_hand() -> None:
    windows = np.array([[1.0, 2.0, 3.0, 9.0, 1.0, 1.0, 4.0]])
    assert correlation(windows, 0, (0, 4), 3, (2.0, 2.0)) == pytest.approx(3 / np.sqrt(12))
