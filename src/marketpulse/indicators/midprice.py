"""Middle of the price range over some bars (docs/formulas/midprice.md)."""

import math
from functools import partial

import numpy as np
from numpy.typing import NDArray

from marketpulse.compiled import kernel
from marketpulse.indicators.arithmetic import one_value, shown
from marketpulse.indicators.bar_columns import HIGH, LOW
from marketpulse.indicators.declaration import Explained, Floats, Indicator, Params, period
from marketpulse.indicators.price_range import middle, range_push, range_width, range_words


@kernel
def middle_of(
    high_column: int,
    low_column: int,
    state: Floats,
    series: NDArray[np.int64],
    bars: Floats,
    _session: NDArray[np.int32],
    parameters: Floats,
    out: Floats,
) -> None:
    """The kernel of each indicator that is the middle of a range. Row: the bars (price_range.range_push)."""
    length = int(parameters[0])
    for i in range(len(series)):
        row = series[i]
        held, newest = range_push(state, row, 0, length, bars[i, high_column], bars[i, low_column])
        value = middle(state, row, 0, length, newest, held, 0)
        out[i, 0] = value if held == length and math.isfinite(value) else math.nan


def explain_middle(
    name: str,
    columns: tuple[int, int],
    of: tuple[str, str],
    before: Floats,
    bar: Floats,
    _session: int,
    parameters: Params,
) -> Explained:
    """The two ends of the range, and half way between them."""
    length = int(parameters[0])
    held, newest = range_push(before, 0, 0, length, float(bar[columns[0]]), float(bar[columns[1]]))
    if held < length:
        return one_value([f"{held} of {length} bars are there: no value yet"], None)
    lines, high, low = range_words(before, length, newest, length, 0, of)
    value = (high + low) / 2.0
    lines.append(f"{name} = (highest + lowest) / 2 = {shown(value)}")
    return one_value(lines, value)


MIDPRICE = Indicator(
    name="midprice",
    title="Middle of the price range",
    group="trend",
    update=partial(middle_of, HIGH, LOW),
    explain=partial(explain_middle, "midprice", (HIGH, LOW), ("highs", "lows")),
    parameters=(period(14, minimum=2),),
    state_width=lambda p: range_width(int(p[0])),
    warm_up=lambda p: int(p[0]) - 1,
    reads=("high", "low"),
    pane="price",
    price_degrees=(1,),
    formula="(highest high + lowest low) / 2 of the last `period` bars",
    source="TA-Lib MIDPRICE",
)
