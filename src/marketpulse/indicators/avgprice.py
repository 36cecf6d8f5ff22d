"""Average price of a bar (docs/formulas/avgprice.md)."""

from functools import partial

from marketpulse.indicators.declaration import Indicator
from marketpulse.indicators.weighted_price import explain_price, weighted_price

_WEIGHTS = (1.0, 1.0, 1.0, 1.0)  # of high, low, close and open

AVGPRICE = Indicator(
    name="avgprice",
    title="Average price",
    group="price",
    update=partial(weighted_price, _WEIGHTS),
    explain=partial(explain_price, _WEIGHTS, "avgprice"),
    state_width=lambda _: 0,
    warm_up=lambda _: 0,
    reads=("open", "high", "low", "close"),
    pane="price",
    price_degrees=(1,),
    formula="(open + high + low + close) / 4",
    source="TA-Lib AVGPRICE",
)
