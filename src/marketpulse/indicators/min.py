"""Lowest close (docs/formulas/min.md): `max` below the zero line."""

from functools import partial

from marketpulse.indicators.declaration import Indicator
from marketpulse.indicators.extremes import lowest_step
from marketpulse.indicators.max import MAX, explain_extreme, extreme_close

MIN = Indicator(
    name="min",
    title="Lowest close",
    group="statistics",
    update=partial(extreme_close, -1.0),
    explain=partial(explain_extreme, lowest_step),
    parameters=MAX.parameters,
    state_width=MAX.state_width,
    warm_up=MAX.warm_up,
    pane="price",
    price_degrees=(1,),
    formula="lowest of the last `period` closes",
    source="TA-Lib MIN",
)
