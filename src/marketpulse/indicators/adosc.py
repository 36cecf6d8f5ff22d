"""Chaikin oscillator (docs/formulas/adosc.md)."""

import math

import numpy as np
from numpy.typing import NDArray

from marketpulse.compiled import kernel
from marketpulse.indicators.arithmetic import shown
from marketpulse.indicators.bar_columns import CLOSE, HIGH, LOW, VOLUME
from marketpulse.indicators.declaration import Explained, Floats, Indicator, Params, period
from marketpulse.indicators.money_flow import money_flow_step, money_flow_volume

_SEEN = 0
_FAST = 1
_SLOW = 2
_WIDTH = 3


@kernel
def update(
    state: Floats, series: NDArray[np.int64], bars: Floats, _session: NDArray[np.int32], parameters: Floats, out: Floats
) -> None:
    """Row: bars seen (up to `slow`), how far the fast and the slow average lie below the line.

    A line less its average needs no level: with each bar's flow it moves as (distance + flow) * (1 - weight).
    """
    fast, slow = int(parameters[0]), int(parameters[1])
    for i in range(len(series)):
        row = series[i]
        out[i, 0] = math.nan
        flow = money_flow_volume(bars[i, HIGH], bars[i, LOW], bars[i, CLOSE], bars[i, VOLUME])
        if state[row, _SEEN] > 0.0:
            state[row, _FAST] = (state[row, _FAST] + flow) * (1.0 - 2.0 / (fast + 1))
            state[row, _SLOW] = (state[row, _SLOW] + flow) * (1.0 - 2.0 / (slow + 1))
        state[row, _SEEN] = min(state[row, _SEEN] + 1.0, slow)
        value = state[row, _SLOW] - state[row, _FAST]
        if state[row, _SEEN] >= slow and math.isfinite(value):
            out[i, 0] = value


def explain(before: Floats, bar: Floats, _session: int, parameters: Params) -> Explained:
    """The bar's money flow volume, and how far the line then is above its two averages."""
    fast, slow = (int(value) for value in parameters)
    line, flow = money_flow_step(float(bar[HIGH]), float(bar[LOW]), float(bar[CLOSE]), float(bar[VOLUME]))
    seen, lines = float(before[0, _SEEN]), [line]
    distances = {_FAST: 0.0, _SLOW: 0.0}
    if seen > 0.0:
        for at, length in ((_FAST, fast), (_SLOW, slow)):
            distance, weight = float(before[0, at]), 2.0 / (length + 1)
            distances[at] = (distance + flow) * (1.0 - weight)
            parts = f"({shown(distance)} + {shown(flow)}) * (1 - {shown(weight)}) = {shown(distances[at])}"
            lines.append(f"line - ema({length}) = (before + flow) * (1 - 2 / ({length} + 1)) = {parts}")
    else:
        lines.append("it is the first: both averages begin on the line")
    value = distances[_SLOW] - distances[_FAST]
    if seen + 1.0 < slow or not math.isfinite(value):
        return Explained((*lines, f"bar {seen + 1:.0f} of {slow} that are needed: no value yet"), (math.nan,))
    parts = f"{shown(distances[_SLOW])} - {shown(distances[_FAST])}"
    lines.append(f"adosc = (line - ema({slow})) - (line - ema({fast})) = {parts} = {shown(value)}")
    return Explained(tuple(lines), (value,))


def _check(parameters: Params) -> str | None:
    fast, slow = parameters
    if fast >= slow:
        return f"fast must be below slow, found {fast:.0f} and {slow:.0f}"
    return None


ADOSC = Indicator(
    name="adosc",
    title="Chaikin oscillator",
    group="volume",
    update=update,
    explain=explain,
    parameters=(period(3, name="fast", minimum=2), period(10, name="slow", minimum=3)),
    state_width=lambda _: _WIDTH,
    warm_up=lambda p: int(p[1]) - 1,
    reads=("high", "low", "close", "volume"),
    check=_check,
    price_degrees=(-1,),
    formula="ema(fast) - ema(slow) of the accumulation/distribution line, both from its first value",
    source="TA-Lib ADOSC (Chaikin)",
)
