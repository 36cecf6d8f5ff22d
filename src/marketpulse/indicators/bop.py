"""Balance of power (docs/formulas/bop.md)."""

import math

import numpy as np
from numpy.typing import NDArray

from marketpulse.compiled import kernel
from marketpulse.indicators.arithmetic import one_value, shown
from marketpulse.indicators.bar_columns import CLOSE, HIGH, LOW, OPEN
from marketpulse.indicators.declaration import Explained, Floats, Indicator, Params


@kernel
def update(
    _state: Floats,
    series: NDArray[np.int64],
    bars: Floats,
    _session: NDArray[np.int32],
    _parameters: Floats,
    out: Floats,
) -> None:
    """It remembers nothing: a bar's value is of its own prices."""
    for i in range(len(series)):
        span = bars[i, HIGH] - bars[i, LOW]
        value = (bars[i, CLOSE] - bars[i, OPEN]) / span if span > 0.0 else 0.0
        out[i, 0] = value if math.isfinite(value) else math.nan


def explain(_state: Floats, bar: Floats, _session: int, _parameters: Params) -> Explained:
    """The bar's body as a share of its range."""
    start, high, low, close = float(bar[OPEN]), float(bar[HIGH]), float(bar[LOW]), float(bar[CLOSE])
    span = high - low
    if not span > 0.0:
        return Explained((f"high = low = {shown(high)}: bop = 0",), (0.0,))
    value = (close - start) / span
    parts = f"({shown(close)} - {shown(start)}) / ({shown(high)} - {shown(low)})"
    line = f"bop = (close - open) / (high - low) = {parts} = {shown(value)}"
    return one_value((line,), value)


BOP = Indicator(
    name="bop",
    title="Balance of power",
    group="momentum",
    update=update,
    explain=explain,
    state_width=lambda _: 0,
    warm_up=lambda _: 0,
    reads=("open", "high", "low", "close"),
    price_degrees=(0,),
    formula="(close - open) / (high - low); 0 when high = low",
    source="TA-Lib BOP (Livshin 2001)",
)
