"""Plus directional movement (docs/formulas/plus_dm.md)."""

from functools import partial

from marketpulse.indicators.declaration import Indicator, period
from marketpulse.indicators.directional_movement import MOVEMENT_WIDTH, PLUS, explain_side, of_side

PLUS_DM = Indicator(
    name="plus_dm",
    title="Plus directional movement",
    group="trend",
    update=partial(of_side, PLUS, False),
    explain=partial(explain_side, "plus_dm", PLUS, False),
    parameters=(period(14),),
    state_width=lambda _: MOVEMENT_WIDTH,
    warm_up=lambda p: max(int(p[0]) - 1, 1),
    reads=("high", "low"),
    price_degrees=(1,),
    formula="sum of rises of the high that exceed the fall of the low; from `period` moves on sum - sum / period + new",
    source="TA-Lib PLUS_DM (Wilder 1978)",
)
