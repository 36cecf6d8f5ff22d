"""Triangular moving average of the close (docs/formulas/trima.md): `wma` with other weights."""

from functools import partial

from marketpulse.indicators.declaration import Indicator
from marketpulse.indicators.weighting import TRIANGULAR, explain_weighted, weighted_average
from marketpulse.indicators.wma import WMA

TRIMA = Indicator(
    name="trima",
    title="Triangular moving average",
    group="trend",
    update=partial(weighted_average, TRIANGULAR),
    explain=partial(explain_weighted, TRIANGULAR, "trima"),
    parameters=WMA.parameters,
    state_width=WMA.state_width,
    warm_up=WMA.warm_up,
    pane="price",
    price_degrees=(1,),
    formula="mean of the last `period` closes, weighted 1, 2 … 2, 1: the middle of the window weighs most",
    source="TA-Lib TRIMA",
)
