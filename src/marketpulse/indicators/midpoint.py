"""Middle of the range of closes over some bars (docs/formulas/midpoint.md): `midprice` over another column."""

from functools import partial

from marketpulse.indicators.bar_columns import CLOSE
from marketpulse.indicators.declaration import Indicator
from marketpulse.indicators.midprice import MIDPRICE, explain_middle, middle_of

MIDPOINT = Indicator(
    name="midpoint",
    title="Middle of the range of closes",
    group="trend",
    update=partial(middle_of, CLOSE, CLOSE),
    explain=partial(explain_middle, "midpoint", (CLOSE, CLOSE), ("closes", "closes")),
    parameters=MIDPRICE.parameters,
    state_width=MIDPRICE.state_width,
    warm_up=MIDPRICE.warm_up,
    pane="price",
    price_degrees=(1,),
    formula="(highest close + lowest close) / 2 of the last `period` bars",
    source="TA-Lib MIDPOINT",
)
