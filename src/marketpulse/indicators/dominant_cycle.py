"""The length of the cycle that dominates the close, by Ehlers' homodyne discriminator with a Hilbert transformer.

The close is smoothed over four bars, its trend is taken off, and the rest is split into a part in phase and one a quarter
of a cycle behind; how far both turn from one bar to the next gives the length of a whole turn. It starts with bar
37 (TA-Lib's), with zeros for all that came before.

Slots: bars seen (up to 37), windows (window.window_push) of the close, the smoothed close, its detrended rest and that rest's
quadrature; in-phase and quadrature part before, real and imaginary part of the turn, period, smoothed period.
"""

import math
from typing import Final

from marketpulse.compiled import kernel
from marketpulse.indicators.arctangent import arctangent
from marketpulse.indicators.declaration import Floats
from marketpulse.indicators.window import WINDOW_HEAD, earlier, window_push

FIRST_BAR: Final = 37
_REACH = 7  # bars that the transformer looks back on, this one included
_LAG = 3  # bars that it is behind
_CLOSES = 1
_SMOOTH = _CLOSES + WINDOW_HEAD + 4
_DETRENDED = _SMOOTH + WINDOW_HEAD + _REACH
_QUADRATURE = _DETRENDED + WINDOW_HEAD + _REACH + _LAG
_IN_PHASE_BEFORE = _QUADRATURE + WINDOW_HEAD + _REACH
_QUADRATURE_BEFORE = _IN_PHASE_BEFORE + 1
_REAL = _IN_PHASE_BEFORE + 2
_IMAGINARY = _IN_PHASE_BEFORE + 3
PERIOD: Final = _IN_PHASE_BEFORE + 4
SMOOTH_PERIOD: Final = _IN_PHASE_BEFORE + 5
CYCLE_WIDTH: Final = _IN_PHASE_BEFORE + 6


@kernel
def back(state: Floats, row: int, at: int, size: int, place: int, bars: int) -> float:
    """The value `bars` before the one at `place` in a window; 0 where none was."""
    value: float = state[row, at + WINDOW_HEAD + earlier(place, size, bars)]
    return value


@kernel
def quarter_turn(state: Floats, row: int, at: int, size: int, place: int, lag: int) -> float:
    """The Hilbert transformer of seven bars over a window, `lag` bars ago; without the factor of the period."""
    outer = back(state, row, at, size, place, lag) - back(state, row, at, size, place, lag + 6)
    inner = back(state, row, at, size, place, lag + 2) - back(state, row, at, size, place, lag + 4)
    return 0.0962 * outer + 0.5769 * inner


@kernel
def next_period(before: float, real: float, imaginary: float) -> float:
    """The period of a turn, within two thirds and one and a half of that before and 6 to 50 bars; then smoothed."""
    period = before
    if real != 0.0 and imaginary != 0.0:
        turn = imaginary / real
        if math.isfinite(turn):
            period = 2.0 * math.pi / arctangent(turn)
    period = max(min(period, 1.5 * before), 0.67 * before)
    return 0.2 * min(max(period, 6.0), 50.0) + 0.8 * before


@kernel
def cycle_push(state: Floats, row: int, close: float) -> bool:
    """Take a close into the slots at `state[row]` (CYCLE_WIDTH); whether SMOOTH_PERIOD is known there."""
    _, newest = window_push(state, row, _CLOSES, 4, close)
    if state[row, 0] < FIRST_BAR:
        state[row, 0] += 1.0
        return False
    gain = 0.075 * state[row, PERIOD] + 0.54
    smooth = 0.4 * close + 0.3 * back(state, row, _CLOSES, 4, newest, 1)
    smooth += 0.2 * back(state, row, _CLOSES, 4, newest, 2) + 0.1 * back(state, row, _CLOSES, 4, newest, 3)
    _, newest = window_push(state, row, _SMOOTH, _REACH, smooth)
    size = _REACH + _LAG
    detrended = gain * quarter_turn(state, row, _SMOOTH, _REACH, newest, 0)
    _, at_rest = window_push(state, row, _DETRENDED, size, detrended)
    quadrature = gain * quarter_turn(state, row, _DETRENDED, size, at_rest, 0)
    _, newest = window_push(state, row, _QUADRATURE, _REACH, quadrature)
    in_phase_turned = gain * quarter_turn(state, row, _DETRENDED, size, at_rest, _LAG)
    quadrature_turned = gain * quarter_turn(state, row, _QUADRATURE, _REACH, newest, 0)
    before, quadrature_before = state[row, _IN_PHASE_BEFORE], state[row, _QUADRATURE_BEFORE]
    in_phase = 0.2 * (back(state, row, _DETRENDED, size, at_rest, _LAG) - quadrature_turned) + 0.8 * before
    quadrature = 0.2 * (quadrature + in_phase_turned) + 0.8 * quadrature_before
    real = 0.2 * (in_phase * before + quadrature * quadrature_before) + 0.8 * state[row, _REAL]
    imaginary = 0.2 * (in_phase * quadrature_before - quadrature * before) + 0.8 * state[row, _IMAGINARY]
    state[row, _IN_PHASE_BEFORE], state[row, _QUADRATURE_BEFORE] = in_phase, quadrature
    state[row, _REAL], state[row, _IMAGINARY] = real, imaginary
    period = next_period(state[row, PERIOD], real, imaginary)
    state[row, PERIOD] = period
    state[row, SMOOTH_PERIOD] = 0.33 * period + 0.67 * state[row, SMOOTH_PERIOD]
    return True
