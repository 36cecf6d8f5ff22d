"""Order imbalance at the best prices of the quote at the bar's close (docs/formulas/imbalance.md)."""

import math

import numpy as np
from numpy.typing import NDArray

from marketpulse.compiled import kernel
from marketpulse.indicators.arithmetic import of_quote, shown
from marketpulse.indicators.bar_columns import ASK_SIZE, BID_SIZE
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
    """It remembers nothing. Without sizes on both sides 0 / 0 is no value."""
    for i in range(len(series)):
        bid_size, ask_size = bars[i, BID_SIZE], bars[i, ASK_SIZE]
        value = (bid_size - ask_size) / (bid_size + ask_size)
        out[i, 0] = value if math.isfinite(value) else math.nan


def explain(_state: Floats, bar: Floats, _session: int, _parameters: Params) -> Explained:
    """`update` for one bar, in words."""
    bid_size, ask_size = float(bar[BID_SIZE]), float(bar[ASK_SIZE])
    sizes = bid_size + ask_size
    value = (bid_size - ask_size) / sizes if sizes else math.nan
    parts = f"({shown(bid_size)} - {shown(ask_size)}) / ({shown(bid_size)} + {shown(ask_size)})"
    return of_quote("imbalance", IMBALANCE.formula, parts, value)


IMBALANCE = Indicator(
    name="imbalance",
    title="Order imbalance at the best prices",
    group="quote",
    update=update,
    explain=explain,
    state_width=lambda _: 0,
    warm_up=lambda _: 0,
    reads=("bid_size", "ask_size"),
    price_degrees=(0,),
    formula="(bid_size - ask_size) / (bid_size + ask_size)",
    source="the field's definition (Cartea, Jaimungal and Penalva 2015)",
)
