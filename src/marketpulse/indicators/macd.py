"""Moving average convergence divergence (docs/formulas/macd.md)."""

import math

import numpy as np
from numpy.typing import NDArray

from marketpulse.compiled import kernel
from marketpulse.indicators.arithmetic import ema_step, shown
from marketpulse.indicators.bar_columns import CLOSE
from marketpulse.indicators.declaration import Explained, Floats, Indicator, Params, period
from marketpulse.indicators.smoothing import AVERAGE_WIDTH, ema_push

_SLOW = 0
_FAST = _SLOW + AVERAGE_WIDTH
_SIGNAL = _FAST + AVERAGE_WIDTH
_WIDTH = _SIGNAL + AVERAGE_WIDTH


@kernel
def update(
    state: Floats, series: NDArray[np.int64], bars: Floats, _session: NDArray[np.int32], parameters: Floats, out: Floats
) -> None:
    """Row: slow, fast and signal average (smoothing.ema_push).

    The fast average starts late, so that its first value falls on the bar of the slow one's.
    """
    fast, slow, signal = int(parameters[0]), int(parameters[1]), int(parameters[2])
    fast_weight, slow_weight, signal_weight = 2.0 / (fast + 1), 2.0 / (slow + 1), 2.0 / (signal + 1)
    for i in range(len(series)):
        row = series[i]
        close = bars[i, CLOSE]
        out[i, 0] = out[i, 1] = out[i, 2] = math.nan
        if state[row, _SLOW] < slow - fast:
            ema_push(state, row, _SLOW, slow, slow_weight, close)
            continue
        known, slow_value = ema_push(state, row, _SLOW, slow, slow_weight, close)
        _, fast_value = ema_push(state, row, _FAST, fast, fast_weight, close)
        if known:
            line = fast_value - slow_value
            known, average = ema_push(state, row, _SIGNAL, signal, signal_weight, line)
            if known and math.isfinite(average):
                out[i, 0], out[i, 1], out[i, 2] = line, average, line - average


def explain(before: Floats, bar: Floats, _session: int, parameters: Params) -> Explained:
    """The slow and the fast average, their distance, its average, and what is between these."""
    fast, slow, signal = (int(value) for value in parameters)
    close, none = float(bar[CLOSE]), (math.nan, math.nan, math.nan)
    waits = before[0, _SLOW] < slow - fast
    lines, slow_value = ema_step(before, _SLOW, slow, 2.0 / (slow + 1), close, f"ema({slow})", "close")
    if waits:
        return Explained((*lines, f"ema({fast}) begins {slow - fast} bars later: no value yet"), none)
    more, fast_value = ema_step(before, _FAST, fast, 2.0 / (fast + 1), close, f"ema({fast})", "close")
    lines += more
    if slow_value is None or fast_value is None:
        return Explained(tuple(lines), none)
    line = fast_value - slow_value
    lines.append(f"macd = ema({fast}) - ema({slow}) = {shown(fast_value)} - {shown(slow_value)} = {shown(line)}")
    more, average = ema_step(before, _SIGNAL, signal, 2.0 / (signal + 1), line, "signal", "macd")
    lines += more
    if average is None or not math.isfinite(average):
        return Explained(tuple(lines), none)
    lines.append(f"hist = macd - signal = {shown(line)} - {shown(average)} = {shown(line - average)}")
    return Explained(tuple(lines), (line, average, line - average))


def _check(parameters: Params) -> str | None:
    fast, slow, _ = parameters
    if fast >= slow:
        return f"fast must be below slow, found {fast:.0f} and {slow:.0f}"
    return None


MACD = Indicator(
    name="macd",
    title="Moving average convergence divergence",
    group="momentum",
    update=update,
    explain=explain,
    parameters=(period(12, name="fast", minimum=2), period(26, name="slow", minimum=3), period(9, name="signal")),
    outputs=("", "signal", "hist"),
    state_width=lambda _: _WIDTH,
    warm_up=lambda p: int(p[1]) + int(p[2]) - 2,
    check=_check,
    price_degrees=(1, 1, 1),
    formula="macd = ema(fast) - ema(slow); signal = ema of macd; hist = macd - signal",
    source="TA-Lib MACD",
)
