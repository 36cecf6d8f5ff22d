"""Volume-weighted average price of the session (docs/formulas/vwap.md)."""

import math

import numpy as np
from numpy.typing import NDArray

from marketpulse.compiled import kernel
from marketpulse.indicators.bar_columns import NOTIONAL, VOLUME
from marketpulse.indicators.declaration import Floats, Indicator
from marketpulse.indicators.rolling import add

_SESSION = 0
_NOTIONAL = 1  # sum and its low part
_VOLUME = 3  # sum and its low part
_WIDTH = 5


@kernel
def update(
    state: Floats,
    series: NDArray[np.int64],
    bars: Floats,
    session: NDArray[np.int32],
    _parameters: Floats,
    out: Floats,
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


VWAP = Indicator(
    name="vwap",
    title="Volume-weighted average price of the session",
    group="volume",
    update=update,
    state_width=lambda _: _WIDTH,
    warm_up=lambda _: 0,
    reads=("notional", "volume"),
    pane="price",
    formula="Σ price · size / Σ size since the session began; null while no volume has traded",
    source="the field's definition (Berkowitz, Logue and Noser 1988)",
)
