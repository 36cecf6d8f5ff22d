"""True strength index (docs/formulas/tsi.md)."""

import math

import numpy as np
from numpy.typing import NDArray

from marketpulse.compiled import kernel
from marketpulse.indicators.arithmetic import ema_step, one_value, shown
from marketpulse.indicators.bar_columns import CLOSE
from marketpulse.indicators.declaration import Explained, Floats, Indicator, Params, period
from marketpulse.indicators.delay import DELAY_HEAD, delay_push
from marketpulse.indicators.smoothing import AVERAGE_WIDTH, ema_push

_CHANGES = DELAY_HEAD + 1
_SIZES = _CHANGES + 2 * AVERAGE_WIDTH
_WIDTH = _SIZES + 2 * AVERAGE_WIDTH


@kernel
def _twice(state: Floats, row: int, at: int, long: int, short: int, value: float) -> tuple[bool, float]:
    """The short average of the long average of a value, at `state[row, at:]`."""
    known, once = ema_push(state, row, at, long, 2.0 / (long + 1), value)
    if not known:
        return False, math.nan
    return ema_push(state, row, at + AVERAGE_WIDTH, short, 2.0 / (short + 1), once)


@kernel
def update(
    state: Floats, series: NDArray[np.int64], bars: Floats, _session: NDArray[np.int32], parameters: Floats, out: Floats
) -> None:
    """Row: previous close, then two averages of the changes and two of their sizes (smoothing.ema_push)."""
    long, short = int(parameters[0]), int(parameters[1])
    for i in range(len(series)):
        row = series[i]
        out[i, 0] = math.nan
        started, previous = delay_push(state, row, 0, 1, bars[i, CLOSE])
        if started:
            change = bars[i, CLOSE] - previous
            _, moved = _twice(state, row, _CHANGES, long, short, change)
            known, size = _twice(state, row, _SIZES, long, short, abs(change))
            value = 100.0 * (moved / size)
            if known and math.isfinite(value):
                out[i, 0] = value


def explain(before: Floats, bar: Floats, _session: int, parameters: Params) -> Explained:
    """The change, and its twice smoothed average as a share of that of the sizes."""
    long, short = (int(value) for value in parameters)
    close = float(bar[CLOSE])
    started, previous = delay_push(before, 0, 0, 1, close)
    if not started:
        return one_value((f"close {shown(close)} is the first: no change yet",), None)
    change = close - previous
    lines = [f"change = close - close before = {shown(close)} - {shown(previous)} = {shown(change)}"]
    averages: list[float] = []
    for at, value, of in ((_CHANGES, change, "change"), (_SIZES, abs(change), "size")):
        name = f"average {of}"
        more, once = ema_step(before, at, long, 2.0 / (long + 1), value, name, of)
        lines += more
        if once is not None:
            at += AVERAGE_WIDTH
            more, twice = ema_step(before, at, short, 2.0 / (short + 1), once, f"smooth {of}", name)
            lines += more
            averages += [] if twice is None else [twice]
    if len(averages) < 2:
        return one_value(lines, None)
    moved, size = averages
    value = 100.0 * (moved / size) if size else math.nan
    parts = f"100 * {shown(moved)} / {shown(size)}"
    lines.append(f"tsi = 100 * smooth change / smooth size = {parts} = {shown(value)}")
    return one_value(lines, value)


TSI = Indicator(
    name="tsi",
    title="True strength index",
    group="momentum",
    update=update,
    explain=explain,
    parameters=(period(25, name="long"), period(13, name="short")),
    state_width=lambda _: _WIDTH,
    warm_up=lambda p: int(p[0]) + int(p[1]) - 1,
    price_degrees=(0,),
    formula="100 * ema(short) of ema(long) of the change / the same of |change|; null while nothing has moved",
    source="Blau 1991",
)
