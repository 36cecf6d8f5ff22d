"""Weighted moving average of the close (docs/formulas/wma.md)."""

from functools import partial

from marketpulse.indicators.declaration import Indicator, period
from marketpulse.indicators.weighting import LINEAR, explain_weighted, weighted_average
from marketpulse.indicators.window import WINDOW_HEAD

WMA = Indicator(
    name="wma",
    title="Weighted moving average",
    group="trend",
    update=partial(weighted_average, LINEAR),
    explain=partial(explain_weighted, LINEAR, "wma"),
    parameters=(period(30),),
    state_width=lambda p: WINDOW_HEAD + int(p[0]),
    warm_up=lambda p: int(p[0]) - 1,
    pane="price",
    price_degrees=(1,),
    formula="mean of the last `period` closes, weighted 1, 2 … period from the oldest to the newest",
    source="TA-Lib WMA",
)
