"""Ichimoku lines (docs/formulas/ichimoku.md)."""

import math

import numpy as np
from numpy.typing import NDArray

from marketpulse.compiled import kernel
from marketpulse.indicators.arithmetic import shown
from marketpulse.indicators.bar_columns import HIGH, LOW
from marketpulse.indicators.declaration import Explained, Floats, Indicator, Params, period
from marketpulse.indicators.price_range import middle, range_push, range_width, range_words


@kernel
def update(
    state: Floats, series: NDArray[np.int64], bars: Floats, _session: NDArray[np.int32], parameters: Floats, out: Floats
) -> None:
    """Row: as many bars as the longest line looks back on (price_range.range_push)."""
    short, medium, long = int(parameters[0]), int(parameters[1]), int(parameters[2])
    size = max(short, medium, long)
    for i in range(len(series)):
        row = series[i]
        held, newest = range_push(state, row, 0, size, bars[i, HIGH], bars[i, LOW])
        out[i, 0] = out[i, 1] = out[i, 2] = out[i, 3] = math.nan
        conversion = middle(state, row, 0, size, newest, min(short, held), 0)
        base = middle(state, row, 0, size, newest, min(medium, held), 1)
        span_b = middle(state, row, 0, size, newest, min(long, held), 2)
        span_a = (conversion + base) / 2.0
        if held >= short and math.isfinite(conversion):
            out[i, 0] = conversion
        if held >= medium and math.isfinite(base):
            out[i, 1] = base
        if held >= max(short, medium) and math.isfinite(span_a):
            out[i, 2] = span_a
        if held >= long and math.isfinite(span_b):
            out[i, 3] = span_b


def explain(before: Floats, bar: Floats, _session: int, parameters: Params) -> Explained:
    """The middle of three ranges, and half way between the first two."""
    lengths = [int(value) for value in parameters]
    size = max(lengths)
    held, newest = range_push(before, 0, 0, size, float(bar[HIGH]), float(bar[LOW]))
    lines, middles = [], []
    for nth, (name, length) in enumerate(zip(("conversion", "base", "span_b"), lengths, strict=True)):
        if held < length:
            lines.append(f"{name}: {held} of {length} bars are there: no value yet")
            middles.append(math.nan)
            continue
        more, high, low = range_words(before, size, newest, length, nth)
        middles.append((high + low) / 2.0)
        lines += [*more, f"{name} = (highest + lowest) / 2 = {shown(middles[-1])}"]
    conversion, base, span_b = middles
    span_a = (conversion + base) / 2.0
    lines.append(f"span_a = (conversion + base) / 2 = ({shown(conversion)} + {shown(base)}) / 2 = {shown(span_a)}")
    values = (conversion, base, span_a, span_b)
    return Explained(tuple(lines), tuple(v if math.isfinite(v) else math.nan for v in values))


ICHIMOKU = Indicator(
    name="ichimoku",
    title="Ichimoku lines",
    group="trend",
    update=update,
    explain=explain,
    parameters=(period(9, name="conversion"), period(26, name="base"), period(52, name="span_b")),
    outputs=("conversion", "base", "span_a", "span_b"),
    state_width=lambda p: range_width(int(max(p)), len(p)),
    warm_up=lambda p: int(max(p)) - 1,
    reads=("high", "low"),
    pane="price",
    price_degrees=(1, 1, 1, 1),
    formula="conversion, base, span_b = middle of the range of their bars; span_a = (conversion + base) / 2; none is shifted",
    source="the field's definition (Hosoda 1969)",
)
