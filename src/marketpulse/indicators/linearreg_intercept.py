"""Start of the line of least squares through the closes (docs/formulas/linearreg_intercept.md)."""

from functools import partial

from marketpulse.indicators.declaration import Indicator
from marketpulse.indicators.linearreg import LINEARREG
from marketpulse.indicators.regression import START, explain_line, of_line

LINEARREG_INTERCEPT = Indicator(
    name="linearreg_intercept",
    title="Start of the linear regression",
    group="statistics",
    update=partial(of_line, START),
    explain=partial(explain_line, START, "linearreg_intercept"),
    parameters=LINEARREG.parameters,
    state_width=LINEARREG.state_width,
    warm_up=LINEARREG.warm_up,
    pane="price",
    price_degrees=(1,),
    formula="value at the oldest bar of the line of least squares through the last `period` closes",
    source="TA-Lib LINEARREG_INTERCEPT",
)
