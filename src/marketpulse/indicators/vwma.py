"""Volume-weighted moving average of the close (docs/formulas/vwma.md)."""

import math

import numpy as np
from numpy.typing import NDArray

from marketpulse.compiled import kernel
from marketpulse.indicators.arithmetic import one_value, shown, window_entered
from marketpulse.indicators.bar_columns import CLOSE, VOLUME
from marketpulse.indicators.declaration import Explained, Floats, Indicator, Params, period
from marketpulse.indicators.window import WINDOW_HEAD, earlier, window_push


@kernel
def volume_weighted(state: Floats, row: int, length: int, newest: int) -> tuple[float, float]:
    """Mean of the closes, weighted with the volumes (NaN where there is none), and the sum of these.

    It is the newest close and the weighted mean of the others' distances from it, so a flat price stays exactly that.
    """
    closes, volumes = WINDOW_HEAD, 2 * WINDOW_HEAD + length
    reference: float = state[row, closes + newest]
    total, volume, place = 0.0, 0.0, newest
    for _ in range(length):
        weight = state[row, volumes + place]
        total += weight * (state[row, closes + place] - reference)
        volume += weight
        place = earlier(place, length, 1)
    return reference + total / volume if volume > 0.0 else math.nan, volume


@kernel
def update(
    state: Floats, series: NDArray[np.int64], bars: Floats, _session: NDArray[np.int32], parameters: Floats, out: Floats
) -> None:
    """Row: the window of closes, that of volumes (window.window_push)."""
    length = int(parameters[0])
    for i in range(len(series)):
        row = series[i]
        window_push(state, row, 0, length, bars[i, CLOSE])
        held, newest = window_push(state, row, WINDOW_HEAD + length, length, bars[i, VOLUME])
        value, _ = volume_weighted(state, row, length, newest)
        out[i, 0] = value if held == length and math.isfinite(value) else math.nan


def explain(before: Floats, bar: Floats, _session: int, parameters: Params) -> Explained:
    """The closes, their volumes, and the mean."""
    length = int(parameters[0])
    lines, _ = window_entered(before, 0, length, float(bar[CLOSE]), "closes")
    more, newest = window_entered(before, WINDOW_HEAD + length, length, float(bar[VOLUME]), "volumes")
    lines += more
    if newest is None:
        return one_value(lines, None)
    value, volume = (float(found) for found in volume_weighted(before, 0, length, newest))
    if not volume > 0.0:
        return one_value([*lines, "nothing has traded in the window: no value"], None)
    lines.append(f"vwma = newest + sum of volume * (close - newest) / {shown(volume)} (sum of volume) = {shown(value)}")
    return one_value(lines, value)


VWMA = Indicator(
    name="vwma",
    title="Volume-weighted moving average",
    group="volume",
    update=update,
    explain=explain,
    parameters=(period(20),),
    state_width=lambda p: 2 * (WINDOW_HEAD + int(p[0])),
    warm_up=lambda p: int(p[0]) - 1,
    reads=("close", "volume"),
    pane="price",
    price_degrees=(1,),
    formula="Σ volume · close / Σ volume of the last `period` bars; null while no volume has traded in them",
    source="the field's definition",
)
