"""The eight indicators by hand, in plain Python: for peers that bring the stream and leave the arithmetic to their user.

sma(20), ema(12), ema(26), rsi(14), macd(12,26,9), bbands(20,2), roc(10) and vwap of a symbol's trades: VALUES, by the
definitions in docs/formulas. The first WARM_UP trades of a symbol give None.
"""

from collections.abc import Callable
from itertools import pairwise
from math import sqrt
from typing import Any

VALUES = (
    "sma_20", "ema_12", "ema_26", "rsi_14", "macd_12_26_9", "macd_12_26_9_signal", "macd_12_26_9_hist",
    "bbands_20_2_upper", "bbands_20_2_middle", "bbands_20_2_lower", "roc_10", "vwap",
)  # fmt: skip
WARM_UP = 34  # trades until the slowest of them, the signal, has its seed

State = list[Any]
"""Numbers and one list of closes, so that a store can keep it as JSON: see `fresh`."""


def fresh() -> State:
    """seen, closes, Σ price·size, Σ size, Σ close, Σ close², ema 12, ema 26, fast, signal, gain, loss."""
    return [0, [], 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0]


def advance(state: State, price: float, size: float) -> tuple[float, ...] | None:
    """One trade later: changes `state`, returns VALUES."""
    seen, closes, notional, volume, total, squares, ema_12, ema_26, fast, signal, gain, loss = state
    notional += price * size
    volume += size
    if seen < WARM_UP:
        closes.append(price)
        state[:4] = seen + 1, closes, notional, volume
        if seen + 1 == WARM_UP:
            state[1], state[4:] = closes[-20:], seeds(closes)
        return None
    oldest, change = closes[0], price - closes[-1]
    roc = 100.0 * (price - closes[-10]) / closes[-10]
    del closes[0]
    closes.append(price)
    total += price - oldest
    squares += price * price - oldest * oldest
    ema_12 += (price - ema_12) * (2 / 13)
    ema_26 += (price - ema_26) * (2 / 27)
    fast += (price - fast) * (2 / 13)
    macd = fast - ema_26
    signal += (macd - signal) * 0.2
    gain = (gain * 13 + (change if change > 0 else 0.0)) / 14
    loss = (loss * 13 - (change if change < 0 else 0.0)) / 14
    state[:] = seen + 1, closes, notional, volume, total, squares, ema_12, ema_26, fast, signal, gain, loss
    mean = total / 20
    width = 2 * sqrt(max(squares / 20 - mean * mean, 0.0))
    rsi = 100 * gain / (gain + loss) if gain + loss else 0.0
    return (
        mean, ema_12, ema_26, rsi, macd, signal, macd - signal, mean + width, mean, mean - width, roc, notional / volume
    )  # fmt: skip


def new_indicators() -> Callable[[float, float], tuple[float, ...] | None]:
    """The same for one symbol as a closure: quicker, and for memory only."""
    seen, closes, position = 0, [], 0  # `position` is the oldest close's, once the closes are a ring
    notional = volume = total = squares = ema_12 = ema_26 = fast = signal = gain = loss = last = 0.0

    def update(price: float, size: float) -> tuple[float, ...] | None:
        nonlocal seen, closes, position, notional, volume, total, squares
        nonlocal ema_12, ema_26, fast, signal, gain, loss, last
        notional += price * size
        volume += size
        if seen < WARM_UP:
            closes.append(price)
            seen += 1
            if seen == WARM_UP:
                total, squares, ema_12, ema_26, fast, signal, gain, loss = seeds(closes)
                closes, last = closes[-20:], price
            return None
        oldest, past, change = closes[position], closes[position - 10], price - last
        closes[position] = last = price
        position = position + 1 if position < 19 else 0
        total += price - oldest
        squares += price * price - oldest * oldest
        ema_12 += (price - ema_12) * (2 / 13)
        ema_26 += (price - ema_26) * (2 / 27)
        fast += (price - fast) * (2 / 13)
        macd = fast - ema_26
        signal += (macd - signal) * 0.2
        if change > 0:
            gain, loss = (gain * 13 + change) / 14, loss * 13 / 14
        else:
            gain, loss = gain * 13 / 14, (loss * 13 - change) / 14
        mean = total / 20
        variance = squares / 20 - mean * mean
        width = 2 * sqrt(variance) if variance > 0 else 0.0
        rsi = 100 * gain / (gain + loss) if gain + loss else 0.0
        return (
            mean, ema_12, ema_26, rsi, macd, signal, macd - signal, mean + width, mean, mean - width,
            100.0 * (price - past) / past, notional / volume,
        )  # fmt: skip

    return update


def seeds(closes: list[float]) -> tuple[float, ...]:
    """What WARM_UP closes leave: Σ close and Σ close² of the last 20, ema 12, ema 26, fast, signal, gain, loss."""
    slow = averages(closes, 26)
    fast = averages(closes[14:], 12)
    lines = [quick - late for quick, late in zip(fast[-9:], slow[-9:], strict=True)]
    changes = [after - before for before, after in pairwise(closes)]
    window = closes[-20:]
    return (
        sum(window), sum(close * close for close in window), averages(closes, 12)[-1], slow[-1], fast[-1],
        sum(lines) / 9, smoothed([max(change, 0.0) for change in changes]), smoothed([max(-change, 0.0) for change in changes]),
    )  # fmt: skip


def averages(closes: list[float], period: int) -> list[float]:
    """Exponential averages from the first that is known on."""
    found = [sum(closes[:period]) / period]
    for close in closes[period:]:
        found.append(found[-1] + (close - found[-1]) * 2 / (period + 1))
    return found


def smoothed(moves: list[float]) -> float:
    """Wilder's average of 14."""
    average = sum(moves[:14]) / 14
    for move in moves[14:]:
        average = (average * 13 + move) / 14
    return average
