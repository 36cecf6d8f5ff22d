"""Typical price of a bar (docs/formulas/typprice.md)."""

from functools import partial

from marketpulse.indicators.declaration import Indicator
from marketpulse.indicators.weighted_price import explain_price, weighted_price

_WEIGHTS = (1.0, 1.0, 1.0, 0.0)  # of high, low, close and open

TYPPRICE = Indicator(
    name="typprice",
    title="Typical price",
    group="price",
    update=partial(weighted_price, _WEIGHTS),
    explain=partial(explain_price, _WEIGHTS, "typprice"),
    state_width=lambda _: 0,
    warm_up=lambda _: 0,
    reads=("high", "low", "close"),
    pane="price",
    price_degrees=(1,),
    formula="(high + low + close) / 3",
    source="TA-Lib TYPPRICE",
)
