"""Slow stochastic (docs/formulas/stoch.md)."""

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
    state: Floats, series: NDArray[np.int64], bars: Floats, _session: NDArray[np.int32], parameters: Floats, out: Floats
) -> None:
    """Row: the last %K, the last k (rolling.sum_push), the windows of highs and lows (fast_k.fast_k_push)."""
    length, slow_k, slow_d = int(parameters[0]), int(parameters[1]), int(parameters[2])
    second = SUM_HEAD + slow_k
    windows = second + SUM_HEAD + slow_d
    for i in range(len(series)):
        row = series[i]
        out[i, 0] = out[i, 1] = math.nan
        known, raw = fast_k_push(state, row, windows, length, bars[i, HIGH], bars[i, LOW], bars[i, CLOSE])
        if not known:
            continue
        known, high, low = sum_push(state, row, 0, slow_k, raw)
        if known:
            k = mean(high, low, slow_k)
            known, high, low = sum_push(state, row, second, slow_d, k)
            d = mean(high, low, slow_d)
            if known and math.isfinite(d):
                out[i, 0], out[i, 1] = k, d


def explain(before: Floats, bar: Floats, _session: int, parameters: Params) -> Explained:
    """The raw %K, the mean of the last ones, and the mean of the last means."""
    length, slow_k, slow_d = (int(value) for value in parameters)
    second = SUM_HEAD + slow_k
    prices, of = (float(bar[HIGH]), float(bar[LOW]), float(bar[CLOSE])), ("highs", "lows", "close")
    lines, raw = fast_k_step(before, second + SUM_HEAD + slow_d, length, prices, of)
    k = d = None
    if raw is not None:
        more, k = mean_of_window(before, 0, slow_k, raw, "%K")
        lines += more
    if k is not None:
        more, d = mean_of_window(before, second, slow_d, k, "k")
        lines += more
    if k is None or d is None or not math.isfinite(d):
        return Explained(tuple(lines), (math.nan, math.nan))
    return Explained((*lines, f"k = mean of %K = {shown(k)}; d = mean of k = {shown(d)}"), (k, d))


STOCH = Indicator(
    name="stoch",
    title="Slow stochastic",
    group="momentum",
    update=update,
    explain=explain,
    parameters=(period(5, name="fast_k"), period(3, name="slow_k"), period(3, name="slow_d")),
    outputs=("k", "d"),
    state_width=lambda p: 2 * SUM_HEAD + int(p[1]) + int(p[2]) + fast_k_width(int(p[0])),
    warm_up=lambda p: int(p[0]) + int(p[1]) + int(p[2]) - 3,
    reads=("high", "low", "close"),
    price_degrees=(0, 0),
    formula="raw = 100 * (close - lowest low) / (highest high - lowest low) of `fast_k` bars; k = sma of raw; d = sma of k",
    source="TA-Lib STOCH (Lane 1984)",
)
