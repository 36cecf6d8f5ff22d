"""Wilder's averages of a value's rises and of its falls: what `rsi` and `cmo` are made of."""

from marketpulse.compiled import kernel
from marketpulse.indicators.arithmetic import shown, wilder_step
from marketpulse.indicators.declaration import Floats
from marketpulse.indicators.delay import DELAY_HEAD, delay_push
from marketpulse.indicators.smoothing import AVERAGE_WIDTH, wilder_push

_GAIN = DELAY_HEAD + 1
_LOSS = _GAIN + AVERAGE_WIDTH
RISES_WIDTH = _LOSS + AVERAGE_WIDTH


@kernel
def rises_push(state: Floats, row: int, at: int, length: int, value: float) -> tuple[bool, float, float]:
    """Take a value into `state[row, at:]` (RISES_WIDTH slots): whether there are averages, of rises, of falls."""
    started, previous = delay_push(state, row, at, 1, value)
    if not started:
        return False, 0.0, 0.0
    change = value - previous
    _, gain = wilder_push(state, row, at + _GAIN, length, max(change, 0.0))
    known, loss = wilder_push(state, row, at + _LOSS, length, max(-change, 0.0))
    return known, gain, loss


def rises_step(
    state: Floats, at: int, length: int, value: float, of: str
) -> tuple[list[str], tuple[float, float] | None]:
    """`rises_push` in words; None while there are no averages."""
    started, previous = delay_push(state, 0, at, 1, value)
    if not started:
        return [f"{of} {shown(value)} is the first: no change yet"], None
    change = value - previous
    lines = [f"change = {of} - {of} before = {shown(value)} - {shown(previous)} = {shown(change)}"]
    more, gain = wilder_step(state, at + _GAIN, length, max(change, 0.0), "gain", "rise")
    lines += more
    more, loss = wilder_step(state, at + _LOSS, length, max(-change, 0.0), "loss", "fall")
    lines += more
    return lines, None if gain is None or loss is None else (gain, loss)
