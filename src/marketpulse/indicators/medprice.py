"""Median price of a bar (docs/formulas/medprice.md)."""

from functools import partial

from marketpulse.indicators.declaration import Indicator
from marketpulse.indicators.weighted_price import explain_price, weighted_price

_WEIGHTS = (1.0, 1.0, 0.0, 0.0)  # of high, low, close and open

MEDPRICE = Indicator(
    name="medprice",
    title="Median price",
    group="price",
    update=partial(weighted_price, _WEIGHTS),
    explain=partial(explain_price, _WEIGHTS, "medprice"),
    state_width=lambda _: 0,
    warm_up=lambda _: 0,
    reads=("high", "low"),
    pane="price",
    price_degrees=(1,),
    formula="(high + low) / 2",
    source="TA-Lib MEDPRICE",
)
