"""Fast stochastic (docs/formulas/stochf.md)."""

import math

import numpy as np
from numpy.typing import NDArray

from marketpulse.compiled import kernel
from marketpulse.indicators.bar_columns import CLOSE, HIGH, LOW
from marketpulse.indicators.declaration import Explained, Floats, Indicator, Params, period
from marketpulse.indicators.fast_k import fast_push, fast_step, fast_width


@kernel
def update(
    state: Floats, series: NDArray[np.int64], bars: Floats, _session: NDArray[np.int32], parameters: Floats, out: Floats
) -> None:
    """Row: the last %K, the windows of highs and lows (fast_k.fast_push)."""
    periods = (int(parameters[0]), int(parameters[1]))
    for i in range(len(series)):
        high, low, close = bars[i, HIGH], bars[i, LOW], bars[i, CLOSE]
        known, k, d = fast_push(state, series[i], 0, periods, high, low, close)
        out[i, 0] = out[i, 1] = math.nan
        if known and math.isfinite(d):
            out[i, 0], out[i, 1] = k, d


def explain(before: Floats, bar: Floats, _session: int, parameters: Params) -> Explained:
    """The raw %K, and the mean of the last ones."""
    periods, of = (int(parameters[0]), int(parameters[1])), ("highs", "lows", "close")
    prices = (float(bar[HIGH]), float(bar[LOW]), float(bar[CLOSE]))
    lines, values = fast_step(before, 0, periods, prices, of)
    if values is None or not math.isfinite(values[1]):
        return Explained(tuple(lines), (math.nan, math.nan))
    return Explained(tuple(lines), values)


STOCHF = Indicator(
    name="stochf",
    title="Fast stochastic",
    group="momentum",
    update=update,
    explain=explain,
    parameters=(period(5, name="fast_k"), period(3, name="fast_d")),
    outputs=("k", "d"),
    state_width=lambda p: fast_width(int(p[0]), int(p[1])),
    warm_up=lambda p: int(p[0]) + int(p[1]) - 2,
    reads=("high", "low", "close"),
    price_degrees=(0, 0),
    formula="k = 100 * (close - lowest low) / (highest high - lowest low) of `fast_k` bars; d = sma of k over `fast_d`",
    source="TA-Lib STOCHF (Lane 1984)",
)
