"""A price of one bar from its open, high, low and close: what TA-Lib's four price transforms share."""

import math

import numpy as np
from numpy.typing import NDArray

from marketpulse.compiled import kernel
from marketpulse.indicators.arithmetic import one_value, shown
from marketpulse.indicators.bar_columns import CLOSE, HIGH, LOW, OPEN
from marketpulse.indicators.declaration import Explained, Floats, Params

Weights = tuple[float, float, float, float]  # of high, low, close and open


@kernel
def weighted_price(
    weights: Weights,
    _state: Floats,
    series: NDArray[np.int64],
    bars: Floats,
    _session: NDArray[np.int32],
    _parameters: Floats,
    out: Floats,
) -> None:
    """The kernel of each of them. It remembers nothing: a bar's value is of its own prices."""
    of_high, of_low, of_close, of_open = weights
    total = of_high + of_low + of_close + of_open
    for i in range(len(series)):
        value = bars[i, HIGH] * of_high + bars[i, LOW] * of_low
        value = (value + bars[i, CLOSE] * of_close + bars[i, OPEN] * of_open) / total
        out[i, 0] = value if math.isfinite(value) else math.nan


def explain_price(
    weights: Weights, name: str, _state: Floats, bar: Floats, _session: int, _parameters: Params
) -> Explained:
    """The sum, and what it is divided by."""
    prices = [float(bar[column]) for column in (HIGH, LOW, CLOSE, OPEN)]
    terms = [price * weight for price, weight in zip(prices, weights, strict=True)]
    value = (terms[0] + terms[1] + terms[2] + terms[3]) / sum(weights)
    said = " + ".join(
        f"{of}{f' * {weight:g}' if weight != 1 else ''} {shown(price)}"
        for of, price, weight in zip(("high", "low", "close", "open"), prices, weights, strict=True)
        if weight
    )
    line = f"{name} = ({said}) / {sum(weights):g} = {shown(value)}"
    return one_value((line,), value)
