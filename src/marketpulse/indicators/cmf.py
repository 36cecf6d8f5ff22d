"""Chaikin money flow (docs/formulas/cmf.md)."""

import math

import numpy as np
from numpy.typing import NDArray

from marketpulse.compiled import kernel
from marketpulse.indicators.arithmetic import listed, positive_sum_of_window, shown, window_held
from marketpulse.indicators.bar_columns import CLOSE, HIGH, LOW, VOLUME
from marketpulse.indicators.declaration import Explained, Floats, Indicator, Params, period
from marketpulse.indicators.money_flow import money_flow_step, money_flow_volume
from marketpulse.indicators.rolling import POSITIVE_SUM_HEAD, SUM_HEAD, positive_sum_push, sum_push


@kernel
def update(
    state: Floats, series: NDArray[np.int64], bars: Floats, _session: NDArray[np.int32], parameters: Floats, out: Floats
) -> None:
    """Row: windows of the money flow volumes (rolling.sum_push) and of the volumes (rolling.positive_sum_push)."""
    length = int(parameters[0])
    for i in range(len(series)):
        row = series[i]
        flow = money_flow_volume(bars[i, HIGH], bars[i, LOW], bars[i, CLOSE], bars[i, VOLUME])
        full, flows, _ = sum_push(state, row, 0, length, flow)
        _, volumes = positive_sum_push(state, row, SUM_HEAD + length, length, bars[i, VOLUME])
        value = flows / volumes
        out[i, 0] = value if full and volumes > 0.0 and math.isfinite(value) else math.nan


def explain(before: Floats, bar: Floats, _session: int, parameters: Params) -> Explained:
    """The window's money flow volume as a share of its volume."""
    length, volume, none = int(parameters[0]), float(bar[VOLUME]), (math.nan,)
    line, flow = money_flow_step(float(bar[HIGH]), float(bar[LOW]), float(bar[CLOSE]), volume)
    earlier = window_held(before, 0, length)
    full, total, _ = sum_push(before, 0, 0, length, flow)
    lines = [line, f"the {len(earlier)} flows before, the oldest first: {listed(earlier)}"]
    more, volumes = positive_sum_of_window(before, SUM_HEAD + length, length, volume, "volumes")
    lines += more
    if not full or volumes is None:
        return Explained(tuple(lines), none)
    if not volumes > 0.0 or not math.isfinite(total / volumes):
        return Explained((*lines, "nothing has traded in the window: no value"), none)
    flows = float(total)
    value = flows / volumes
    lines.append(f"sum of the last {length} flows, this one included = {shown(flows)}")
    lines.append(f"cmf = flows / volumes = {shown(flows)} / {shown(volumes)} = {shown(value)}")
    return Explained(tuple(lines), (value,))


CMF = Indicator(
    name="cmf",
    title="Chaikin money flow",
    group="volume",
    update=update,
    explain=explain,
    parameters=(period(20),),
    state_width=lambda p: SUM_HEAD + POSITIVE_SUM_HEAD + 2 * int(p[0]),
    warm_up=lambda p: int(p[0]) - 1,
    reads=("high", "low", "close", "volume"),
    price_degrees=(0,),
    formula="Σ ((close - low) - (high - close)) / (high - low) * volume / Σ volume of `period` bars; null without volume",
    source="the field's definition (Chaikin)",
)
