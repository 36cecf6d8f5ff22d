"""Hull moving average of the close (docs/formulas/hma.md)."""

import math

import numpy as np
from numpy.typing import NDArray

from marketpulse.compiled import kernel
from marketpulse.indicators.arithmetic import one_value, shown, window_entered
from marketpulse.indicators.bar_columns import CLOSE
from marketpulse.indicators.declaration import Explained, Floats, Indicator, Params, period
from marketpulse.indicators.weighting import linear_weights, weighted_mean
from marketpulse.indicators.window import WINDOW_HEAD, window_push


@kernel
def update(
    state: Floats, series: NDArray[np.int64], bars: Floats, _session: NDArray[np.int32], parameters: Floats, out: Floats
) -> None:
    """Row: the window of closes, the window of differences (window.window_push)."""
    length = int(parameters[0])
    root, second = int(math.sqrt(length)), WINDOW_HEAD + length
    whole_weights, half_weights = linear_weights(length), linear_weights(length // 2)
    root_weights = linear_weights(root)
    for i in range(len(series)):
        row = series[i]
        held, newest = window_push(state, row, 0, length, bars[i, CLOSE])
        out[i, 0] = math.nan
        if held == length:
            half = weighted_mean(state, row, 0, length, newest, half_weights)
            whole = weighted_mean(state, row, 0, length, newest, whole_weights)
            held, newest = window_push(state, row, second, root, half + (half - whole))
            value = weighted_mean(state, row, second, root, newest, root_weights)
            if held == root and math.isfinite(value):
                out[i, 0] = value


def explain(before: Floats, bar: Floats, _session: int, parameters: Params) -> Explained:
    """The two weighted averages, twice the one without the other, and the average of these."""
    length = int(parameters[0])
    root, second = int(math.sqrt(length)), WINDOW_HEAD + length
    lines, newest = window_entered(before, 0, length, float(bar[CLOSE]), "closes")
    if newest is None:
        return one_value(lines, None)
    half = float(weighted_mean(before, 0, 0, length, newest, linear_weights(length // 2)))
    whole = float(weighted_mean(before, 0, 0, length, newest, linear_weights(length)))
    quick = half + (half - whole)
    lines.append(
        f"quick = wma({length // 2}) + (wma({length // 2}) - wma({length})) = "
        f"{shown(half)} + ({shown(half)} - {shown(whole)}) = {shown(quick)}"
    )
    more, newest = window_entered(before, second, root, quick, "quick")
    lines += more
    if newest is None:
        return one_value(lines, None)
    value = float(weighted_mean(before, 0, second, root, newest, linear_weights(root)))
    lines.append(f"hma = wma({root}) of quick = {shown(value)}")
    return one_value(lines, value)


HMA = Indicator(
    name="hma",
    title="Hull moving average",
    group="trend",
    update=update,
    explain=explain,
    parameters=(period(9, minimum=2),),
    state_width=lambda p: 2 * WINDOW_HEAD + int(p[0]) + int(math.sqrt(p[0])),
    warm_up=lambda p: int(p[0]) + int(math.sqrt(p[0])) - 2,
    pane="price",
    price_degrees=(1,),
    formula="wma(√period) of 2 * wma(period / 2) - wma(period), whole parts of √period and period / 2",
    source="Hull 2005",
)
