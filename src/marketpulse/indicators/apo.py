"""Absolute price oscillator (docs/formulas/apo.md)."""

import math

import numpy as np
from numpy.typing import NDArray

from marketpulse.compiled import kernel
from marketpulse.indicators.arithmetic import ema_step, one_value, shown
from marketpulse.indicators.bar_columns import CLOSE
from marketpulse.indicators.declaration import Explained, Floats, Indicator, Params, period
from marketpulse.indicators.smoothing import AVERAGE_WIDTH, ema_push

_SLOW = 0
_FAST = _SLOW + AVERAGE_WIDTH
_WIDTH = _FAST + AVERAGE_WIDTH


@kernel
def averages_push(state: Floats, row: int, fast: int, slow: int, close: float) -> tuple[bool, float, float]:
    """Take a close into the fast and the slow average of a row: whether both have a value, and these."""
    known, slow_value = ema_push(state, row, _SLOW, slow, 2.0 / (slow + 1), close)
    _, fast_value = ema_push(state, row, _FAST, fast, 2.0 / (fast + 1), close)
    return known, fast_value, slow_value


@kernel
def update(
    state: Floats, series: NDArray[np.int64], bars: Floats, _session: NDArray[np.int32], parameters: Floats, out: Floats
) -> None:
    """Row: slow average, fast average (smoothing.ema_push)."""
    fast, slow = int(parameters[0]), int(parameters[1])
    for i in range(len(series)):
        known, fast_value, slow_value = averages_push(state, series[i], fast, slow, bars[i, CLOSE])
        value = fast_value - slow_value
        out[i, 0] = value if known and math.isfinite(value) else math.nan


def averages_step(state: Floats, fast: int, slow: int, close: float) -> tuple[list[str], tuple[float, float] | None]:
    """`averages_push` in words; None before the slow average has a value."""
    lines, slow_value = ema_step(state, _SLOW, slow, 2.0 / (slow + 1), close, f"ema({slow})", "close")
    more, fast_value = ema_step(state, _FAST, fast, 2.0 / (fast + 1), close, f"ema({fast})", "close")
    lines += more
    return lines, None if fast_value is None or slow_value is None else (fast_value, slow_value)


def explain(before: Floats, bar: Floats, _session: int, parameters: Params) -> Explained:
    """The slow and the fast average, and their distance."""
    fast, slow = (int(value) for value in parameters)
    lines, averages = averages_step(before, fast, slow, float(bar[CLOSE]))
    if averages is None:
        return Explained(tuple(lines), (math.nan,))
    value = averages[0] - averages[1]
    lines.append(f"apo = ema({fast}) - ema({slow}) = {shown(averages[0])} - {shown(averages[1])} = {shown(value)}")
    return one_value(lines, value)


def _check(parameters: Params) -> str | None:
    fast, slow = parameters
    if fast >= slow:
        return f"fast must be below slow, found {fast:.0f} and {slow:.0f}"
    return None


APO = Indicator(
    name="apo",
    title="Absolute price oscillator",
    group="momentum",
    update=update,
    explain=explain,
    parameters=(period(12, name="fast", minimum=2), period(26, name="slow", minimum=3)),
    state_width=lambda _: _WIDTH,
    warm_up=lambda p: int(p[1]) - 1,
    check=_check,
    price_degrees=(1,),
    formula="ema(fast) - ema(slow), each from the mean of its first closes",
    source="TA-Lib APO (its default, exponential averages)",
)
