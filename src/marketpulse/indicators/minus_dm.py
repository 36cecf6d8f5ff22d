"""Minus directional movement (docs/formulas/minus_dm.md)."""

from functools import partial

from marketpulse.indicators.declaration import Indicator, period
from marketpulse.indicators.directional_movement import MINUS, MOVEMENT_WIDTH, explain_side, of_side

MINUS_DM = Indicator(
    name="minus_dm",
    title="Minus directional movement",
    group="trend",
    update=partial(of_side, MINUS, False),
    explain=partial(explain_side, "minus_dm", MINUS, False),
    parameters=(period(14),),
    state_width=lambda _: MOVEMENT_WIDTH,
    warm_up=lambda p: max(int(p[0]) - 1, 1),
    reads=("high", "low"),
    price_degrees=(1,),
    formula="sum of falls of the low that exceed the rise of the high; from `period` moves on sum - sum / period + new",
    source="TA-Lib MINUS_DM (Wilder 1978)",
)
