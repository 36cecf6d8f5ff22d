"""Order-flow imbalance at the best prices, from close to close (docs/formulas/ofi.md)."""

import math

import numpy as np
from numpy.typing import NDArray

from marketpulse.compiled import kernel
from marketpulse.indicators.arithmetic import listed, one_value, shown, window_held
from marketpulse.indicators.bar_columns import ASK, ASK_SIZE, BID, BID_SIZE
from marketpulse.indicators.declaration import Explained, Floats, Indicator, Params, period
from marketpulse.indicators.rolling import SUM_HEAD, sum_push

QUOTE_SLOTS = 5  # whether there is one, and its columns BID to ASK_SIZE


@kernel
def flow_push(state: Floats, row: int, at: int, bars: Floats, i: int) -> float:
    """Take the quote of bar i in the place of the last bar's at `state[row, at:]` (QUOTE_SLOTS).

    Returns the flow between the two; NaN when one of them lacks a price or a size.
    """
    bid, bid_size, ask, ask_size = bars[i, BID], bars[i, BID_SIZE], bars[i, ASK], bars[i, ASK_SIZE]
    whole = not math.isnan(bid + bid_size + ask + ask_size)
    flow = math.nan
    if whole and state[row, at] == 1.0:
        last_bid, last_bid_size = state[row, at + 1], state[row, at + 2]
        last_ask, last_ask_size = state[row, at + 3], state[row, at + 4]
        flow = 0.0
        if bid >= last_bid:
            flow += bid_size
        if bid <= last_bid:
            flow -= last_bid_size
        if ask <= last_ask:
            flow -= ask_size
        if ask >= last_ask:
            flow += last_ask_size
    state[row, at] = 1.0 if whole else 0.0
    for column in range(QUOTE_SLOTS - 1):
        state[row, at + 1 + column] = bars[i, BID + column] if whole else 0.0
    return flow


@kernel
def update(
    state: Floats, series: NDArray[np.int64], bars: Floats, _session: NDArray[np.int32], parameters: Floats, out: Floats
) -> None:
    """Row: the window of flows (rolling.sum_push), which a missing flow empties, and the last quote (flow_push)."""
    length = int(parameters[0])
    for i in range(len(series)):
        row = series[i]
        flow = flow_push(state, row, SUM_HEAD + length, bars, i)
        out[i, 0] = math.nan
        if math.isfinite(flow):
            full, total, _ = sum_push(state, row, 0, length, flow)
            if full and math.isfinite(total):
                out[i, 0] = total
        else:
            state[row, :SUM_HEAD] = 0.0


def explain(before: Floats, bar: Floats, _session: int, parameters: Params) -> Explained:
    """The flow since the last bar's quote, and the sum of the window."""
    length, earlier = int(parameters[0]), window_held(before, 0, int(parameters[0]))
    at = SUM_HEAD + length
    quotes = "last quote " + listed(before[0, at + 1 : at + QUOTE_SLOTS].tolist()) if before[0, at] else ""
    flow = float(flow_push(before, 0, at, bar.reshape(1, -1), 0))
    now = f"bid, bid_size, ask, ask_size {listed(bar[BID : BID + 4].tolist())}"
    if not math.isfinite(flow):
        return one_value((f"{now}, {quotes or 'no last quote'}: no flow, and the sum begins anew",), None)
    lines = [f"flow from {quotes} to {now} = {shown(flow)}"]
    lines.append(f"the {len(earlier)} flows before, the oldest first: {listed(earlier)}")
    full, total, _ = sum_push(before, 0, 0, length, flow)
    if not full:
        return one_value((*lines, f"{length} are needed: no value yet"), None)
    return one_value((*lines, f"ofi = sum of the last {length} flows = {shown(total)}"), float(total))


OFI = Indicator(
    name="ofi",
    title="Order-flow imbalance at the best prices",
    group="quote",
    update=update,
    explain=explain,
    parameters=(period(10),),
    state_width=lambda p: SUM_HEAD + int(p[0]) + QUOTE_SLOTS,
    warm_up=lambda p: int(p[0]),
    reads=("bid", "bid_size", "ask", "ask_size"),
    price_degrees=(-1,),
    formula="Σ of `period` bars: [bid >= bid'] * bid_size - [bid <= bid'] * bid_size' - [ask <= ask'] * ask_size "
    "+ [ask >= ask'] * ask_size'; ' is one bar before",
    source="Cont, Kukanov and Stoikov 2014",
)
