"""Mid price of the quote at the bar's close (docs/formulas/mid.md)."""

import math

import numpy as np
from numpy.typing import NDArray

from marketpulse.compiled import kernel
from marketpulse.indicators.arithmetic import of_quote, shown
from marketpulse.indicators.bar_columns import ASK, BID
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
    """It remembers nothing: a bar's value is of its own quote."""
    for i in range(len(series)):
        value = (bars[i, BID] + bars[i, ASK]) / 2.0
        out[i, 0] = value if math.isfinite(value) else math.nan


def explain(_state: Floats, bar: Floats, _session: int, _parameters: Params) -> Explained:
    """`update` for one bar, in words."""
    bid, ask = float(bar[BID]), float(bar[ASK])
    return of_quote("mid", "(bid + ask) / 2", f"({shown(bid)} + {shown(ask)}) / 2", (bid + ask) / 2.0)


MID = Indicator(
    name="mid",
    title="Mid price",
    group="quote",
    update=update,
    explain=explain,
    state_width=lambda _: 0,
    warm_up=lambda _: 0,
    reads=("bid", "ask"),
    pane="price",
    price_degrees=(1,),
    formula="(bid + ask) / 2",
    source="the field's definition",
)
