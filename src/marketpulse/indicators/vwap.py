"""Volume-weighted average price of the session (docs/formulas/vwap.md)."""

import math

import numpy as np
from numpy.typing import NDArray

from marketpulse.compiled import kernel
from marketpulse.indicators.arithmetic import shown
from marketpulse.indicators.bar_columns import NOTIONAL, VOLUME
from marketpulse.indicators.declaration import Explained, Floats, Indicator, Params
from marketpulse.indicators.rolling import add

_SESSION = 0
_NOTIONAL = 1  # sum and its low part
_VOLUME = 3  # sum and its low part
_WIDTH = 5


@kernel
def update(
    state: Floats, series: NDArray[np.int64], bars: Floats, session: NDArray[np.int32], _parameters: Floats, out: Floats
) -> None:
    """Row: session date, Σ notional, Σ volume (double-double sums, rolling.add)."""
    for i in range(len(series)):
        row = series[i]
        if state[row, _SESSION] != session[i]:
            state[row, :] = 0.0
            state[row, _SESSION] = session[i]
        notional, low = add(state[row, _NOTIONAL], state[row, _NOTIONAL + 1], bars[i, NOTIONAL])
        state[row, _NOTIONAL], state[row, _NOTIONAL + 1] = notional, low
        volume, low = add(state[row, _VOLUME], state[row, _VOLUME + 1], bars[i, VOLUME])
        state[row, _VOLUME], state[row, _VOLUME + 1] = volume, low
        value = notional / volume
        out[i, 0] = value if volume > 0.0 and math.isfinite(value) else math.nan


def explain(before: Floats, bar: Floats, session: int, _parameters: Params) -> Explained:
    """The session's sums with this bar, and the one divided by the other."""
    lines = []
    if before[0, _SESSION] != session:
        before[0, :] = 0.0
        lines.append("a new session begins: its sums begin at 0")
    sums = []
    for name, at, term in (("price * size", _NOTIONAL, bar[NOTIONAL]), ("size", _VOLUME, bar[VOLUME])):
        total, low = add(before[0, at], before[0, at + 1], term)
        lines.append(f"sum of {name} = {shown(before[0, at])} + {shown(term)} (this bar) = {shown(total)}")
        if low:
            lines[-1] += f", and {shown(low)} that rounding took away"
        sums.append(float(total))
    notional, volume = sums
    if not volume > 0.0 or not math.isfinite(notional / volume):
        return Explained((*lines, "nothing has traded in the session: no value"), (math.nan,))
    value = notional / volume
    lines.append(f"vwap = {shown(notional)} / {shown(volume)} = {shown(value)}")
    return Explained(tuple(lines), (value,))


VWAP = Indicator(
    name="vwap",
    title="Volume-weighted average price of the session",
    group="volume",
    update=update,
    explain=explain,
    state_width=lambda _: _WIDTH,
    warm_up=lambda _: 0,
    reads=("notional", "volume"),
    pane="price",
    price_degrees=(1,),
    formula="Σ price · size / Σ size since the session began; null while no volume has traded",
    source="the field's definition (Berkowitz, Logue and Noser 1988)",
)
