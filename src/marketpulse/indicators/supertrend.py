"""Supertrend (docs/formulas/supertrend.md)."""

import math

import numpy as np
from numpy.typing import NDArray

from marketpulse.compiled import kernel
from marketpulse.indicators.arithmetic import shown
from marketpulse.indicators.bar_columns import CLOSE, HIGH, LOW
from marketpulse.indicators.declaration import Explained, Floats, Indicator, Parameter, Params, period
from marketpulse.indicators.true_range import ATR_WIDTH, atr_push, atr_step

_CLOSE = ATR_WIDTH  # that of the bar before
_UPPER = _CLOSE + 1
_LOWER = _CLOSE + 2
_SIDE = _CLOSE + 3  # 1 in a rise, -1 in a fall, 0 while there are no bands
_WIDTH = _CLOSE + 4


@kernel
def turn(state: Floats, row: int, upper: float, lower: float, close: float) -> None:
    """Move the bands at `state[row]`: they only come nearer, until the close has passed them.

    The side turns where the close passes the band that is in force; it begins with a fall.
    """
    previous, side = state[row, _CLOSE], state[row, _SIDE]
    if side != 0.0:
        if upper >= state[row, _UPPER] and previous <= state[row, _UPPER]:
            upper = state[row, _UPPER]
        if lower <= state[row, _LOWER] and previous >= state[row, _LOWER]:
            lower = state[row, _LOWER]
    passed = close < lower if side > 0.0 else close > upper
    if side == 0.0:
        side = -1.0
    elif passed:
        side = -side
    state[row, _UPPER], state[row, _LOWER], state[row, _SIDE] = upper, lower, side


@kernel
def update(
    state: Floats, series: NDArray[np.int64], bars: Floats, _session: NDArray[np.int32], parameters: Floats, out: Floats
) -> None:
    """Row: average true range (true_range.atr_push), close before, upper and lower band, side."""
    length, factor = int(parameters[0]), parameters[1]
    for i in range(len(series)):
        row = series[i]
        high, low, close = bars[i, HIGH], bars[i, LOW], bars[i, CLOSE]
        known, atr = atr_push(state, row, 0, length, high, low, close)
        out[i, 0] = out[i, 1] = math.nan
        if known:
            centre, width = (high + low) / 2.0, factor * atr
            turn(state, row, centre + width, centre - width, close)
            side = state[row, _SIDE]
            value = state[row, _LOWER] if side > 0.0 else state[row, _UPPER]
            if math.isfinite(value):
                out[i, 0], out[i, 1] = value, side
        state[row, _CLOSE] = close


def explain(before: Floats, bar: Floats, _session: int, parameters: Params) -> Explained:
    """The bands around the bar, what is kept of those before, and the one in force."""
    factor, none = float(parameters[1]), (math.nan, math.nan)
    high, low, close = float(bar[HIGH]), float(bar[LOW]), float(bar[CLOSE])
    lines, atr = atr_step(before, 0, int(parameters[0]), high, low, close)
    if atr is None:
        return Explained(tuple(lines), none)
    centre, width = (high + low) / 2.0, factor * atr
    lines.append(
        f"bands = (high + low) / 2 ± {factor:g} * atr = {shown(centre)} ± {shown(width)}: "
        f"{shown(centre + width)} and {shown(centre - width)}"
    )
    if before[0, _SIDE]:
        lines.append(
            f"before: {_side(before)}, bands {shown(before[0, _UPPER])} and {shown(before[0, _LOWER])}, "
            f"close {shown(before[0, _CLOSE])}"
        )
    turn(before, 0, centre + width, centre - width, close)
    side, upper, lower = (float(before[0, at]) for at in (_SIDE, _UPPER, _LOWER))
    lines.append(f"kept bands: {shown(upper)} and {shown(lower)}; close {shown(close)}: {_side(before)}")
    value = lower if side > 0.0 else upper
    lines.append(f"supertrend = {'lower' if side > 0.0 else 'upper'} band = {shown(value)}")
    return Explained(tuple(lines), (value, side) if math.isfinite(value) else none)


def _side(state: Floats) -> str:
    return "rise (1)" if state[0, _SIDE] > 0.0 else "fall (-1)"


SUPERTREND = Indicator(
    name="supertrend",
    title="Supertrend",
    group="trend",
    update=update,
    explain=explain,
    parameters=(period(10), Parameter("factor", 3, "float", 0, 100)),
    outputs=("", "direction"),
    state_width=lambda _: _WIDTH,
    warm_up=lambda p: int(p[0]),
    reads=("high", "low", "close"),
    pane="price",
    price_degrees=(1, 0),
    formula="the lower (direction 1) or upper (-1) of (high + low) / 2 ± factor * atr, kept while nearer; turns where the close passes it",
    source="the field's definition (Seban 2009), with TA-Lib's ATR",
)
