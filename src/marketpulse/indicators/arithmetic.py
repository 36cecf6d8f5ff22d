"""The arithmetic of indicators in words: the numbers that went in, and what came out, every digit shown.

What an indicator's `explain` has in common with others. Each function does with plain numbers what the
kernel of the same name does, and moves the state on alike; a test holds them to the same bits.
"""

import math
from collections.abc import Sequence

from marketpulse.indicators.declaration import Explained, Floats
from marketpulse.indicators.rolling import SUM_HEAD, mean, positive_sum_push, sum_push
from marketpulse.indicators.smoothing import seed_push
from marketpulse.indicators.window import WINDOW_HEAD, window_push

_SHOWN_MOST = 60


def shown(value: float) -> str:
    """The shortest text that gives this double again."""
    return repr(float(value))


def listed(values: Sequence[float]) -> str:
    """Numbers one after the other; of very many the first and last."""
    texts = [shown(value) for value in values]
    if len(texts) > _SHOWN_MOST:
        half = _SHOWN_MOST // 2
        texts = [*texts[:half], f"… {len(values) - 2 * half} more …", *texts[-half:]]
    return ", ".join(texts)


def window_held(state: Floats, at: int, length: int, slots_before: int = SUM_HEAD) -> list[float]:
    """What the window at `state[0, at:]` (rolling.sum_push, window.window_push) holds, the oldest first."""
    seen = int(state[0, at])
    ring: list[float] = state[0, at + slots_before : at + slots_before + length].tolist()
    head = seen - length
    return ring[:seen] if head < 0 else ring[head:] + ring[:head]


def window_entered(state: Floats, at: int, length: int, value: float, of: str) -> tuple[list[str], int | None]:
    """A window with this value (window.window_push), and the value's place; None while it is not full."""
    held, place = window_push(state, 0, at, length, value)
    lines = [f"the last {held} {of}, the oldest first: {listed(window_held(state, at, length, WINDOW_HEAD))}"]
    if held < length:
        return [*lines, f"{length} are needed: no value yet"], None
    return lines, int(place)


def mean_of_window(state: Floats, at: int, length: int, value: float, of: str) -> tuple[list[str], float | None]:
    """The mean of the last `length` values, this one included; None while there are fewer."""
    window = window_held(state, at, length)
    total = float(state[0, at + 1])
    full, high, low = sum_push(state, 0, at, length, value)
    held = [*window[len(window) + 1 - length :], value] if len(window) >= length else [*window, value]
    lines = [f"the last {len(held)} {of}, the oldest first: {listed(held)}"]
    if not full:
        return [*lines, f"{length} are needed: no value yet"], None
    if len(window) == length:
        lines.append(f"sum = {shown(total)} - {shown(window[0])} (leaves) + {shown(value)} (enters) = {shown(high)}")
    else:
        lines.append(f"sum = {shown(high)}")
    if low:
        lines[-1] += f", and {shown(low)} that rounding took away"
    result = float(mean(high, low, length))
    return [*lines, f"mean = sum / {length} = {shown(result)}"], result


def positive_sum_of_window(
    state: Floats, at: int, length: int, value: float, of: str
) -> tuple[list[str], float | None]:
    """The sum of the last `length` values >= 0 (rolling.positive_sum_push); None while there are fewer."""
    full, total = positive_sum_push(state, 0, at, length, value)
    if not full:
        return [f"sum of {of}, with {shown(value)}: {length} are needed: no value yet"], None
    return [f"sum of the last {length} {of}, with {shown(value)} = {shown(total)}"], float(total)


def ema_step(
    state: Floats, at: int, length: int, weight: float, value: float, name: str, of: str
) -> tuple[list[str], float | None]:
    """An exponential average (smoothing.ema_push); None before its seed."""
    if state[0, at] < length:
        return _seed(state, at, length, value, name, of)
    before = float(state[0, at + 1])
    result = before + (value - before) * weight
    state[0, at + 1] = result
    moved = f"{shown(before)} + ({shown(value)} - {shown(before)}) * {shown(weight)}"
    return [f"{name} = before + ({of} - before) * 2 / ({length} + 1) = {moved} = {shown(result)}"], result


def wilder_step(
    state: Floats, at: int, length: int, value: float, name: str, of: str
) -> tuple[list[str], float | None]:
    """Wilder's average (smoothing.wilder_push); None before its seed."""
    if state[0, at] < length:
        return _seed(state, at, length, value, name, of)
    before = float(state[0, at + 1])
    result = (before * (length - 1) + value) / length
    state[0, at + 1] = result
    parts = f"({shown(before)} * {length - 1} + {shown(value)}) / {length}"
    return [f"{name} = (before * {length - 1} + {of}) / {length} = {parts} = {shown(result)}"], result


def one_value(lines: Sequence[str], value: float | None) -> Explained:
    """What a single column's lines come to: no value where there is none, nor where no double holds it."""
    return Explained(tuple(lines), (math.nan if value is None or not math.isfinite(value) else value,))


def of_quote(name: str, formula: str, numbers: str, value: float) -> Explained:
    """A value of the quote at the bar's close, from nothing else."""
    if math.isfinite(value):
        return Explained((f"{name} = {formula} = {numbers} = {shown(value)}",), (value,))
    return Explained((f"{name} = {formula} = {numbers}: no value (nan: there is no quote)",), (math.nan,))


def _seed(state: Floats, at: int, length: int, value: float, name: str, of: str) -> tuple[list[str], float | None]:
    seen, total = int(state[0, at]), float(state[0, at + 1])
    known, high = seed_push(state, 0, at, length, value)
    if known:
        begins = f"{name} begins as the mean of the first {length} values"
        return [f"{begins}: ({shown(total)} + {shown(value)}) / {length} = {shown(high)}"], float(high)
    summed = f"sum {shown(total)} + {of} {shown(value)} = {shown(high)}"
    return [f"{name} gathers its first {length} values: {seen + 1} of them, {summed}: no value yet"], None
