"""Garman-Klass volatility (docs/formulas/garman_klass.md)."""

import math

import numpy as np
from numpy.typing import NDArray

from marketpulse.compiled import kernel
from marketpulse.indicators.arithmetic import one_value, positive_sum_of_window, shown
from marketpulse.indicators.bar_columns import CLOSE, HIGH, LOW, OPEN
from marketpulse.indicators.declaration import Explained, Floats, Indicator, Params, period
from marketpulse.indicators.log_return import log_return
from marketpulse.indicators.rolling import POSITIVE_SUM_HEAD, positive_sum_push

_BODY = 0.3862943611198906  # 2 ln 2 - 1


@kernel
def update(
    state: Floats, series: NDArray[np.int64], bars: Floats, _session: NDArray[np.int32], parameters: Floats, out: Floats
) -> None:
    """Row: the window of the bars' variances (rolling.positive_sum_push)."""
    length = int(parameters[0])
    for i in range(len(series)):
        span = log_return(bars[i, LOW], bars[i, HIGH])
        body = log_return(bars[i, OPEN], bars[i, CLOSE])
        full, total = positive_sum_push(state, series[i], 0, length, 0.5 * (span * span) - _BODY * (body * body))
        value = math.sqrt(max(total, 0.0) / length)
        out[i, 0] = value if full and math.isfinite(value) else math.nan


def explain(before: Floats, bar: Floats, _session: int, parameters: Params) -> Explained:
    """The bar's own variance, and the root of the window's mean."""
    length, high, low = int(parameters[0]), float(bar[HIGH]), float(bar[LOW])
    span = float(log_return(low, high))
    body = float(log_return(float(bar[OPEN]), float(bar[CLOSE])))
    term = 0.5 * (span * span) - _BODY * (body * body)
    lines = [
        f"range = ln(high / low) = ln({shown(high)} / {shown(low)}) = {shown(span)}",
        f"body = ln(close / open) = ln({shown(float(bar[CLOSE]))} / {shown(float(bar[OPEN]))}) = {shown(body)}",
        f"term = range² / 2 - (2 ln 2 - 1) * body² = {shown(term)}",
    ]
    more, total = positive_sum_of_window(before, 0, length, term, "terms")
    lines += more
    if total is None:
        return one_value(lines, None)
    value = math.sqrt(max(total, 0.0) / length)
    lines.append(f"garman_klass = sqrt(sum / {length}) = {shown(value)}")
    return one_value(lines, value)


GARMAN_KLASS = Indicator(
    name="garman_klass",
    title="Garman-Klass volatility",
    group="volatility",
    update=update,
    explain=explain,
    parameters=(period(20),),
    state_width=lambda p: POSITIVE_SUM_HEAD + int(p[0]),
    warm_up=lambda p: int(p[0]) - 1,
    reads=("open", "high", "low", "close"),
    price_degrees=(0,),
    formula="sqrt(Σ (ln(high / low)² / 2 - (2 ln 2 - 1) ln(close / open)²) / period), of one bar, not annualised",
    source="Garman and Klass 1980",
)
