"""From which bar on TradingView's values and ours are the same to two decimals, where the beginnings differ.

TradingView's side is worked out here from what its manual says of the functions: `ta.ema` begins with the
first value that it is given, `ta.rma` with the mean of the first `length`. The numbers are those of the formula pages.
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from marketpulse.indicators.bar_columns import CLOSE

Floats = NDArray[np.float64]
Compute = Callable[..., Floats]

PAGES = Path(__file__).parents[3] / "docs" / "formulas"


def ema(values: Floats, length: int) -> Floats:
    """From the first value on."""
    out = np.full(len(values), np.nan)
    average = np.nan
    for i, value in enumerate(values.tolist()):
        if not np.isnan(value):
            average = value if np.isnan(average) else average + 2 / (length + 1) * (value - average)
        out[i] = average
    return out


def dema(bars: Floats) -> Floats:
    one = ema(bars[:, CLOSE], 30)
    return 2 * one - ema(one, 30)


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


THEIRS: dict[str, tuple[Callable[[Floats], Floats], int]] = {
    "dema(30)": (dema, 171),
    "tema(30)": (tema, 241),
    "t3(5,0.7)": (t3, 43),
}


@pytest.mark.parametrize("text", list(THEIRS))
def test_both_are_the_same_to_two_decimals_from_the_bar_that_the_page_names(
    compute: Compute, every_daily: list[Floats], text: str
) -> None:
    theirs, bar = THEIRS[text]
    last = 0
    for bars in every_daily:
        apart = np.abs(compute(text, bars)[:, 0] - theirs(bars)) >= 0.005
        last = max(last, int(np.flatnonzero(apart).max(initial=-1)) + 2)
    assert last == bar
    page = (PAGES / f"{text.split('(')[0]}.md").read_text(encoding="utf-8")
    assert f"the same to two decimals from bar {bar} on" in " ".join(page.split())
