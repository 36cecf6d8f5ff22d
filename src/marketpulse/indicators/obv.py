"""On-balance volume (docs/formulas/obv.md)."""

import math

import numpy as np
from numpy.typing import NDArray

from marketpulse.compiled import kernel
from marketpulse.indicators.arithmetic import one_value, shown
from marketpulse.indicators.bar_columns import CLOSE, VOLUME
from marketpulse.indicators.declaration import Explained, Floats, Indicator, Params
from marketpulse.indicators.delay import DELAY_HEAD, delay_push
from marketpulse.indicators.running_total import TOTAL_WIDTH, total_push, total_step

_TOTAL = DELAY_HEAD + 1


@kernel
def _signed(known: bool, previous: float, close: float, volume: float) -> float:
    """The volume with the sign of the change; the first bar's as it is."""
    if not known or close > previous:
        return volume
    return -volume if close < previous else 0.0


@kernel
def update(
    state: Floats,
    series: NDArray[np.int64],
    bars: Floats,
    _session: NDArray[np.int32],
    _parameters: Floats,
    out: Floats,
) -> None:
    """Row: previous close (delay.delay_push), Σ signed volume (running_total.total_push)."""
    for i in range(len(series)):
        row = series[i]
        known, previous = delay_push(state, row, 0, 1, bars[i, CLOSE])
        value = total_push(state, row, _TOTAL, _signed(known, previous, bars[i, CLOSE], bars[i, VOLUME]))
        out[i, 0] = value if math.isfinite(value) else math.nan


def explain(before: Floats, bar: Floats, _session: int, _parameters: Params) -> Explained:
    """The bar's volume with the sign of the close's change, and the sum."""
    close, volume = float(bar[CLOSE]), float(bar[VOLUME])
    known, previous = delay_push(before, 0, 0, 1, close)
    term = float(_signed(known, previous, close, volume))
    if known:
        way = "rose" if close > previous else "fell" if close < previous else "stayed"
        line = f"the close {way}, from {shown(previous)} to {shown(close)}: term = {shown(term)}"
    else:
        line = f"close {shown(close)} is the first: term = volume = {shown(term)}"
    said, value = total_step(before, _TOTAL, term, "obv")
    return one_value((line, said), value)


OBV = Indicator(
    name="obv",
    title="On-balance volume",
    group="volume",
    update=update,
    explain=explain,
    state_width=lambda _: _TOTAL + TOTAL_WIDTH,
    warm_up=lambda _: 0,
    reads=("close", "volume"),
    price_degrees=(-1,),
    formula="the first volume, then + volume when the close rises and - volume when it falls",
    source="TA-Lib OBV (Granville 1963)",
)
