"""Wilder's directional movement: how far highs go up and lows go down, summed up beside the true range.

Slots: moves counted (up to `length`) and whether there is a bar before, its high, low and close, and the three sums.
A sum takes in the first `length - 1` moves whole; from then on it loses its `length`-th part with each new move, so
what rounding took away is lost with it.
"""

import math
from typing import Final

import numpy as np
from numpy.typing import NDArray

from marketpulse.compiled import kernel
from marketpulse.indicators.arithmetic import one_value, shown
from marketpulse.indicators.bar_columns import CLOSE, HIGH, LOW
from marketpulse.indicators.declaration import Explained, Floats, Params
from marketpulse.indicators.true_range import true_range

_BARS = 0  # bars seen, up to `length + 1`
_HIGH = 1
_LOW = 2
_CLOSE = 3
PLUS: Final = 4
MINUS: Final = 5
RANGE: Final = 6
MOVEMENT_WIDTH: Final = 7


@kernel
def movement(high: float, low: float, high_before: float, low_before: float) -> tuple[float, float]:
    """What counts as movement up and down: the larger of both, if it went outwards at all."""
    up, down = high - high_before, low_before - low
    return up if up > down and up > 0.0 else 0.0, down if down > up and down > 0.0 else 0.0


@kernel
def movement_push(state: Floats, row: int, length: int, high: float, low: float, close: float) -> int:
    """Take a bar into the sums at `state[row]` (MOVEMENT_WIDTH slots); returns the moves so far, up to `length`."""
    moves = int(state[row, _BARS])
    if moves > 0:
        plus, minus = movement(high, low, state[row, _HIGH], state[row, _LOW])
        ranged = true_range(high, low, state[row, _CLOSE])
        if moves >= length:
            for at in (PLUS, MINUS, RANGE):
                state[row, at] -= state[row, at] / length
        state[row, PLUS] += plus
        state[row, MINUS] += minus
        state[row, RANGE] += ranged
    state[row, _HIGH], state[row, _LOW], state[row, _CLOSE] = high, low, close
    state[row, _BARS] = min(moves + 1, length + 1)
    return min(moves, length)


@kernel
def share(state: Floats, row: int, side: int) -> float:
    """The side's part of the true range in per cent; 0 where there was no range."""
    return 100.0 * (state[row, side] / state[row, RANGE]) if state[row, RANGE] > 0.0 else 0.0


@kernel
def dx_of(state: Floats, row: int) -> tuple[bool, float]:
    """How one-sided the movement was in per cent, where there was any."""
    plus, minus = state[row, PLUS], state[row, MINUS]
    moved = plus + minus
    return (True, 100.0 * (abs(plus - minus) / moved)) if moved > 0.0 else (False, 0.0)


@kernel
def of_side(
    side: int,
    in_range: bool,
    state: Floats,
    series: NDArray[np.int64],
    bars: Floats,
    _session: NDArray[np.int32],
    parameters: Floats,
    out: Floats,
) -> None:
    """The kernel of each indicator that is one side's sum, or (`in_range`) its share of the true range. Row: the sums."""
    length = int(parameters[0])
    needed = length if in_range else max(length - 1, 1)
    for i in range(len(series)):
        row = series[i]
        moves = movement_push(state, row, length, bars[i, HIGH], bars[i, LOW], bars[i, CLOSE])
        value = share(state, row, side) if in_range else state[row, side]
        out[i, 0] = value if moves >= needed and math.isfinite(value) else math.nan


def movement_step(state: Floats, length: int, bar: Floats) -> tuple[list[str], int]:
    """`movement_push` in words: the moves so far."""
    high, low = float(bar[HIGH]), float(bar[LOW])
    started, before, lower = state[0, _BARS] > 0.0, float(state[0, _HIGH]), float(state[0, _LOW])
    moves = movement_push(state, 0, length, high, low, float(bar[CLOSE]))
    if not started:
        return ["the first bar has none before it: no movement yet"], moves
    plus, minus = movement(high, low, before, lower)
    sums = [shown(state[0, at]) for at in (PLUS, MINUS, RANGE)]
    went = f"up = {shown(high)} - {shown(before)} (high before), down = {shown(lower)} (low before) - {shown(low)}"
    return [
        f"{went}: +DM = {shown(plus)}, -DM = {shown(minus)}",
        f"sums with this bar: +DM {sums[0]}, -DM {sums[1]}, true range {sums[2]} ({moves} moves counted)",
    ], moves


def explain_side(
    name: str, side: int, in_range: bool, before: Floats, bar: Floats, _session: int, parameters: Params
) -> Explained:
    """The bar's movement, the sums, and this side's."""
    length = int(parameters[0])
    lines, moves = movement_step(before, length, bar)
    needed = length if in_range else max(length - 1, 1)
    if moves < needed:
        return one_value([*lines, f"{needed} moves are needed: no value yet"], None)
    if not in_range:
        value = float(before[0, side])
        return one_value([*lines, f"{name} = {shown(value)}"], value)
    value = float(share(before, 0, side))
    parts = f"{shown(before[0, side])} / {shown(before[0, RANGE])}"
    return one_value([*lines, f"{name} = 100 * sum / sum of true range = 100 * {parts} = {shown(value)}"], value)
