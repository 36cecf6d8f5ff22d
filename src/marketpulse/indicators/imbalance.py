"""Order imbalance at the best prices of the quote at the bar's close (docs/formulas/imbalance.md)."""

import math

import numpy as np
from numpy.typing import NDArray

from marketpulse.compiled import kernel
from marketpulse.indicators.bar_columns import ASK_SIZE, BID_SIZE
from marketpulse.indicators.declaration import Floats, Indicator


@kernel
def update(
    _state: Floats,
    series: NDArray[np.int64],
    bars: Floats,
    _session: NDArray[np.int32],
    _parameters: Floats,
    out: Floats,
) -> None:
    """It remembers nothing. Without sizes on both sides 0 / 0 is no value."""
    for i in range(len(series)):
        bid_size, ask_size = bars[i, BID_SIZE], bars[i, ASK_SIZE]
        value = (bid_size - ask_size) / (bid_size + ask_size)
        out[i, 0] = value if math.isfinite(value) else math.nan


IMBALANCE = Indicator(
    name="imbalance",
    title="Order imbalance at the best prices",
    group="quote",
    update=update,
    state_width=lambda _: 0,
    warm_up=lambda _: 0,
    reads=("bid_size", "ask_size"),
    formula="(bid_size - ask_size) / (bid_size + ask_size)",
    source="the field's definition (Cartea, Jaimungal and Penalva 2015)",
)
