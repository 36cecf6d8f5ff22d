"""Fast stochastic (docs/formulas/stochf.md)."""

import math

import numpy as np
from numpy.typing import NDArray

from marketpulse.compiled import kernel
from marketpulse.indicators.arithmetic import mean_of_window, shown
from marketpulse.indicators.bar_columns import CLOSE, HIGH, LOW
from marketpulse.indicators.declaration import Explained, Floats, Indicator, Params, period
from marketpulse.indicators.fast_k import fast_k_push, fast_k_step, fast_k_width
from marketpulse.indicators.rolling import SUM_HEAD, mean, sum_push


@kernel
def update(
    state: Floats,
    series: NDArray[np.int64],
    bars: Floats,
    _session: NDArray[np.int32],
    parameters: Floats,
    out: Floats,
) -> None:
    """Row: the last %K (rolling.sum_push), the windows of highs and lows (fast_k.fast_k_push)."""
    length, smoothing = int(parameters[0]), int(parameters[1])
    for i in range(len(series)):
        row = series[i]
        out[i, 0] = out[i, 1] = math.nan
        known, k = fast_k_push(
            state, row, SUM_HEAD + smoothing, length, bars[i, HIGH], bars[i, LOW], bars[i, CLOSE]
        )
        if known:
            full, high, low = sum_push(state, row, 0, smoothing, k)
            d = mean(high, low, smoothing)
            if full and math.isfinite(d):
                out[i, 0], out[i, 1] = k, d


def explain(before: Floats, bar: Floats, _session: int, parameters: Params) -> Explained:
    """The raw %K, and the mean of the last ones."""
    length, smoothing = (int(value) for value in parameters)
    prices, of = (float(bar[HIGH]), float(bar[LOW]), float(bar[CLOSE])), ("highs", "lows", "close")
    lines, k = fast_k_step(before, SUM_HEAD + smoothing, length, prices, of)
    d = None
    if k is not None:
        more, d = mean_of_window(before, 0, smoothing, k, "%K")
        lines += more
    if k is None or d is None or not math.isfinite(d):
        return Explained(tuple(lines), (math.nan, math.nan))
    return Explained((*lines, f"k = %K = {shown(k)}; d = mean of %K = {shown(d)}"), (k, d))


STOCHF = Indicator(
    name="stochf",
    title="Fast stochastic",
    group="momentum",
    update=update,
    explain=explain,
    parameters=(period(5, name="fast_k"), period(3, name="fast_d")),
    outputs=("k", "d"),
    state_width=lambda p: SUM_HEAD + int(p[1]) + fast_k_width(int(p[0])),
    warm_up=lambda p: int(p[0]) + int(p[1]) - 2,
    reads=("high", "low", "close"),
    formula="k = 100 * (close - lowest low) / (highest high - lowest low) of `fast_k` bars; d = sma of k over `fast_d`",
    source="TA-Lib STOCHF (Lane 1984)",
)
