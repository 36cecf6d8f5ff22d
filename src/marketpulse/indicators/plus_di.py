"""Plus directional indicator (docs/formulas/plus_di.md)."""

from functools import partial

from marketpulse.indicators.declaration import Indicator, period
from marketpulse.indicators.directional_movement import MOVEMENT_WIDTH, PLUS, explain_side, of_side

PLUS_DI = Indicator(
    name="plus_di",
    title="Plus directional indicator",
    group="trend",
    update=partial(of_side, PLUS, True),
    explain=partial(explain_side, "plus_di", PLUS, True),
    parameters=(period(14, minimum=2),),
    state_width=lambda _: MOVEMENT_WIDTH,
    warm_up=lambda p: int(p[0]),
    reads=("high", "low", "close"),
    price_degrees=(0,),
    formula="100 * plus_dm / sum of true ranges, smoothed alike; 0 where there was no range",
    source="TA-Lib PLUS_DI (Wilder 1978)",
)
