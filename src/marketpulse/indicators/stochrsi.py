"""Stochastic of the relative strength index (docs/formulas/stochrsi.md)."""

import math

import numpy as np
from numpy.typing import NDArray

from marketpulse.compiled import kernel
from marketpulse.indicators.bar_columns import CLOSE
from marketpulse.indicators.declaration import Explained, Floats, Indicator, Params, period
from marketpulse.indicators.fast_k import fast_push, fast_step, fast_width
from marketpulse.indicators.rises_and_falls import RISES_WIDTH
from marketpulse.indicators.rsi import rsi_push, rsi_step


@kernel
def update(
    state: Floats, series: NDArray[np.int64], bars: Floats, _session: NDArray[np.int32], parameters: Floats, out: Floats
) -> None:
    """Row: the index (rsi.rsi_push), the last %K and the windows of the index (fast_k.fast_push)."""
    length, periods = int(parameters[0]), (int(parameters[1]), int(parameters[2]))
    for i in range(len(series)):
        row = series[i]
        out[i, 0] = out[i, 1] = math.nan
        known, index = rsi_push(state, row, 0, length, bars[i, CLOSE])
        if known:
            known, k, d = fast_push(state, row, RISES_WIDTH, periods, index, index, index)
            if known:
                out[i, 0], out[i, 1] = k, d


def explain(before: Floats, bar: Floats, _session: int, parameters: Params) -> Explained:
    """The index, where it stands among its last values, and the mean of the last such places."""
    length, periods, none = int(parameters[0]), (int(parameters[1]), int(parameters[2])), (math.nan, math.nan)
    lines, index = rsi_step(before, 0, length, float(bar[CLOSE]), "close")
    if index is None:
        return Explained(tuple(lines), none)
    bar_of_index, of = (index, index, index), ("rsi", "rsi", "rsi")
    more, values = fast_step(before, RISES_WIDTH, periods, bar_of_index, of)
    return Explained((*lines, *more), none if values is None else values)


STOCHRSI = Indicator(
    name="stochrsi",
    title="Stochastic of the relative strength index",
    group="momentum",
    update=update,
    explain=explain,
    parameters=(period(14, minimum=2), period(5, name="fast_k"), period(3, name="fast_d")),
    outputs=("k", "d"),
    state_width=lambda p: RISES_WIDTH + fast_width(int(p[1]), int(p[2])),
    warm_up=lambda p: int(p[0]) + int(p[1]) + int(p[2]) - 2,
    price_degrees=(0, 0),
    formula="k = 100 * (rsi - lowest rsi) / (highest rsi - lowest rsi) of `fast_k` bars; d = sma of k over `fast_d`",
    source="TA-Lib STOCHRSI (Chande and Kroll 1994)",
)
