"""The straight line of least squares through the last closes: kernel and words of every indicator that reads it.

Closes are taken as distances from the newest one and bars as distances from the middle of the window, so that nothing
cancels: a flat price lies exactly on the line. One pass over the window per bar.
"""

import math
from typing import Final

import numpy as np
from numpy.typing import NDArray

from marketpulse.compiled import kernel
from marketpulse.indicators.arctangent import arctangent
from marketpulse.indicators.arithmetic import one_value, shown, window_entered
from marketpulse.indicators.bar_columns import CLOSE
from marketpulse.indicators.declaration import Explained, Floats, Params
from marketpulse.indicators.window import WINDOW_HEAD, earlier, window_push

END: Final = 0  # the line at the newest bar
START: Final = 1  # at the oldest
NEXT: Final = 2  # at the bar to come
SLOPE: Final = 3
ANGLE: Final = 4
_DEGREES = 180.0 / math.pi


@kernel
def line_through(state: Floats, row: int, length: int, newest: int) -> tuple[float, float]:
    """The line's slope per bar, and its value in the middle of the window at `state[row]`."""
    reference: float = state[row, WINDOW_HEAD + newest]
    total, turned, place = 0.0, 0.0, newest
    for age in range(length):
        distance = state[row, WINDOW_HEAD + place] - reference
        total += distance
        turned += ((length - 1) / 2.0 - age) * distance
        place = earlier(place, length, 1)
    # Σ (distance from the middle)² of the bars is length (length² - 1) / 12
    return turned / (length * (length * length - 1.0) / 12.0), reference + total / length


@kernel
def read_line(what: int, length: int, slope: float, middle: float) -> float:
    """What an indicator reads off the line."""
    half = (length - 1) / 2.0
    if what == SLOPE:
        return slope
    if what == ANGLE:
        return arctangent(slope) * _DEGREES
    if what == START:
        return middle - slope * half
    return middle + slope * (half if what == END else half + 1.0)


def angles_of(slopes: Floats) -> Floats:
    """The same angles from slopes of any shape."""
    angles = [read_line(ANGLE, 1, slope, 0.0) for slope in slopes.ravel().tolist()]
    return np.array(angles, np.float64).reshape(slopes.shape)


@kernel
def of_line(
    what: int,
    state: Floats,
    series: NDArray[np.int64],
    bars: Floats,
    _session: NDArray[np.int32],
    parameters: Floats,
    out: Floats,
) -> None:
    """The kernel of each indicator that reads the line. Row: the window of closes (window.window_push)."""
    length = int(parameters[0])
    for i in range(len(series)):
        row = series[i]
        held, newest = window_push(state, row, 0, length, bars[i, CLOSE])
        out[i, 0] = math.nan
        if held == length:
            slope, middle = line_through(state, row, length, newest)
            value = read_line(what, length, slope, middle)
            if math.isfinite(slope) and math.isfinite(value):
                out[i, 0] = value


def explain_line(what: int, name: str, before: Floats, bar: Floats, _session: int, parameters: Params) -> Explained:
    """The closes, the line through them, and what is read off it."""
    length = int(parameters[0])
    lines, newest = window_entered(before, 0, length, float(bar[CLOSE]), "closes")
    if newest is None:
        return one_value(lines, None)
    slope, middle = line_through(before, 0, length, newest)
    lines.append(f"line of least squares: {shown(middle)} in the middle of the window, {shown(slope)} per bar")
    value = float(read_line(what, length, slope, middle))
    if not math.isfinite(slope):
        return one_value(lines, None)
    read = {
        END: f"middle + slope * {(length - 1) / 2:g}",
        START: f"middle - slope * {(length - 1) / 2:g}",
        NEXT: f"middle + slope * {(length + 1) / 2:g}",
        SLOPE: "slope",
        ANGLE: "arctangent of slope * 180 / π",
    }[what]
    return one_value([*lines, f"{name} = {read} = {shown(value)}"], value)
