"""Weighted close price of a bar (docs/formulas/wclprice.md)."""

from functools import partial

from marketpulse.indicators.declaration import Indicator
from marketpulse.indicators.weighted_price import explain_price, weighted_price

_WEIGHTS = (1.0, 1.0, 2.0, 0.0)  # of high, low, close and open

WCLPRICE = Indicator(
    name="wclprice",
    title="Weighted close price",
    group="price",
    update=partial(weighted_price, _WEIGHTS),
    explain=partial(explain_price, _WEIGHTS, "wclprice"),
    state_width=lambda _: 0,
    warm_up=lambda _: 0,
    reads=("high", "low", "close"),
    pane="price",
    price_degrees=(1,),
    formula="(high + low + 2 * close) / 4",
    source="TA-Lib WCLPRICE",
)
