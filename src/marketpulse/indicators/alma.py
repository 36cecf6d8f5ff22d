"""Arnaud Legoux moving average of the close (docs/formulas/alma.md): `wma` with other weights."""

from functools import partial

from marketpulse.indicators.declaration import Indicator, Parameter, period
from marketpulse.indicators.weighting import GAUSSIAN, explain_weighted, weighted_average
from marketpulse.indicators.wma import WMA

ALMA = Indicator(
    name="alma",
    title="Arnaud Legoux moving average",
    group="trend",
    update=partial(weighted_average, GAUSSIAN),
    explain=partial(explain_weighted, GAUSSIAN, "alma"),
    parameters=(period(9), Parameter("offset", 0.85, "float", 0, 1), Parameter("sigma", 6, "float", 1, 30)),
    state_width=WMA.state_width,
    warm_up=WMA.warm_up,
    pane="price",
    price_degrees=(1,),
    formula="mean of the last `period` closes, weighted exp(-(i - offset * (period - 1))² / (2 * (period / sigma)²))",
    source="Legoux and Kouzis-Loukas 2009",
)
