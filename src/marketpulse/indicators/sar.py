"""Parabolic stop and reverse (docs/formulas/sar.md)."""

import math

import numpy as np
from numpy.typing import NDArray

from marketpulse.compiled import kernel
from marketpulse.indicators.arithmetic import one_value, shown
from marketpulse.indicators.bar_columns import HIGH, LOW
from marketpulse.indicators.declaration import Explained, Floats, Indicator, Parameter, Params

_BARS = 0  # bars seen, up to 2
_HIGH = 1
_LOW = 2
_SIDE = 3  # 1 while the stop is below the price, -1 while it is above
_STOP = 4  # that of the next bar
_EXTREME = 5  # highest high, or lowest low, since the last turn
_FACTOR = 6
_WIDTH = 7


@kernel
def begin(state: Floats, row: int, high: float, low: float, step: float) -> None:
    """The second bar gives the side: down only where its low fell further than its high rose."""
    fall, rise = state[row, _LOW] - low, high - state[row, _HIGH]
    falls = fall > 0.0 and fall > rise
    state[row, _SIDE] = -1.0 if falls else 1.0
    state[row, _STOP] = state[row, _HIGH] if falls else state[row, _LOW]
    state[row, _EXTREME] = low if falls else high
    state[row, _FACTOR] = step
    state[row, _HIGH], state[row, _LOW] = high, low


@kernel
def advance(state: Floats, row: int, high: float, low: float, step: float, limit: float) -> float:
    """The stop of this bar; the state moves on to the next one's.

    Written for a stop below the price: while it is above, all prices are taken with the other sign.
    """
    side: float = state[row, _SIDE]
    ahead, behind = (high, low) if side > 0.0 else (-low, -high)
    ahead_before, behind_before = (
        (state[row, _HIGH], state[row, _LOW]) if side > 0.0 else (-state[row, _LOW], -state[row, _HIGH])
    )
    value: float = side * state[row, _STOP]
    extreme, factor = side * state[row, _EXTREME], state[row, _FACTOR]
    if behind <= value:
        value = max(extreme, ahead_before, ahead)
        extreme, factor = behind, step
        stop = max(value + factor * (extreme - value), ahead_before, ahead)
        state[row, _SIDE] = -side
    else:
        if ahead > extreme:
            extreme, factor = ahead, min(factor + step, limit)
        stop = min(value + factor * (extreme - value), behind_before, behind)
    state[row, _STOP], state[row, _EXTREME], state[row, _FACTOR] = side * stop, side * extreme, factor
    state[row, _HIGH], state[row, _LOW] = high, low
    return side * value


@kernel
def sar_push(state: Floats, row: int, high: float, low: float, step: float, limit: float) -> float:
    """Take a bar; returns its stop, NaN for the first bar."""
    if state[row, _BARS] == 0.0:
        state[row, _BARS], state[row, _HIGH], state[row, _LOW] = 1.0, high, low
        return math.nan
    if state[row, _BARS] == 1.0:
        state[row, _BARS] = 2.0
        begin(state, row, high, low, step)
    return advance(state, row, high, low, step, limit)


@kernel
def update(
    state: Floats, series: NDArray[np.int64], bars: Floats, _session: NDArray[np.int32], parameters: Floats, out: Floats
) -> None:
    """Row: bars seen, high and low before, side, stop, extreme, factor."""
    limit = parameters[1]
    step = min(parameters[0], limit)
    for i in range(len(series)):
        value = sar_push(state, series[i], bars[i, HIGH], bars[i, LOW], step, limit)
        out[i, 0] = value if math.isfinite(value) else math.nan


def explain(before: Floats, bar: Floats, _session: int, parameters: Params) -> Explained:
    """Where the stop stood, whether the bar reached it, and where it goes from here."""
    high, low, limit = float(bar[HIGH]), float(bar[LOW]), float(parameters[1])
    step = min(float(parameters[0]), limit)
    if before[0, _BARS] == 0.0:
        return one_value(["the first bar has none before it: no value yet"], None)
    lines = []
    if before[0, _BARS] == 1.0:
        after = before.copy()
        begin(after, 0, high, low, step)
        lines.append(
            f"the second bar begins {'up' if after[0, _SIDE] > 0.0 else 'down'}, with a stop at {shown(after[0, _STOP])}"
        )
    else:
        lines.append(
            f"the trend before is {'up' if before[0, _SIDE] > 0.0 else 'down'}, its extreme {shown(before[0, _EXTREME])}, "
            f"its factor {shown(before[0, _FACTOR])}, the stop {shown(before[0, _STOP])}"
        )
    value = float(sar_push(before, 0, high, low, step, limit))
    side, stop = float(before[0, _SIDE]), float(before[0, _STOP])
    lines.append(f"high {shown(high)}, low {shown(low)}: the trend is {'up' if side > 0.0 else 'down'} now")
    lines.append(
        f"next stop = {shown(stop)}, by extreme {shown(before[0, _EXTREME])} and factor {shown(before[0, _FACTOR])}"
    )
    return one_value([*lines, f"sar = {shown(value)}"], value)


SAR = Indicator(
    name="sar",
    title="Parabolic stop and reverse",
    group="trend",
    update=update,
    explain=explain,
    parameters=(Parameter("acceleration", 0.02, "float", 0, 1), Parameter("maximum", 0.2, "float", 0, 1)),
    state_width=lambda _: _WIDTH,
    warm_up=lambda _: 1,
    reads=("high", "low"),
    pane="price",
    price_degrees=(1,),
    formula="sar += factor * (extreme - sar), factor = acceleration for each new extreme, at most maximum; turns where it is reached",
    source="TA-Lib SAR (Wilder 1978)",
)
