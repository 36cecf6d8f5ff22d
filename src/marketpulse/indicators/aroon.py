"""Aroon (docs/formulas/aroon.md)."""

import math

import numpy as np
from numpy.typing import NDArray

from marketpulse.compiled import kernel
from marketpulse.indicators.arithmetic import shown
from marketpulse.indicators.bar_columns import HIGH, LOW
from marketpulse.indicators.declaration import Explained, Floats, Indicator, Params, period
from marketpulse.indicators.price_range import highest, lowest, range_push, range_width, range_words


@kernel
def recency(state: Floats, row: int, length: int, newest: int, held: int) -> tuple[float, float]:
    """How new the lowest low and the highest high of the `held` bars are: 100 for this bar, 0 for one `length` ago."""
    _, low_since = lowest(state, row, 0, length + 1, newest, held, 0)
    _, high_since = highest(state, row, 0, length + 1, newest, held, 0)
    return 100.0 * (length - low_since) / length, 100.0 * (length - high_since) / length


@kernel
def update(
    state: Floats, series: NDArray[np.int64], bars: Floats, _session: NDArray[np.int32], parameters: Floats, out: Floats
) -> None:
    """Row: `period + 1` bars (price_range.range_push)."""
    length = int(parameters[0])
    for i in range(len(series)):
        row = series[i]
        held, newest = range_push(state, row, 0, length + 1, bars[i, HIGH], bars[i, LOW])
        down, up = recency(state, row, length, newest, held)
        out[i, 0] = out[i, 1] = math.nan
        if held == length + 1:
            out[i, 0], out[i, 1] = down, up


def explain_recency(before: Floats, bar: Floats, length: int) -> tuple[list[str], float, float]:
    """Both extremes, and how new they are: down, up; NaN while bars are missing."""
    held, newest = range_push(before, 0, 0, length + 1, float(bar[HIGH]), float(bar[LOW]))
    if held <= length:
        return [f"{held} of {length + 1} bars are there: no value yet"], math.nan, math.nan
    down, up = recency(before.copy(), 0, length, newest, held)
    lines, _, _ = range_words(before, length + 1, newest, held)
    lines.append(f"100 * ({length} - bars ago) / {length}: down (lowest) = {shown(down)}, up (highest) = {shown(up)}")
    return lines, float(down), float(up)


def explain(before: Floats, bar: Floats, _session: int, parameters: Params) -> Explained:
    """How many bars ago the extremes were, as a share of the window."""
    lines, down, up = explain_recency(before, bar, int(parameters[0]))
    return Explained(tuple(lines), (down, up))


AROON = Indicator(
    name="aroon",
    title="Aroon",
    group="trend",
    update=update,
    explain=explain,
    parameters=(period(14, minimum=2),),
    outputs=("down", "up"),
    state_width=lambda p: range_width(int(p[0]) + 1),
    warm_up=lambda p: int(p[0]),
    reads=("high", "low"),
    price_degrees=(0, 0),
    formula="100 * (period - bars since the lowest low (down), the highest high (up) of the last period + 1 bars) / period",
    source="TA-Lib AROON (Chande 1995)",
)
