"""Angle of the line of least squares through the closes (docs/formulas/linearreg_angle.md)."""

from functools import partial

from marketpulse.indicators.declaration import Derived, Indicator
from marketpulse.indicators.linearreg import LINEARREG
from marketpulse.indicators.linearreg_slope import LINEARREG_SLOPE
from marketpulse.indicators.regression import ANGLE, angles_of, explain_line, of_line

LINEARREG_ANGLE = Indicator(
    name="linearreg_angle",
    title="Angle of the linear regression",
    group="statistics",
    update=partial(of_line, ANGLE),
    explain=partial(explain_line, ANGLE, "linearreg_angle"),
    parameters=LINEARREG.parameters,
    state_width=LINEARREG.state_width,
    warm_up=LINEARREG.warm_up,
    derived=Derived(LINEARREG_SLOPE, angles_of),
    formula="arctangent of the slope per bar of the line of least squares, in degrees",
    source="TA-Lib LINEARREG_ANGLE",
)
