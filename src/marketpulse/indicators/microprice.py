"""Microprice of the quote at the bar's close (docs/formulas/microprice.md)."""

import math

import numpy as np
from numpy.typing import NDArray

from marketpulse.compiled import kernel
from marketpulse.indicators.arithmetic import of_quote, shown
from marketpulse.indicators.bar_columns import ASK, ASK_SIZE, BID, BID_SIZE
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
        value = (bars[i, BID] * ask_size + bars[i, ASK] * bid_size) / (bid_size + ask_size)
        out[i, 0] = value if math.isfinite(value) else math.nan


def explain(_state: Floats, bar: Floats, _session: int, _parameters: Params) -> Explained:
    """`update` for one bar, in words."""
    bid, bid_size, ask, ask_size = (float(bar[i]) for i in (BID, BID_SIZE, ASK, ASK_SIZE))
    sizes = bid_size + ask_size
    value = (bid * ask_size + ask * bid_size) / sizes if sizes else math.nan
    parts = f"({shown(bid)} * {shown(ask_size)} + {shown(ask)} * {shown(bid_size)})"
    numbers = f"{parts} / ({shown(bid_size)} + {shown(ask_size)})"
    return of_quote("microprice", MICROPRICE.formula, numbers, value)


MICROPRICE = Indicator(
    name="microprice",
    title="Microprice",
    group="quote",
    update=update,
    explain=explain,
    state_width=lambda _: 0,
    warm_up=lambda _: 0,
    reads=("bid", "bid_size", "ask", "ask_size"),
    pane="price",
    price_degrees=(1,),
    formula="(bid * ask_size + ask * bid_size) / (bid_size + ask_size)",
    source="the size-weighted mid price (Gatheral and Oomen 2010)",
)
