"""Accumulation/distribution line (docs/formulas/ad.md)."""

import math

import numpy as np
from numpy.typing import NDArray

from marketpulse.compiled import kernel
from marketpulse.indicators.arithmetic import one_value
from marketpulse.indicators.bar_columns import CLOSE, HIGH, LOW, VOLUME
from marketpulse.indicators.declaration import Explained, Floats, Indicator, Params
from marketpulse.indicators.money_flow import money_flow_step, money_flow_volume
from marketpulse.indicators.running_total import TOTAL_WIDTH, total_push, total_step


@kernel
def update(
    state: Floats,
    series: NDArray[np.int64],
    bars: Floats,
    _session: NDArray[np.int32],
    _parameters: Floats,
    out: Floats,
) -> None:
    """Row: Σ money flow volume (running_total.total_push)."""
    for i in range(len(series)):
        term = money_flow_volume(bars[i, HIGH], bars[i, LOW], bars[i, CLOSE], bars[i, VOLUME])
        value = total_push(state, series[i], 0, term)
        out[i, 0] = value if math.isfinite(value) else math.nan


def explain(before: Floats, bar: Floats, _session: int, _parameters: Params) -> Explained:
    """The bar's money flow volume, and the sum."""
    line, term = money_flow_step(float(bar[HIGH]), float(bar[LOW]), float(bar[CLOSE]), float(bar[VOLUME]))
    said, value = total_step(before, 0, term, "ad")
    return one_value((line, said), value)


AD = Indicator(
    name="ad",
    title="Accumulation/distribution line",
    group="volume",
    update=update,
    explain=explain,
    state_width=lambda _: TOTAL_WIDTH,
    warm_up=lambda _: 0,
    reads=("high", "low", "close", "volume"),
    price_degrees=(-1,),
    formula="Σ ((close - low) - (high - close)) / (high - low) * volume; a bar with high = low adds 0",
    source="TA-Lib AD (Chaikin)",
)
