"""Force index (docs/formulas/force_index.md)."""

import math

import numpy as np
from numpy.typing import NDArray

from marketpulse.compiled import kernel
from marketpulse.indicators.arithmetic import ema_step, shown
from marketpulse.indicators.bar_columns import CLOSE, VOLUME
from marketpulse.indicators.declaration import Explained, Floats, Indicator, Params, period
from marketpulse.indicators.delay import DELAY_HEAD, delay_push
from marketpulse.indicators.smoothing import AVERAGE_WIDTH, ema_push

_FORCE = DELAY_HEAD + 1


@kernel
def update(
    state: Floats, series: NDArray[np.int64], bars: Floats, _session: NDArray[np.int32], parameters: Floats, out: Floats
) -> None:
    """Row: previous close (delay.delay_push), the average of the forces (smoothing.ema_push)."""
    length = int(parameters[0])
    weight = 2.0 / (length + 1)
    for i in range(len(series)):
        row = series[i]
        out[i, 0] = math.nan
        started, previous = delay_push(state, row, 0, 1, bars[i, CLOSE])
        if started:
            force = (bars[i, CLOSE] - previous) * bars[i, VOLUME]
            known, value = ema_push(state, row, _FORCE, length, weight, force)
            if known and math.isfinite(value):
                out[i, 0] = value


def explain(before: Floats, bar: Floats, _session: int, parameters: Params) -> Explained:
    """The close's change times the volume, and the average of that."""
    length, close, volume, none = int(parameters[0]), float(bar[CLOSE]), float(bar[VOLUME]), (math.nan,)
    started, previous = delay_push(before, 0, 0, 1, close)
    if not started:
        return Explained((f"close {shown(close)} is the first: no change yet",), none)
    force = (close - previous) * volume
    parts = f"({shown(close)} - {shown(previous)}) * {shown(volume)}"
    line = f"force = (close - close before) * volume = {parts} = {shown(force)}"
    more, value = ema_step(before, _FORCE, length, 2.0 / (length + 1), force, "force_index", "force")
    return Explained((line, *more), (value,) if value is not None and math.isfinite(value) else none)


FORCE_INDEX = Indicator(
    name="force_index",
    title="Force index",
    group="volume",
    update=update,
    explain=explain,
    parameters=(period(13),),
    state_width=lambda _: _FORCE + AVERAGE_WIDTH,
    warm_up=lambda p: int(p[0]),
    reads=("close", "volume"),
    price_degrees=(0,),
    formula="ema of (close - previous close) * volume, from the mean of its first `period` values",
    source="Elder 1993",
)
