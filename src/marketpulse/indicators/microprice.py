"""Microprice of the quote at the bar's close (docs/formulas/microprice.md)."""

import math

import numpy as np
from numpy.typing import NDArray

from marketpulse.compiled import kernel
from marketpulse.indicators.bar_columns import ASK, ASK_SIZE, BID, BID_SIZE
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
        value = (bars[i, BID] * ask_size + bars[i, ASK] * bid_size) / (bid_size + ask_size)
        out[i, 0] = value if math.isfinite(value) else math.nan


MICROPRICE = Indicator(
    name="microprice",
    title="Microprice",
    group="quote",
    update=update,
    state_width=lambda _: 0,
    warm_up=lambda _: 0,
    reads=("bid", "bid_size", "ask", "ask_size"),
    pane="price",
    formula="(bid * ask_size + ask * bid_size) / (bid_size + ask_size)",
    source="the size-weighted mid price (Gatheral and Oomen 2010)",
)
