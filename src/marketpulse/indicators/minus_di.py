"""Minus directional indicator (docs/formulas/minus_di.md)."""

from functools import partial

from marketpulse.indicators.declaration import Indicator, period
from marketpulse.indicators.directional_movement import MINUS, MOVEMENT_WIDTH, explain_side, of_side

MINUS_DI = Indicator(
    name="minus_di",
    title="Minus directional indicator",
    group="trend",
    update=partial(of_side, MINUS, True),
    explain=partial(explain_side, "minus_di", MINUS, True),
    parameters=(period(14, minimum=2),),
    state_width=lambda _: MOVEMENT_WIDTH,
    warm_up=lambda p: int(p[0]),
    reads=("high", "low", "close"),
    price_degrees=(0,),
    formula="100 * minus_dm / sum of true ranges, smoothed alike; 0 where there was no range",
    source="TA-Lib MINUS_DI (Wilder 1978)",
)
