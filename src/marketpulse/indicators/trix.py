"""Rate of change of a triple exponential average (docs/formulas/trix.md)."""

import math

import numpy as np
from numpy.typing import NDArray

from marketpulse.compiled import kernel
from marketpulse.indicators.arithmetic import ema_step, shown
from marketpulse.indicators.bar_columns import CLOSE
from marketpulse.indicators.declaration import Explained, Floats, Indicator, Params, period
from marketpulse.indicators.delay import DELAY_HEAD, delay_push
from marketpulse.indicators.smoothing import AVERAGE_WIDTH, ema_push

_STAGES = 3
_PREVIOUS = _STAGES * AVERAGE_WIDTH
_WIDTH = _PREVIOUS + DELAY_HEAD + 1


@kernel
def update(
    state: Floats, series: NDArray[np.int64], bars: Floats, _session: NDArray[np.int32], parameters: Floats, out: Floats
) -> None:
    """Row: three averages, each of the one before (smoothing.ema_push), and the last one's previous value."""
    length = int(parameters[0])
    weight = 2.0 / (length + 1)
    for i in range(len(series)):
        row = series[i]
        out[i, 0] = math.nan
        known, value = True, bars[i, CLOSE]
        for stage in range(_STAGES):
            if known:
                known, value = ema_push(state, row, stage * AVERAGE_WIDTH, length, weight, value)
        if known:
            known, previous = delay_push(state, row, _PREVIOUS, 1, value)
            change = 100.0 * ((value - previous) / previous)
            if known and math.isfinite(change):
                out[i, 0] = change


def explain(before: Floats, bar: Floats, _session: int, parameters: Params) -> Explained:
    """The three averages, and how far the last one moved."""
    length, none = int(parameters[0]), (math.nan,)
    value, of, lines = float(bar[CLOSE]), "close", []
    for stage in range(_STAGES):
        name = f"average {stage + 1}"
        more, average = ema_step(before, stage * AVERAGE_WIDTH, length, 2.0 / (length + 1), value, name, of)
        lines += more
        if average is None:
            return Explained(tuple(lines), none)
        value, of = average, name
    known, previous = delay_push(before, 0, _PREVIOUS, 1, value)
    if not known:
        return Explained((*lines, "it is the first: no change yet"), none)
    change = 100.0 * ((value - previous) / previous)
    parts = f"100 * ({shown(value)} - {shown(previous)}) / {shown(previous)}"
    lines.append(f"trix = 100 * ({of} - before) / before = {parts} = {shown(change)}")
    return Explained(tuple(lines), (change if math.isfinite(change) else math.nan,))


TRIX = Indicator(
    name="trix",
    title="Rate of change of a triple exponential average",
    group="momentum",
    update=update,
    explain=explain,
    parameters=(period(30),),
    state_width=lambda _: _WIDTH,
    warm_up=lambda p: 3 * int(p[0]) - 2,
    price_degrees=(0,),
    formula="100 * (e - e before) / e before, e being the ema of the ema of the ema of the close",
    source="TA-Lib TRIX (Hutson 1983)",
)
