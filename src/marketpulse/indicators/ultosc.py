"""Ultimate oscillator (docs/formulas/ultosc.md)."""

import math

import numpy as np
from numpy.typing import NDArray

from marketpulse.compiled import kernel
from marketpulse.indicators.arithmetic import one_value, positive_sum_of_window, shown
from marketpulse.indicators.bar_columns import CLOSE, HIGH, LOW
from marketpulse.indicators.declaration import Explained, Floats, Indicator, Params, period
from marketpulse.indicators.delay import DELAY_HEAD, delay_push
from marketpulse.indicators.rolling import POSITIVE_SUM_HEAD, positive_sum_push

_WINDOWS = DELAY_HEAD + 1


@kernel
def _ascending(one: float, two: float, three: float) -> tuple[int, int, int]:
    """The periods in order of length: the shortest weighs most, however they are given."""
    short, long = min(one, two, three), max(one, two, three)
    return int(short), int(one + two + three - short - long), int(long)


@kernel
def _share(state: Floats, row: int, at: int, length: int, pressure: float, span: float) -> tuple[bool, float]:
    """Take a bar into the two windows at `state[row, at:]`: whether they are full, and the pressure's share."""
    _, pressures = positive_sum_push(state, row, at, length, pressure)
    full, spans = positive_sum_push(state, row, at + POSITIVE_SUM_HEAD + length, length, span)
    return full, pressures / spans if spans > 0.0 else 0.0


@kernel
def update(
    state: Floats, series: NDArray[np.int64], bars: Floats, _session: NDArray[np.int32], parameters: Floats, out: Floats
) -> None:
    """Row: previous close, then for each period its windows of pressure and of range (rolling.positive_sum_push)."""
    short, middle, long = _ascending(parameters[0], parameters[1], parameters[2])
    for i in range(len(series)):
        row = series[i]
        out[i, 0] = math.nan
        high, low, close = bars[i, HIGH], bars[i, LOW], bars[i, CLOSE]
        started, previous = delay_push(state, row, 0, 1, close)
        if started:
            floor = min(low, previous)
            pressure, span = close - floor, max(high, previous) - floor
            at = _WINDOWS
            _, first = _share(state, row, at, short, pressure, span)
            at += 2 * (POSITIVE_SUM_HEAD + short)
            _, second = _share(state, row, at, middle, pressure, span)
            at += 2 * (POSITIVE_SUM_HEAD + middle)
            full, third = _share(state, row, at, long, pressure, span)
            value = 100.0 * ((4.0 * first + 2.0 * second + third) / 7.0)
            if full and math.isfinite(value):
                out[i, 0] = value


def explain(before: Floats, bar: Floats, _session: int, parameters: Params) -> Explained:
    """The buying pressure's share of the true range over three periods, and their weighted mean."""
    high, low, close = float(bar[HIGH]), float(bar[LOW]), float(bar[CLOSE])
    started, previous = delay_push(before, 0, 0, 1, close)
    if not started:
        return one_value((f"close {shown(close)} is the first: no true range yet",), None)
    floor = min(low, previous)
    pressure, span = close - floor, max(high, previous) - floor
    lines = [
        f"floor = min(low, close before) = min({shown(low)}, {shown(previous)}) = {shown(floor)}",
        f"pressure = close - floor = {shown(pressure)}",
        f"true range = max(high, close before) - floor = max({shown(high)}, {shown(previous)}) - {shown(floor)} = {shown(span)}",
    ]
    shares: list[float] = []
    at = _WINDOWS
    for length in sorted(int(value) for value in parameters):
        more, pressures = positive_sum_of_window(before, at, length, pressure, "pressures")
        lines += more
        at += POSITIVE_SUM_HEAD + length
        more, spans = positive_sum_of_window(before, at, length, span, "true ranges")
        lines += more
        at += POSITIVE_SUM_HEAD + length
        if pressures is not None and spans is not None:
            shares.append(pressures / spans if spans > 0.0 else 0.0)
            lines.append(f"share of {length} = pressures / true ranges = {shown(shares[-1])}")
    if len(shares) < len(parameters):
        return one_value(lines, None)
    first, second, third = shares
    value = 100.0 * ((4.0 * first + 2.0 * second + third) / 7.0)
    parts = f"100 * (4 * {shown(first)} + 2 * {shown(second)} + {shown(third)}) / 7"
    lines.append(f"ultosc = {parts} = {shown(value)}")
    return one_value(lines, value)


ULTOSC = Indicator(
    name="ultosc",
    title="Ultimate oscillator",
    group="momentum",
    update=update,
    explain=explain,
    parameters=(period(7, name="short"), period(14, name="middle"), period(28, name="long")),
    state_width=lambda p: _WINDOWS + 2 * (3 * POSITIVE_SUM_HEAD + int(sum(p))),
    warm_up=lambda p: int(max(p)),
    reads=("high", "low", "close"),
    price_degrees=(0,),
    formula="100 * (4 a + 2 b + c) / 7, shares of Σ (close - min(low, previous close)) in Σ true range over three periods",
    source="TA-Lib ULTOSC (Williams 1985)",
)
