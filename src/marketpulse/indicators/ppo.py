"""Percentage price oscillator (docs/formulas/ppo.md)."""

import math

import numpy as np
from numpy.typing import NDArray

from marketpulse.compiled import kernel
from marketpulse.indicators.apo import APO, averages_push, averages_step
from marketpulse.indicators.arithmetic import one_value, shown
from marketpulse.indicators.bar_columns import CLOSE
from marketpulse.indicators.declaration import Explained, Floats, Indicator, Params


@kernel
def update(
    state: Floats, series: NDArray[np.int64], bars: Floats, _session: NDArray[np.int32], parameters: Floats, out: Floats
) -> None:
    """Row: as that of `apo`."""
    fast, slow = int(parameters[0]), int(parameters[1])
    for i in range(len(series)):
        known, fast_value, slow_value = averages_push(state, series[i], fast, slow, bars[i, CLOSE])
        value = 100.0 * ((fast_value - slow_value) / slow_value)
        out[i, 0] = value if known and math.isfinite(value) else math.nan


def explain(before: Floats, bar: Floats, _session: int, parameters: Params) -> Explained:
    """The slow and the fast average, and their distance as a share of the slow one."""
    fast, slow = (int(value) for value in parameters)
    lines, averages = averages_step(before, fast, slow, float(bar[CLOSE]))
    if averages is None:
        return Explained(tuple(lines), (math.nan,))
    fast_value, slow_value = averages
    value = 100.0 * ((fast_value - slow_value) / slow_value)
    parts = f"100 * ({shown(fast_value)} - {shown(slow_value)}) / {shown(slow_value)}"
    lines.append(f"ppo = 100 * (ema({fast}) - ema({slow})) / ema({slow}) = {parts} = {shown(value)}")
    return one_value(lines, value)


PPO = Indicator(
    name="ppo",
    title="Percentage price oscillator",
    group="momentum",
    update=update,
    explain=explain,
    parameters=APO.parameters,
    state_width=APO.state_width,
    warm_up=APO.warm_up,
    check=APO.check,
    price_degrees=(0,),
    formula="100 * (ema(fast) - ema(slow)) / ema(slow), each from the mean of its first closes",
    source="TA-Lib PPO (its default, exponential averages)",
)
