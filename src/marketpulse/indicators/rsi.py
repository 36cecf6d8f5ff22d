"""Relative strength index (docs/formulas/rsi.md)."""

import math

import numpy as np
from numpy.typing import NDArray

from marketpulse.compiled import kernel
from marketpulse.indicators.arithmetic import shown
from marketpulse.indicators.bar_columns import CLOSE
from marketpulse.indicators.declaration import Explained, Floats, Indicator, Params, period
from marketpulse.indicators.rises_and_falls import RISES_WIDTH, rises_push, rises_step


@kernel
def rsi_push(state: Floats, row: int, at: int, length: int, value: float) -> tuple[bool, float]:
    """Take a value into `state[row, at:]` (RISES_WIDTH slots): whether there is an index of it, and that."""
    known, gain, loss = rises_push(state, row, at, length, value)
    moved = gain + loss
    return known and math.isfinite(moved), 100.0 * (gain / moved) if moved > 0.0 else 0.0


@kernel
def update(
    state: Floats, series: NDArray[np.int64], bars: Floats, _session: NDArray[np.int32], parameters: Floats, out: Floats
) -> None:
    """Row: previous close, average gain, average loss (rises_and_falls.rises_push)."""
    length = int(parameters[0])
    for i in range(len(series)):
        known, value = rsi_push(state, series[i], 0, length, bars[i, CLOSE])
        out[i, 0] = value if known else math.nan


def rsi_step(state: Floats, at: int, length: int, value: float, of: str) -> tuple[list[str], float | None]:
    """The change since the value before, the averages of rises and falls, and the rises' share."""
    lines, averages = rises_step(state, at, length, value, of)
    if averages is None or not math.isfinite(sum(averages)):
        return lines, None
    gain, loss = averages
    moved = gain + loss
    if not moved > 0.0:
        return [*lines, "nothing moved: rsi = 0"], 0.0
    share = 100.0 * (gain / moved)
    parts = f"100 * {shown(gain)} / {shown(moved)}"
    return [*lines, f"rsi = 100 * gain / (gain + loss) = {parts} = {shown(share)}"], share


def explain(before: Floats, bar: Floats, _session: int, parameters: Params) -> Explained:
    """The close's change, its averages, and the index."""
    lines, value = rsi_step(before, 0, int(parameters[0]), float(bar[CLOSE]), "close")
    return Explained(tuple(lines), (math.nan if value is None else value,))


RSI = Indicator(
    name="rsi",
    title="Relative strength index",
    group="momentum",
    update=update,
    explain=explain,
    parameters=(period(14, minimum=2),),
    state_width=lambda _: RISES_WIDTH,
    warm_up=lambda p: int(p[0]),
    price_degrees=(0,),
    formula="100 * gain / (gain + loss), Wilder averages of the rises and of the falls; 0 when nothing moved",
    source="TA-Lib RSI (Wilder 1978)",
)
