"""Slope of the line of least squares through the closes (docs/formulas/linearreg_slope.md)."""

from functools import partial

from marketpulse.indicators.declaration import Indicator
from marketpulse.indicators.linearreg import LINEARREG
from marketpulse.indicators.regression import SLOPE, explain_line, of_line

LINEARREG_SLOPE = Indicator(
    name="linearreg_slope",
    title="Slope of the linear regression",
    group="statistics",
    update=partial(of_line, SLOPE),
    explain=partial(explain_line, SLOPE, "linearreg_slope"),
    parameters=LINEARREG.parameters,
    state_width=LINEARREG.state_width,
    warm_up=LINEARREG.warm_up,
    price_degrees=(1,),
    formula="slope per bar of the line of least squares through the last `period` closes",
    source="TA-Lib LINEARREG_SLOPE",
)
