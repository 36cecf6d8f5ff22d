"""Force index against TA-Lib's average and by hand."""

from collections.abc import Callable

import numpy as np
import pytest
import talib
from numpy.typing import NDArray

from marketpulse.indicators.bar_columns import CLOSE, VOLUME

Floats = NDArray[np.float64]
Compute = Callable[..., Floats]
Closes = Callable[[object], Floats]
Check = Callable[..., None]


@pytest.mark.parametrize("period", [1, 2, 13, 100])
def test_force_index_equals_talibs_average_on_real_daily_bars(
    compute: Compute, daily: Floats, assert_close: Check, period: int
) -> None:
    force = np.concatenate([[np.nan], np.diff(daily[:, CLOSE]) * daily[1:, VOLUME]])
    expected = talib.EMA(force, period) if period > 1 else force
    scale = np.nanmax(np.abs(force))
    assert_close(compute(f"force_index({period})", daily)[:, 0] / scale, expected / scale, 1e-12)


def test_force_index_by_hand(compute: Compute, closes: Closes) -> None:
    # forces 6 -4 3; the average of two begins at 1 and moves by 2/3
    bars = closes([10, 12, 11, 14])
    bars[:, VOLUME] = [9, 3, 4, 1]
    np.testing.assert_allclose(compute("force_index(2)", bars)[:, 0], [np.nan, np.nan, 1, 1 + 4 / 3], rtol=1e-15)


def test_force_index_of_a_flat_price_or_without_volume_is_zero(compute: Compute, closes: Closes) -> None:
    np.testing.assert_array_equal(compute("force_index", closes(np.full(40, 1e13 / 3)))[13:, 0], 0.0)
    bars = closes(np.arange(1.0, 41.0))
    bars[:, VOLUME] = 0.0
    np.testing.assert_array_equal(compute("force_index", bars)[13:, 0], 0.0)


def test_force_index_of_a_single_bar_is_null(compute: Compute, closes: Closes) -> None:
    assert np.isnan(compute("force_index(1)", closes([7.0]))).all()
