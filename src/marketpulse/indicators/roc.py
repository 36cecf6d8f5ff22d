"""Rate of change in per cent (docs/formulas/roc.md): `rocp` in another unit."""

from functools import partial

from marketpulse.indicators.declaration import Indicator
from marketpulse.indicators.rocp import ROCP, explain_change, relative_change

ROC = Indicator(
    name="roc",
    title="Rate of change in per cent",
    group="momentum",
    update=partial(relative_change, 100.0),
    explain=partial(explain_change, 100.0, "roc"),
    parameters=ROCP.parameters,
    state_width=ROCP.state_width,
    warm_up=ROCP.warm_up,
    price_degrees=(0,),
    formula="100 * (close - past) / past, past being the close `period` bars ago",
    source="TA-Lib ROC",
)
