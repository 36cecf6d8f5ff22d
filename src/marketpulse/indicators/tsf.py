"""Line of least squares through the closes, one bar on (docs/formulas/tsf.md)."""

from functools import partial

from marketpulse.indicators.declaration import Indicator
from marketpulse.indicators.linearreg import LINEARREG
from marketpulse.indicators.regression import NEXT, explain_line, of_line

TSF = Indicator(
    name="tsf",
    title="Time series forecast",
    group="statistics",
    update=partial(of_line, NEXT),
    explain=partial(explain_line, NEXT, "tsf"),
    parameters=LINEARREG.parameters,
    state_width=LINEARREG.state_width,
    warm_up=LINEARREG.warm_up,
    pane="price",
    price_degrees=(1,),
    formula="value at the bar to come of the line of least squares through the last `period` closes",
    source="TA-Lib TSF",
)
