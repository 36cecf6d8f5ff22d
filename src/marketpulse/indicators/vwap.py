"""Volume-weighted average price of the session (docs/formulas/vwap.md)."""

import math

import numpy as np
from numpy.typing import NDArray

from marketpulse.compiled import kernel
from marketpulse.indicators.bar_columns import NOTIONAL, VOLUME
from marketpulse.indicators.declaration import Floats, Indicator
from marketpulse.indicators.rolling import add

_STARTED = 0  # 1 once there is a session
_SESSION = 1
_NOTIONAL = 2  # sum and its low part
_VOLUME = 4  # sum and its low part
_WIDTH = 6


@kernel
def update(
    state: Floats,
    series: NDArray[np.int64],
    bars: Floats,
    session: NDArray[np.int32],
    _parameters: Floats,
    out: Floats,
) -> None:
    """Row: started, session date, Σ notional, Σ volume (double-double sums, rolling.add)."""
    for i in range(len(series)):
        row = state[series[i]]
        if row[_STARTED] == 0.0 or row[_SESSION] != session[i]:
            row[_STARTED], row[_SESSION] = 1.0, session[i]
            row[_NOTIONAL], row[_NOTIONAL + 1], row[_VOLUME], row[_VOLUME + 1] = 0.0, 0.0, 0.0, 0.0
        notional, notional_low = add(row[_NOTIONAL], row[_NOTIONAL + 1], bars[i, NOTIONAL])
        volume, volume_low = add(row[_VOLUME], row[_VOLUME + 1], bars[i, VOLUME])
        row[_NOTIONAL], row[_NOTIONAL + 1], row[_VOLUME], row[_VOLUME + 1] = (
            notional,
            notional_low,
            volume,
            volume_low,
        )
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
