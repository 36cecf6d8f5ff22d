"""Standard deviation (docs/formulas/stddev.md): the root of `var`."""

from functools import partial

from marketpulse.indicators.declaration import Indicator, period
from marketpulse.indicators.var import VAR, dispersion, explain_dispersion

STDDEV = Indicator(
    name="stddev",
    title="Standard deviation",
    group="statistics",
    update=partial(dispersion, True),
    explain=partial(explain_dispersion, True),
    parameters=(period(5, minimum=2),),
    state_width=VAR.state_width,
    warm_up=VAR.warm_up,
    price_degrees=(1,),
    formula="sqrt(mean of (close - mean)²) of the last `period` closes: the population's",
    source="TA-Lib STDDEV",
)
