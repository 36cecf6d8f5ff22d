"""Relative strength index (docs/formulas/rsi.md)."""

import math

import numpy as np
from numpy.typing import NDArray

from marketpulse.compiled import kernel
from marketpulse.indicators.arithmetic import shown, wilder_step
from marketpulse.indicators.bar_columns import CLOSE
from marketpulse.indicators.declaration import Explained, Floats, Indicator, Params, period
from marketpulse.indicators.smoothing import AVERAGE_WIDTH, wilder_push

_STARTED = 0  # 1 once there is a previous close
_PREVIOUS = 1
_GAIN = 2
_LOSS = _GAIN + AVERAGE_WIDTH
_WIDTH = _LOSS + AVERAGE_WIDTH


@kernel
def update(
    state: Floats,
    series: NDArray[np.int64],
    bars: Floats,
    _session: NDArray[np.int32],
    parameters: Floats,
    out: Floats,
) -> None:
    """Row: started, previous close, average gain, average loss (smoothing.wilder_push)."""
    length = int(parameters[0])
    for i in range(len(series)):
        row = series[i]
        close = bars[i, CLOSE]
        out[i, 0] = math.nan
        if state[row, _STARTED] != 0.0:
            change = close - state[row, _PREVIOUS]
            _, gain = wilder_push(state, row, _GAIN, length, max(change, 0.0))
            known, loss = wilder_push(state, row, _LOSS, length, max(-change, 0.0))
            moved = gain + loss
            value = 100.0 * (gain / moved) if moved > 0.0 else 0.0
            if known and math.isfinite(moved):
                out[i, 0] = value
        state[row, _STARTED] = 1.0
        state[row, _PREVIOUS] = close


def explain(before: Floats, bar: Floats, _session: int, parameters: Params) -> Explained:
    """The change since the close before, the averages of rises and falls, and the rises' share."""
    length, close, none = int(parameters[0]), float(bar[CLOSE]), (math.nan,)
    if before[0, _STARTED] == 0.0:
        return Explained((f"close {shown(close)} is the first: no change yet",), none)
    previous = float(before[0, _PREVIOUS])
    change = close - previous
    lines = [f"change = close - close before = {shown(close)} - {shown(previous)} = {shown(change)}"]
    more, gain = wilder_step(before, _GAIN, length, max(change, 0.0), "gain", "rise")
    lines += more
    more, loss = wilder_step(before, _LOSS, length, max(-change, 0.0), "loss", "fall")
    lines += more
    if gain is None or loss is None or not math.isfinite(gain + loss):
        return Explained(tuple(lines), none)
    moved = gain + loss
    if not moved > 0.0:
        return Explained((*lines, "nothing moved: rsi = 0"), (0.0,))
    value = 100.0 * (gain / moved)
    lines.append(f"rsi = 100 * gain / (gain + loss) = 100 * {shown(gain)} / {shown(moved)} = {shown(value)}")
    return Explained(tuple(lines), (value,))


RSI = Indicator(
    name="rsi",
    title="Relative strength index",
    group="momentum",
    update=update,
    explain=explain,
    parameters=(period(14, minimum=2),),
    state_width=lambda _: _WIDTH,
    warm_up=lambda p: int(p[0]),
    formula="100 * gain / (gain + loss), Wilder averages of the rises and of the falls; 0 when nothing moved",
    source="TA-Lib RSI (Wilder 1978)",
)
