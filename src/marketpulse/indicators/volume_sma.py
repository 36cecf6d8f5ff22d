"""Simple moving average of the volume (docs/formulas/volume_sma.md): `sma` over another column."""

from functools import partial

from marketpulse.indicators.bar_columns import VOLUME
from marketpulse.indicators.declaration import Indicator
from marketpulse.indicators.sma import SMA, average_of, explain_average

VOLUME_SMA = Indicator(
    name="volume_sma",
    title="Simple moving average of the volume",
    group="volume",
    update=partial(average_of, VOLUME),
    explain=partial(explain_average, VOLUME, "volumes"),
    parameters=SMA.parameters,
    state_width=SMA.state_width,
    warm_up=SMA.warm_up,
    reads=("volume",),
    pane="volume",
    price_degrees=(-1,),
    formula="mean of the last `period` volumes",
    source="TA-Lib SMA, of the volume",
)
