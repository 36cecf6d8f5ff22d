"""Money flow index (docs/formulas/mfi.md)."""

import math

import numpy as np
from numpy.typing import NDArray

from marketpulse.compiled import kernel
from marketpulse.indicators.arithmetic import positive_sum_of_window, shown
from marketpulse.indicators.bar_columns import CLOSE, HIGH, LOW, VOLUME
from marketpulse.indicators.declaration import Explained, Floats, Indicator, Params, period
from marketpulse.indicators.delay import DELAY_HEAD, delay_push
from marketpulse.indicators.rolling import POSITIVE_SUM_HEAD, positive_sum_push
from marketpulse.indicators.tie import tied

_IN = DELAY_HEAD + 1


@kernel
def _direction(previous: float, typical: float) -> tuple[bool, bool]:
    """Whether the typical price rose, and whether it fell; neither where the two are tied."""
    still = tied(previous, typical)
    return typical > previous and not still, typical < previous and not still


@kernel
def update(
    state: Floats, series: NDArray[np.int64], bars: Floats, _session: NDArray[np.int32], parameters: Floats, out: Floats
) -> None:
    """Row: previous typical price, windows of the flow in and of the flow out (rolling.positive_sum_push)."""
    length = int(parameters[0])
    for i in range(len(series)):
        row = series[i]
        out[i, 0] = math.nan
        typical = (bars[i, HIGH] + bars[i, LOW] + bars[i, CLOSE]) / 3.0
        started, previous = delay_push(state, row, 0, 1, typical)
        if started:
            flow = typical * bars[i, VOLUME]
            rose, fell = _direction(previous, typical)
            _, inward = positive_sum_push(state, row, _IN, length, flow if rose else 0.0)
            at = _IN + POSITIVE_SUM_HEAD + length
            full, outward = positive_sum_push(state, row, at, length, flow if fell else 0.0)
            total = inward + outward
            value = 100.0 * (inward / total) if total > 0.0 else 0.0
            if full and math.isfinite(total):
                out[i, 0] = value


def explain(before: Floats, bar: Floats, _session: int, parameters: Params) -> Explained:
    """The bar's money flow, which way it goes, and the share of the flow in."""
    length, none = int(parameters[0]), (math.nan,)
    high, low, close, volume = float(bar[HIGH]), float(bar[LOW]), float(bar[CLOSE]), float(bar[VOLUME])
    typical = (high + low + close) / 3.0
    lines = [
        f"typical = (high + low + close) / 3 = ({shown(high)} + {shown(low)} + {shown(close)}) / 3 = {shown(typical)}"
    ]
    started, previous = delay_push(before, 0, 0, 1, typical)
    if not started:
        return Explained((*lines, "it is the first: no direction yet"), none)
    flow = typical * volume
    rose, fell = _direction(previous, typical)
    way = "in" if rose else "out" if fell else "neither in nor out"
    lines.append(
        f"flow = typical * volume = {shown(typical)} * {shown(volume)} = {shown(flow)}, {way}: before it was {shown(previous)}"
    )
    more, inward = positive_sum_of_window(before, _IN, length, flow if rose else 0.0, "flows in")
    lines += more
    at = _IN + POSITIVE_SUM_HEAD + length
    more, outward = positive_sum_of_window(before, at, length, flow if fell else 0.0, "flows out")
    lines += more
    if inward is None or outward is None or not math.isfinite(inward + outward):
        return Explained(tuple(lines), none)
    total = inward + outward
    if not total > 0.0:
        return Explained((*lines, "nothing flowed: mfi = 0"), (0.0,))
    value = 100.0 * (inward / total)
    lines.append(f"mfi = 100 * in / (in + out) = 100 * {shown(inward)} / {shown(total)} = {shown(value)}")
    return Explained(tuple(lines), (value,))


MFI = Indicator(
    name="mfi",
    title="Money flow index",
    group="volume",
    update=update,
    explain=explain,
    parameters=(period(14, minimum=2),),
    state_width=lambda p: _IN + 2 * (POSITIVE_SUM_HEAD + int(p[0])),
    warm_up=lambda p: int(p[0]),
    reads=("high", "low", "close", "volume"),
    price_degrees=(0,),
    formula="100 * in / (in + out), Σ typical price · volume of the bars whose typical price rose, and fell; 0 when nothing flowed",
    source="TA-Lib MFI (Quong and Soudack 1989)",
)
