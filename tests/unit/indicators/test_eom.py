"""Ease of movement against pandas and by hand."""

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

from marketpulse.indicators.bar_columns import HIGH, LOW, VOLUME

Floats = NDArray[np.float64]
Compute = Callable[..., Floats]
Closes = Callable[[object], Floats]
Check = Callable[..., None]


@pytest.mark.parametrize("period", [1, 2, 14, 100])
def test_eom_equals_pandas_on_real_daily_bars(
    compute: Compute, daily: Floats, assert_close: Check, period: int
) -> None:
    high, low, volume = (pd.Series(daily[:, column]) for column in (HIGH, LOW, VOLUME))
    ease = 10_000 * ((high + low) / 2).diff() * (high - low) / volume.where(volume > 0)
    expected = ease.rolling(period).mean().to_numpy()
    assert_close(compute(f"eom({period})", daily)[:, 0], expected)


def test_eom_by_hand(compute: Compute, closes: Closes) -> None:
    # middles 6 7 6.5 9: eases 1 * 4 / 8, -0.5 * 1 / 2, 2.5 * 2 / 10, in ten thousandths
    bars = closes([5, 7, 6, 9])
    bars[:, HIGH], bars[:, LOW], bars[:, VOLUME] = [8, 9, 7, 10], [4, 5, 6, 8], [1, 8, 2, 10]
    np.testing.assert_array_equal(compute("eom(2)", bars)[:, 0], [np.nan, np.nan, 1250, 1250])


@pytest.mark.parametrize("price", [0.1, 1e13 / 3, 1e-8])
def test_eom_of_a_flat_price_is_zero(compute: Compute, closes: Closes, price: float) -> None:
    np.testing.assert_array_equal(compute("eom", closes(np.full(40, price)))[14:, 0], 0.0)


def test_eom_is_null_exactly_while_a_bar_without_volume_is_in_the_window(compute: Compute, closes: Closes) -> None:
    bars = closes(np.arange(1.0, 13.0))
    bars[:, HIGH] += 1.0
    bars[5, VOLUME] = 0.0
    found = compute("eom(3)", bars)[:, 0]
    np.testing.assert_array_equal(found, [np.nan] * 3 + [10_000] * 2 + [np.nan] * 3 + [10_000] * 4)


def test_eom_of_a_single_bar_is_null(compute: Compute, closes: Closes) -> None:
    assert np.isnan(compute("eom(1)", closes([7.0]))).all()
