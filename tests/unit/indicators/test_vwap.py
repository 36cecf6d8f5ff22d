"""Session VWAP against pandas and by hand."""

from collections.abc import Callable
from fractions import Fraction

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

from marketpulse.indicators.bar_columns import CLOSE, HIGH, LOW, NOTIONAL, VOLUME

Floats = NDArray[np.float64]
Compute = Callable[..., Floats]
Closes = Callable[[object], Floats]
Check = Callable[..., None]


Days = NDArray[np.int32]


def test_vwap_equals_pandas_cumulative_sums_by_session(compute: Compute, minutes: tuple[Floats, Days]) -> None:
    bars, days = minutes
    frame = pd.DataFrame({"notional": bars[:, NOTIONAL], "volume": bars[:, VOLUME], "day": days})
    sums = frame.groupby("day").cumsum()
    assert len(set(days.tolist())) == 4
    expected = (sums["notional"] / sums["volume"]).to_numpy()
    np.testing.assert_allclose(compute("vwap", bars, days)[:, 0], expected, rtol=1e-12)


def test_vwap_restarts_with_the_session_also_on_the_first_day_of_1970(compute: Compute, closes: Closes) -> None:
    days = np.array([0, 0, 1, 0], np.int32)
    np.testing.assert_array_equal(compute("vwap", closes([2, 4, 10, 6]), days)[:, 0], [2, 3, 10, 6])


def test_vwap_is_null_until_something_trades_and_then_stays_over_empty_bars(compute: Compute, closes: Closes) -> None:
    bars = closes([5, 5, 9, 9])
    bars[:, VOLUME] = [0, 2, 0, 2]
    bars[:, NOTIONAL] = [0, 10, 0, 18]
    np.testing.assert_array_equal(compute("vwap", bars)[:, 0], [np.nan, 5, 5, 7])


def test_vwap_of_daily_bars_is_each_bars_own_and_null_without_volume(compute: Compute, daily: Floats) -> None:
    found = compute("vwap", daily, np.arange(len(daily), dtype=np.int32))[:, 0]
    traded = daily[:, VOLUME] > 0
    np.testing.assert_allclose(found[traded], daily[traded][:, [HIGH, LOW, CLOSE]].mean(axis=1), rtol=1e-14)
    assert np.isnan(found[~traded]).all()


@pytest.mark.parametrize("price", [1e13, 1e-8])
def test_vwap_is_within_two_roundings_of_exact_after_a_million_bars(
    compute: Compute, closes: Closes, price: float
) -> None:
    bars = closes(price * (1 + np.random.default_rng(8).random(1_000_000)))
    bars[:, VOLUME] = np.random.default_rng(9).random(1_000_000)
    bars[:, NOTIONAL] *= bars[:, VOLUME]
    found = compute("vwap", bars)[-1, 0]
    exact = exact_sum(bars[:, NOTIONAL]) / exact_sum(bars[:, VOLUME])
    assert abs(Fraction(float(found)) - exact) < exact * Fraction(4, 10**16)


def exact_sum(values: Floats) -> Fraction:
    mantissa, exponent = np.frexp(values)
    total = Fraction(0)
    for power in np.unique(exponent).tolist():
        whole = (mantissa[exponent == power] * 2.0**53).astype(np.int64).tolist()
        total += sum(whole) * Fraction(2) ** (power - 53)
    return total
