"""Volume price trend against pandas and by hand."""

import math
from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

from marketpulse.indicators.bar_columns import CLOSE, VOLUME

Floats = NDArray[np.float64]
Compute = Callable[..., Floats]
Closes = Callable[[object], Floats]
Check = Callable[..., None]


def test_vpt_equals_pandas_on_real_daily_bars(compute: Compute, daily: Floats, assert_close: Check) -> None:
    close, volume = pd.Series(daily[:, CLOSE]), pd.Series(daily[:, VOLUME])
    expected = (close.pct_change() * volume).cumsum().to_numpy()
    scale = np.nanmax(np.abs(expected))
    assert_close(compute("vpt", daily)[:, 0] / scale, expected / scale)


def test_vpt_by_hand(compute: Compute, closes: Closes) -> None:
    bars = closes([10, 15, 12, 12])
    bars[:, VOLUME] = [7, 4, 10, 9]
    np.testing.assert_array_equal(compute("vpt", bars)[:, 0], [np.nan, 2, 0, 0])


@pytest.mark.parametrize("price", [0.1, 1e13 / 3, 1e-8])
def test_vpt_of_a_flat_price_or_without_volume_is_zero(compute: Compute, closes: Closes, price: float) -> None:
    np.testing.assert_array_equal(compute("vpt", closes(np.full(20, price)))[1:, 0], 0.0)
    bars = closes(price * np.arange(1.0, 21.0))
    bars[:, VOLUME] = 0.0
    np.testing.assert_array_equal(compute("vpt", bars)[1:, 0], 0.0)


def test_vpt_does_not_drift_over_a_million_bars(compute: Compute, closes: Closes) -> None:
    rng = np.random.default_rng(2)
    bars = closes(np.exp(np.cumsum(rng.normal(0, 0.01, 1_000_000))))
    bars[:, VOLUME] = 1e9 * rng.random(1_000_000)
    before = bars[:-1, CLOSE]
    terms = bars[1:, VOLUME] * ((bars[1:, CLOSE] - before) / before)
    assert compute("vpt", bars)[-1, 0] == pytest.approx(math.fsum(terms), rel=1e-14)


def test_vpt_of_a_single_bar_is_null(compute: Compute, closes: Closes) -> None:
    assert np.isnan(compute("vpt", closes([7.0]))).all()
