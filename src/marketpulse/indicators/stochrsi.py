"""Stochastic of the relative strength index (docs/formulas/stochrsi.md)."""

import math

import numpy as np
from numpy.typing import NDArray

from marketpulse.compiled import kernel
from marketpulse.indicators.arithmetic import mean_of_window, shown
from marketpulse.indicators.bar_columns import CLOSE
from marketpulse.indicators.declaration import Explained, Floats, Indicator, Params, period
from marketpulse.indicators.fast_k import fast_k_push, fast_k_step, fast_k_width
from marketpulse.indicators.rises_and_falls import RISES_WIDTH
from marketpulse.indicators.rolling import SUM_HEAD, mean, sum_push
from marketpulse.indicators.rsi import rsi_push, rsi_step


@kernel
def update(
    state: Floats,
    series: NDArray[np.int64],
    bars: Floats,
    _session: NDArray[np.int32],
    parameters: Floats,
    out: Floats,
) -> None:
    """Row: the index (rsi.rsi_push), the last %K (rolling.sum_push), the windows of the index (fast_k)."""
    length, fast_k, fast_d = int(parameters[0]), int(parameters[1]), int(parameters[2])
    for i in range(len(series)):
        row = series[i]
        out[i, 0] = out[i, 1] = math.nan
        known, index = rsi_push(state, row, 0, length, bars[i, CLOSE])
        if not known:
            continue
        known, k = fast_k_push(state, row, RISES_WIDTH + SUM_HEAD + fast_d, fast_k, index, index, index)
        if known:
            full, high, low = sum_push(state, row, RISES_WIDTH, fast_d, k)
            if full:
                out[i, 0], out[i, 1] = k, mean(high, low, fast_d)


def explain(before: Floats, bar: Floats, _session: int, parameters: Params) -> Explained:
    """The index, where it stands among its last values, and the mean of the last such places."""
    length, fast_k, fast_d = (int(value) for value in parameters)
    lines, index = rsi_step(before, 0, length, float(bar[CLOSE]), "close")
    k = d = None
    if index is not None:
        at, of = RISES_WIDTH + SUM_HEAD + fast_d, ("rsi", "rsi", "rsi")
        more, k = fast_k_step(before, at, fast_k, (index, index, index), of)
        lines += more
    if k is not None:
        more, d = mean_of_window(before, RISES_WIDTH, fast_d, k, "%K")
        lines += more
    if k is None or d is None:
        return Explained(tuple(lines), (math.nan, math.nan))
    return Explained((*lines, f"k = %K = {shown(k)}; d = mean of %K = {shown(d)}"), (k, d))


STOCHRSI = Indicator(
    name="stochrsi",
    title="Stochastic of the relative strength index",
    group="momentum",
    update=update,
    explain=explain,
    parameters=(period(14, minimum=2), period(5, name="fast_k"), period(3, name="fast_d")),
    outputs=("k", "d"),
    state_width=lambda p: RISES_WIDTH + SUM_HEAD + int(p[2]) + fast_k_width(int(p[1])),
    warm_up=lambda p: int(p[0]) + int(p[1]) + int(p[2]) - 2,
    formula="k = 100 * (rsi - lowest rsi) / (highest rsi - lowest rsi) of `fast_k` bars; d = sma of k over `fast_d`",
    source="TA-Lib STOCHRSI (Chande and Kroll 1994)",
)
