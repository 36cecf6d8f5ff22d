"""From which bar on TradingView's values and ours are the same to two decimals, where the beginnings differ.

TradingView's side is worked out here from what its manual says of the functions: `ta.ema` begins with the
first value that it is given, `ta.rma` with the mean of the first `length`. The numbers are those of the formula pages.
"""

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from marketpulse.indicators.bar_columns import CLOSE, HIGH, LOW
from unit.indicators.oracles import DOCS, Floats, compute, every_daily


def ema(values: Floats, length: int) -> Floats:
    """From the first value on."""
    out = np.full(len(values), np.nan)
    average = np.nan
    for i, value in enumerate(values.tolist()):
        if not np.isnan(value):
            average = value if np.isnan(average) else average + 2 / (length + 1) * (value - average)
        out[i] = average
    return out


def tema(bars: Floats) -> Floats:
    one = ema(bars[:, CLOSE], 30)
    two = ema(one, 30)
    return 3 * (one - two) + ema(two, 30)


def t3(bars: Floats) -> Floats:
    values = bars[:, CLOSE]
    for _ in range(3):
        one = ema(values, 5)
        values = one + 0.7 * (one - ema(one, 5))
    return values


def lagged(values: Floats) -> Floats:
    return np.concatenate([np.full(9, np.nan), values[:-9]])


def kama(bars: Floats) -> Floats:
    """As scripts have it: the average before the first one is 0."""
    close = bars[:, CLOSE]
    out, average = np.full(len(close), np.nan), 0.0
    for i in range(30, len(close)):
        path = np.abs(np.diff(close[i - 30 : i + 1])).sum()
        efficiency = abs(close[i] - close[i - 30]) / path if path else 1.0
        average += (efficiency * (2 / 3 - 2 / 31) + 2 / 31) ** 2 * (close[i] - average)
        out[i] = average
    return out


def sar(bars: Floats) -> Floats:
    """The manual's: the second close against the first gives the side, and a stop that is only touched holds."""
    high, low, close = bars[:, HIGH], bars[:, LOW], bars[:, CLOSE]
    out = np.full(len(bars), np.nan)
    up = close[1] > close[0]
    stop, extreme, factor = (low[0], high[1], 0.02) if up else (high[0], low[1], 0.02)
    for i in range(1, len(bars)):
        stop += factor * (extreme - stop)
        turns = stop > low[i] if up else stop < high[i]
        if turns:
            stop = max(high[i], extreme) if up else min(low[i], extreme)
            up, factor = not up, 0.02
            extreme = high[i] if up else low[i]
        elif i > 1 and (high[i] > extreme if up else low[i] < extreme):
            extreme, factor = high[i] if up else low[i], min(factor + 0.02, 0.2)
        before = slice(max(i - 2, 0), i)
        stop = min(stop, low[before].min()) if up else max(stop, high[before].max())
        out[i] = stop
    return out


def rma(values: Floats, length: int) -> Floats:
    """From the mean of the first `length` values on."""
    out = np.full(len(values), np.nan)
    first = int(np.flatnonzero(~np.isnan(values))[0]) + length - 1
    average = out[first] = values[first - length + 1 : first + 1].mean()
    for i in range(first + 1, len(values)):
        average = out[i] = average + (values[i] - average) / length
    return out


def true_range(bars: Floats) -> Floats:
    """That of the first bar is its own range."""
    before = np.concatenate([bars[:1, CLOSE], bars[:-1, CLOSE]])
    found: Floats = np.maximum(bars[:, HIGH], before) - np.minimum(bars[:, LOW], before)
    found[0] = bars[0, HIGH] - bars[0, LOW]
    return found


def directional(bars: Floats, side: str) -> Floats:
    """plus_di or minus_di (14): quotients of `ta.rma`, which begin with the second bar."""
    up, down = np.diff(bars[:, HIGH], prepend=np.nan), -np.diff(bars[:, LOW], prepend=np.nan)
    moved, other = (up, down) if side == "plus" else (down, up)
    ranged = true_range(bars)
    ranged[0] = np.nan
    counted = np.where(np.isnan(moved), np.nan, np.where((moved > other) & (moved > 0), moved, 0.0))
    return 100 * rma(counted, 14) / rma(ranged, 14)


def dx(bars: Floats) -> Floats:
    plus, minus = directional(bars, "plus"), directional(bars, "minus")
    moved = plus + minus
    return 100 * np.abs(plus - minus) / np.where(moved == 0, 1.0, moved)


def supertrend(bars: Floats) -> Floats:
    """The manual's: bands only come nearer, and the first one is the upper."""
    width, centre = 3 * rma(true_range(bars), 10), (bars[:, HIGH] + bars[:, LOW]) / 2
    out, rises = np.full(len(bars), np.nan), False
    upper, lower = centre + width, centre - width
    for i in range(9, len(bars)):
        if i > 9:
            before = bars[i - 1, CLOSE]
            upper[i] = upper[i] if upper[i] < upper[i - 1] or before > upper[i - 1] else upper[i - 1]
            lower[i] = lower[i] if lower[i] > lower[i - 1] or before < lower[i - 1] else lower[i - 1]
            rises = not bars[i, CLOSE] < lower[i] if rises else bool(bars[i, CLOSE] > upper[i])
        out[i] = lower[i] if rises else upper[i]
    return out


THEIRS: dict[str, tuple[Callable[[Floats], Floats], int]] = {
    "dema(30)": (lambda bars: 2 * ema(bars[:, CLOSE], 30) - ema(ema(bars[:, CLOSE], 30), 30), 171),
    "tema(30)": (tema, 241), "t3(5,0.7)": (t3, 43), "kama(30)": (kama, 291),
    "zlema(20)": (lambda bars: ema(2 * bars[:, CLOSE] - lagged(bars[:, CLOSE]), 20), 139),
    "plus_di(14)": (lambda bars: directional(bars, "plus"), 102),
    "minus_di(14)": (lambda bars: directional(bars, "minus"), 102), "dx(14)": (dx, 115),
    "adx(14)": (lambda bars: rma(dx(bars), 14), 136), "supertrend(10,3)": (supertrend, 79),
    "keltner(20,10,2)": (lambda bars: ema(bars[:, CLOSE], 20) + 2 * rma(true_range(bars), 10), 112),
}  # fmt: skip


def apart(text: str, theirs: Callable[[Floats], Floats]) -> list[NDArray[np.bool_]]:
    """Per real daily file, the bars on which both differ by half a cent or more."""
    files = every_daily().values()
    return [np.abs(compute(text, bars).reshape(len(bars), -1)[:, 0] - theirs(bars)) >= 0.005 for bars in files]


def page(name: str) -> str:
    return " ".join((DOCS / f"{name}.md").read_text(encoding="utf-8").split())


@pytest.mark.parametrize("text", list(THEIRS))
def test_both_are_the_same_to_two_decimals_from_the_bar_that_the_page_names(text: str) -> None:
    theirs, bar = THEIRS[text]
    assert max(int(np.flatnonzero(differs).max(initial=-1)) + 2 for differs in apart(text, theirs)) == bar
    assert f"the same to two decimals from bar {bar} on" in page(text.partition("(")[0])


def test_the_parabolic_stops_are_the_same_on_as_many_bars_as_the_page_says() -> None:
    differs = np.concatenate([found[1:] for found in apart("sar", sar)])
    assert f"the same to two decimals on {(~differs).sum():,} of {len(differs):,} bars" in page("sar")
