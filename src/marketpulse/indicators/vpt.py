"""Volume price trend (docs/formulas/vpt.md)."""

import math

import numpy as np
from numpy.typing import NDArray

from marketpulse.compiled import kernel
from marketpulse.indicators.arithmetic import one_value, shown
from marketpulse.indicators.bar_columns import CLOSE, VOLUME
from marketpulse.indicators.declaration import Explained, Floats, Indicator, Params
from marketpulse.indicators.delay import DELAY_HEAD, delay_push
from marketpulse.indicators.running_total import TOTAL_WIDTH, total_push, total_step

_TOTAL = DELAY_HEAD + 1


@kernel
def update(
    state: Floats,
    series: NDArray[np.int64],
    bars: Floats,
    _session: NDArray[np.int32],
    _parameters: Floats,
    out: Floats,
) -> None:
    """Row: previous close (delay.delay_push), Σ volume · relative change (running_total.total_push)."""
    for i in range(len(series)):
        row = series[i]
        out[i, 0] = math.nan
        known, previous = delay_push(state, row, 0, 1, bars[i, CLOSE])
        if known:
            term = bars[i, VOLUME] * ((bars[i, CLOSE] - previous) / previous)
            value = total_push(state, row, _TOTAL, term)
            if math.isfinite(value):
                out[i, 0] = value


def explain(before: Floats, bar: Floats, _session: int, _parameters: Params) -> Explained:
    """The volume times the close's relative change, and the sum."""
    close, volume = float(bar[CLOSE]), float(bar[VOLUME])
    known, previous = delay_push(before, 0, 0, 1, close)
    if not known:
        return one_value((f"close {shown(close)} is the first: no change yet",), None)
    term = volume * ((close - previous) / previous)
    parts = f"{shown(volume)} * ({shown(close)} - {shown(previous)}) / {shown(previous)}"
    line = f"term = volume * (close - close before) / close before = {parts} = {shown(term)}"
    said, value = total_step(before, _TOTAL, term, "vpt")
    return one_value((line, said), value)


VPT = Indicator(
    name="vpt",
    title="Volume price trend",
    group="volume",
    update=update,
    explain=explain,
    state_width=lambda _: _TOTAL + TOTAL_WIDTH,
    warm_up=lambda _: 1,
    reads=("close", "volume"),
    price_degrees=(-1,),
    formula="Σ volume * (close - previous close) / previous close since the series began",
    source="the field's definition",
)
