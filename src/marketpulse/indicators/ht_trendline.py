"""Ehlers' instantaneous trendline (docs/formulas/ht_trendline.md)."""

import math

import numpy as np
from numpy.typing import NDArray

from marketpulse.compiled import kernel
from marketpulse.indicators.arithmetic import one_value, shown
from marketpulse.indicators.bar_columns import CLOSE
from marketpulse.indicators.declaration import Explained, Floats, Indicator, Params
from marketpulse.indicators.dominant_cycle import CYCLE_WIDTH, SMOOTH_PERIOD, cycle_push, shift_in
from marketpulse.indicators.window import WINDOW_HEAD, earlier, window_push

_LONGEST = 50
_FIRST_VALUE = 63  # bar; TA-Lib's
_BARS = CYCLE_WIDTH  # bars seen, up to 63
_CLOSES = _BARS + 1
_MEANS = _CLOSES + WINDOW_HEAD + _LONGEST
_WIDTH = _MEANS + 4  # mean over the cycle of this bar and the three before


@kernel
def cycle_mean(state: Floats, row: int, newest: int) -> tuple[float, int]:
    """Mean of the closes of one cycle, as the newest and the mean distance from it, and how many these are."""
    length = int(state[row, SMOOTH_PERIOD] + 0.5)
    reference: float = state[row, _CLOSES + WINDOW_HEAD + newest]
    total, place = 0.0, newest
    for _ in range(length):
        total += state[row, _CLOSES + WINDOW_HEAD + place] - reference
        place = earlier(place, _LONGEST, 1)
    return reference + total / length if length > 0 else 0.0, length


@kernel
def trendline_push(state: Floats, row: int, close: float) -> tuple[bool, int]:
    """Take a close: whether there is a value, and the length of the cycle; the means are in the state."""
    _, newest = window_push(state, row, _CLOSES, _LONGEST, close)
    seen = state[row, _BARS]
    state[row, _BARS] = min(seen + 1.0, _FIRST_VALUE)
    if not cycle_push(state, row, close):
        return False, 0
    mean, length = cycle_mean(state, row, newest)
    shift_in(state, row, _MEANS, 4, mean)
    return seen >= _FIRST_VALUE, length


@kernel
def smoothed(newest: float, one: float, two: float, three: float) -> float:
    """Four means weighted 4, 3, 2, 1, as distances from the newest: a flat price stays exactly that."""
    return newest + (3.0 * (one - newest) + 2.0 * (two - newest) + (three - newest)) / 10.0


@kernel
def update(
    state: Floats,
    series: NDArray[np.int64],
    bars: Floats,
    _session: NDArray[np.int32],
    _parameters: Floats,
    out: Floats,
) -> None:
    """Row: the cycle (dominant_cycle.cycle_push), bars seen, the window of 50 closes, four means."""
    for i in range(len(series)):
        row = series[i]
        known, _ = trendline_push(state, row, bars[i, CLOSE])
        means = state[row, _MEANS], state[row, _MEANS + 1], state[row, _MEANS + 2], state[row, _MEANS + 3]
        value = smoothed(means[0], means[1], means[2], means[3])
        out[i, 0] = value if known and math.isfinite(value) else math.nan


def explain(before: Floats, bar: Floats, _session: int, _parameters: Params) -> Explained:
    """The length of the cycle, the mean over it, and the mean of that with those before."""
    known, length = trendline_push(before, 0, float(bar[CLOSE]))
    if not known:
        return one_value([f"{int(before[0, _BARS])} bars are there, {_FIRST_VALUE + 1} are needed: no value yet"], None)
    means = [float(value) for value in before[0, _MEANS : _MEANS + 4]]
    value = float(smoothed(*means))
    newest, one, two, three = (shown(mean) for mean in means)
    parts = f"3 * ({one} - {newest}) + 2 * ({two} - {newest}) + ({three} - {newest})"
    return one_value(
        [
            f"cycle: {shown(before[0, SMOOTH_PERIOD])} bars, rounded {length}",
            f"mean of the last {length} closes = {newest}; that of the three bars before: {one}, {two}, {three}",
            f"ht_trendline = {newest} + ({parts}) / 10 = {shown(value)}",
        ],
        value,
    )


HT_TRENDLINE = Indicator(
    name="ht_trendline",
    title="Instantaneous trendline",
    group="trend",
    update=update,
    explain=explain,
    state_width=lambda _: _WIDTH,
    warm_up=lambda _: _FIRST_VALUE,
    pane="price",
    price_degrees=(1,),
    formula="mean of the closes of one dominant cycle, weighted 4, 3, 2, 1 with those of the three bars before",
    source="TA-Lib HT_TRENDLINE (Ehlers 2001)",
)
