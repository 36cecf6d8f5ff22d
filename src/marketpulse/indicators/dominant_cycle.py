"""The length of the cycle that dominates the close, by Ehlers' homodyne discriminator with a Hilbert transformer.

The close is smoothed over four bars, its trend is taken off, and the rest is split into a part in phase and one a quarter
of a cycle behind; how far both turn from one bar to the next gives the length of a whole turn. It starts with bar
37 (TA-Lib's), with zeros for all that came before.

Slots: bars seen (up to 37), the last values, the newest first, of the close, the smoothed close, its detrended rest and that
rest's quadrature; in-phase and quadrature part before, real and imaginary part of the turn, period, smoothed period.
"""

import math
from typing import Final

from marketpulse.compiled import kernel
from marketpulse.indicators.arctangent import arctangent
from marketpulse.indicators.declaration import Floats

FIRST_BAR: Final = 37
_REACH = 7  # bars that the transformer looks back on, this one included
_LAG = 3  # bars that it is behind
_CLOSES = 1
_SMOOTH = _CLOSES + 4
_DETRENDED = _SMOOTH + _REACH
_QUADRATURE = _DETRENDED + _REACH + _LAG
_IN_PHASE_BEFORE = _QUADRATURE + _REACH
_QUADRATURE_BEFORE = _IN_PHASE_BEFORE + 1
_REAL = _IN_PHASE_BEFORE + 2
_IMAGINARY = _IN_PHASE_BEFORE + 3
PERIOD: Final = _IN_PHASE_BEFORE + 4
SMOOTH_PERIOD: Final = _IN_PHASE_BEFORE + 5
CYCLE_WIDTH: Final = _IN_PHASE_BEFORE + 6


@kernel
def shift_in(state: Floats, row: int, at: int, size: int, value: float) -> None:
    """Put a value before the `size` at `state[row, at:]`; the oldest leaves."""
    for slot in range(at + size - 1, at, -1):
        state[row, slot] = state[row, slot - 1]
    state[row, at] = value


@kernel
def quarter_turn(state: Floats, row: int, at: int) -> float:
    """The Hilbert transformer of the seven values at `state[row, at:]`, without the factor of the period."""
    outer = state[row, at] - state[row, at + 6]
    inner = state[row, at + 2] - state[row, at + 4]
    turned: float = 0.0962 * outer + 0.5769 * inner
    return turned


@kernel
def next_period(before: float, real: float, imaginary: float) -> float:
    """The period of a turn, within two thirds and one and a half of that before and 6 to 50 bars; then smoothed."""
    period = before
    if real != 0.0 and imaginary != 0.0:
        tangent = imaginary / real
        if math.isfinite(tangent):
            period = 2.0 * math.pi / arctangent(tangent)
    period = max(min(period, 1.5 * before), 0.67 * before)
    return 0.2 * min(max(period, 6.0), 50.0) + 0.8 * before


@kernel
def parts_of(state: Floats, row: int, smooth: float, gain: float) -> tuple[float, float]:
    """Both parts of a smoothed close: in phase, and a quarter of a cycle behind."""
    shift_in(state, row, _SMOOTH, _REACH, smooth)
    shift_in(state, row, _DETRENDED, _REACH + _LAG, gain * quarter_turn(state, row, _SMOOTH))
    quadrature = gain * quarter_turn(state, row, _DETRENDED)
    shift_in(state, row, _QUADRATURE, _REACH, quadrature)
    in_phase = state[row, _DETRENDED + _LAG] - gain * quarter_turn(state, row, _QUADRATURE)
    return in_phase, quadrature + gain * quarter_turn(state, row, _DETRENDED + _LAG)


@kernel
def cycle_push(state: Floats, row: int, close: float) -> bool:
    """Take a close into the slots at `state[row]` (CYCLE_WIDTH); whether SMOOTH_PERIOD is known there."""
    shift_in(state, row, _CLOSES, 4, close)
    if state[row, 0] < FIRST_BAR:
        state[row, 0] += 1.0
        return False
    smooth = 0.4 * close + 0.3 * state[row, _CLOSES + 1]
    smooth += 0.2 * state[row, _CLOSES + 2] + 0.1 * state[row, _CLOSES + 3]
    in_phase, quadrature = parts_of(state, row, smooth, 0.075 * state[row, PERIOD] + 0.54)
    before, quadrature_before = state[row, _IN_PHASE_BEFORE], state[row, _QUADRATURE_BEFORE]
    in_phase = 0.2 * in_phase + 0.8 * before
    quadrature = 0.2 * quadrature + 0.8 * quadrature_before
    real = 0.2 * (in_phase * before + quadrature * quadrature_before) + 0.8 * state[row, _REAL]
    imaginary = 0.2 * (in_phase * quadrature_before - quadrature * before) + 0.8 * state[row, _IMAGINARY]
    state[row, _IN_PHASE_BEFORE], state[row, _QUADRATURE_BEFORE] = in_phase, quadrature
    state[row, _REAL], state[row, _IMAGINARY] = real, imaginary
    period = next_period(state[row, PERIOD], real, imaginary)
    state[row, PERIOD] = period
    state[row, SMOOTH_PERIOD] = 0.33 * period + 0.67 * state[row, SMOOTH_PERIOD]
    return True
