"""What a symbol's price is about, and by how much it moves: two numbers that a bad print cannot carry off.

The level is the last price that was believed. The scale is a running median of the relative moves between believed
prices that differ: each one moves it by a small fixed factor up or down, however large it is. Plain products and
quotients in order of the log, so the same bits come out for any cut.
"""

import math

import numpy as np
from numpy.typing import NDArray

from marketpulse.compiled import bare_kernel, inlined
from marketpulse.model.quality import PRICE_BAND, PRICE_UNIT

BELIEVED = -1

_SETTLED, _SCALE_LEAST = 50, 1e-6  # rows until its steps are the smallest
_UP, _EARLY = 1.02, 0.5
_DOWN = 1.0 / _UP
_MOVE_MOST = 1e6
_GIVE_UP = 4  # so many times the confirming records: a price that nothing agrees on is its level too
_UNIT_TOLERANCE = 0.45


@inlined
def relative_move(price: float, level: float) -> float:
    """By how much the larger exceeds the smaller: 0.25 for 125 after 100 as for 100 after 125."""
    return abs(price - level) / min(price, level)


@inlined
def learn_move(quality: NDArray[np.void], at: int, move: float) -> None:
    """One believed move; prices that stand still say nothing of how far they go when they move."""
    q = quality[at]
    if q.seen < _SETTLED:
        q.seen += 1
        if move > 0.0:
            rate = _UP + _EARLY / q.seen
            q.scale = max(_SCALE_LEAST, q.scale * rate if move > q.scale else q.scale / rate)
    elif move > 0.0:
        q.scale = max(_SCALE_LEAST, q.scale * (_UP if move > q.scale else _DOWN))


@inlined
def leap_with_split(quality: NDArray[np.void], at: int, time_ns: int) -> None:
    """From a split's time on the level is one of the new shares, and so is what was usual of sizes."""
    q = quality[at]
    if q.due != 0.0 and time_ns >= q.due_ns:
        q.level, q.before, q.waiting, q.size = (q.level / q.due, q.before / q.due, q.waiting / q.due, q.size * q.due)
        q.due = 0.0


@inlined
def judge_price(
    quality: NDArray[np.void],
    at: int,
    price: float,
    scale: float,
    floor: float,
    factor: float,
    confirm: float,
    warm: float,
) -> int:
    """BELIEVED, or the rule that finds the price, PRICE_UNIT or PRICE_BAND. The first `warm` prices are believed, the
    first one with the scale given.

    The band is `floor`, or `factor` scales where that is more, up and down by the same ratio. A price outside it is
    believed when it is the last of `confirm` in a row that agree, within a band, each with the one before.
    """
    q = quality[at]
    if q.seen == 0:
        q.level, q.scale, q.seen = price, scale, 1
        return BELIEVED
    move = relative_move(price, q.level)
    band = max(floor, factor * q.scale)
    if move <= band or q.seen < warm:
        learn_move(quality, at, move)
        q.level, q.refused, q.agreeing = price, 0, 0
        return BELIEVED
    return _doubt(quality, at, price, move, band, factor, confirm)


@bare_kernel
def _doubt(
    quality: NDArray[np.void], at: int, price: float, move: float, band: float, factor: float, confirm: float
) -> int:
    """A price outside the band."""
    q = quality[at]
    agrees = q.agreeing > 0 and relative_move(price, q.waiting) <= band
    q.agreeing = q.agreeing + 1 if agrees else 1
    q.refused += 1
    q.waiting = price
    if q.agreeing >= confirm or q.refused >= _GIVE_UP * confirm:
        if q.agreeing < confirm:  # wild, and always so: from now on that is its scale
            q.scale = max(q.scale, min(move, _MOVE_MOST) / factor)
        q.level, q.refused, q.agreeing = price, 0, 0
        return BELIEVED
    return unit_or(q.level, price, PRICE_BAND)


@bare_kernel
def unit_or(level: float, price: float, otherwise: int) -> int:
    """PRICE_UNIT where the two are about a hundred or a thousand apart."""
    apart = abs(math.log(price / level))
    off = min(abs(apart - math.log(100.0)), abs(apart - math.log(1000.0)))
    return PRICE_UNIT if off < _UNIT_TOLERANCE else otherwise
