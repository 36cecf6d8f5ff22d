"""Chande momentum oscillator (docs/formulas/cmo.md)."""

import math

import numpy as np
from numpy.typing import NDArray

from marketpulse.compiled import kernel
from marketpulse.indicators.arithmetic import shown
from marketpulse.indicators.bar_columns import CLOSE
from marketpulse.indicators.declaration import Explained, Floats, Indicator, Params, period
from marketpulse.indicators.rises_and_falls import RISES_WIDTH, rises_push, rises_step


@kernel
def update(
    state: Floats, series: NDArray[np.int64], bars: Floats, _session: NDArray[np.int32], parameters: Floats, out: Floats
) -> None:
    """Row: previous close, average gain, average loss (rises_and_falls.rises_push)."""
    length = int(parameters[0])
    for i in range(len(series)):
        known, gain, loss = rises_push(state, series[i], 0, length, bars[i, CLOSE])
        moved = gain + loss
        value = 100.0 * ((gain - loss) / moved) if moved > 0.0 else 0.0
        out[i, 0] = value if known and math.isfinite(moved) else math.nan


def explain(before: Floats, bar: Floats, _session: int, parameters: Params) -> Explained:
    """The averages of rises and falls, and their difference as a share of all movement."""
    lines, averages = rises_step(before, 0, int(parameters[0]), float(bar[CLOSE]), "close")
    if averages is None or not math.isfinite(sum(averages)):
        return Explained(tuple(lines), (math.nan,))
    gain, loss = averages
    moved = gain + loss
    if not moved > 0.0:
        return Explained((*lines, "nothing moved: cmo = 0"), (0.0,))
    value = 100.0 * ((gain - loss) / moved)
    parts = f"100 * ({shown(gain)} - {shown(loss)}) / {shown(moved)}"
    lines.append(f"cmo = 100 * (gain - loss) / (gain + loss) = {parts} = {shown(value)}")
    return Explained(tuple(lines), (value,))


CMO = Indicator(
    name="cmo",
    title="Chande momentum oscillator",
    group="momentum",
    update=update,
    explain=explain,
    parameters=(period(14, minimum=2),),
    state_width=lambda _: RISES_WIDTH,
    warm_up=lambda p: int(p[0]),
    price_degrees=(0,),
    formula="100 * (gain - loss) / (gain + loss), Wilder averages of the rises and of the falls; 0 when nothing moved",
    source="TA-Lib CMO (Chande 1994, with Wilder's averages)",
)
