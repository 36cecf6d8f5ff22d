"""End of the line of least squares through the closes (docs/formulas/linearreg.md)."""

from functools import partial

from marketpulse.indicators.declaration import Indicator, period
from marketpulse.indicators.regression import END, explain_line, of_line
from marketpulse.indicators.window import WINDOW_HEAD

LINEARREG = Indicator(
    name="linearreg",
    title="Linear regression",
    group="statistics",
    update=partial(of_line, END),
    explain=partial(explain_line, END, "linearreg"),
    parameters=(period(14, minimum=2),),
    state_width=lambda p: WINDOW_HEAD + int(p[0]),
    warm_up=lambda p: int(p[0]) - 1,
    pane="price",
    price_degrees=(1,),
    formula="value at the newest bar of the line of least squares through the last `period` closes",
    source="TA-Lib LINEARREG",
)
