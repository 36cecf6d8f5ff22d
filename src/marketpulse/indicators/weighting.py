"""Averages over a window with fixed weights: linear, triangular and Gaussian ones.

An average is the newest value and the weighted mean of the others' distances from it: a flat price
gives exactly that price, and a price that is large against its movement loses no digits.
"""

import math
from typing import Final

import numpy as np
from numpy.typing import NDArray

from marketpulse.compiled import kernel
from marketpulse.indicators.arithmetic import listed, one_value, shown, window_entered
from marketpulse.indicators.bar_columns import CLOSE
from marketpulse.indicators.declaration import Explained, Floats, Params
from marketpulse.indicators.exponential import exp_of_minus
from marketpulse.indicators.window import WINDOW_HEAD, earlier, window_push

LINEAR: Final = 0
TRIANGULAR: Final = 1
GAUSSIAN: Final = 2


@kernel
def linear_weights(length: int) -> Floats:
    """length, length - 1 … 1: the newest value's first."""
    weights = np.empty(length)
    for age in range(length):
        weights[age] = length - age
    return weights


@kernel
def triangular_weights(length: int) -> Floats:
    """1, 2 … 2, 1: the middle of the window weighs most."""
    weights = np.empty(length)
    for age in range(length):
        weights[age] = min(age, length - 1 - age) + 1
    return weights


@kernel
def gaussian_weights(length: int, offset: float, sigma: float) -> Floats:
    """A bell `length / sigma` wide around the share `offset` of the way from the oldest value to the newest."""
    weights = np.empty(length)
    centre, width = offset * (length - 1), length / sigma
    for age in range(length):
        distance = (length - 1 - age - centre) / width
        weights[age] = exp_of_minus(distance * distance / 2.0)
    return weights


@kernel
def weights_of(kind: int, parameters: Floats) -> Floats:
    """The weights (length,) of the kind, the newest value's first."""
    length = int(parameters[0])
    if kind == LINEAR:
        return linear_weights(length)
    if kind == TRIANGULAR:
        return triangular_weights(length)
    return gaussian_weights(length, parameters[1], parameters[2])


@kernel
def weighted_mean(state: Floats, row: int, at: int, size: int, newest: int, weights: Floats) -> float:
    """Mean of the newest `len(weights)` values of the window at `state[row, at:]` (window.window_push)."""
    ring = at + WINDOW_HEAD
    reference: float = state[row, ring + newest]
    total, heavy, place = 0.0, 0.0, newest
    for weight in weights:
        total += weight * (state[row, ring + place] - reference)
        heavy += weight
        place = earlier(place, size, 1)
    return reference + total / heavy


@kernel
def weighted_average(
    kind: int,
    state: Floats,
    series: NDArray[np.int64],
    bars: Floats,
    _session: NDArray[np.int32],
    parameters: Floats,
    out: Floats,
) -> None:
    """The kernel of each indicator that is an average of the close with fixed weights. Row: the window."""
    length = int(parameters[0])
    weights = weights_of(kind, parameters)
    for i in range(len(series)):
        row = series[i]
        held, newest = window_push(state, row, 0, length, bars[i, CLOSE])
        out[i, 0] = math.nan
        if held == length:
            value = weighted_mean(state, row, 0, length, newest, weights)
            if math.isfinite(value):
                out[i, 0] = value


def explain_weighted(kind: int, name: str, before: Floats, bar: Floats, _session: int, parameters: Params) -> Explained:
    """The window, the weights and the mean."""
    length = int(parameters[0])
    lines, newest = window_entered(before, 0, length, float(bar[CLOSE]), "closes")
    if newest is None:
        return one_value(lines, None)
    weights = weights_of(kind, np.array(parameters))
    value = float(weighted_mean(before, 0, 0, length, newest, weights))
    lines.append(f"their weights: {listed(weights[::-1].tolist())}")
    lines.append(f"{name} = newest + sum of weight * (close - newest) / sum of weights = {shown(value)}")
    return one_value(lines, value)
