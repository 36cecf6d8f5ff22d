"""Splits for the engine's tests: records of them, and what bars and values look like to one who knows them all."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from market_rows import Row, at
from marketpulse.indicators.bar_columns import ASK, ASK_SIZE, BID, BID_SIZE, CLOSE, HIGH, LOW, OPEN, VOLUME

PRICES, SIZES = [OPEN, HIGH, LOW, CLOSE, BID, ASK], [VOLUME, BID_SIZE, ASK_SIZE]
Floats = NDArray[np.float64]


def split(symbol: str, ex: float, ratio: float, seconds: float = 0, source: str = "feed", **more: Any) -> Row:
    """A record that says at `seconds` that so many new shares stand for an old one from `ex` on."""
    return {
        "type": "split", "symbol": symbol, "source": source, "event_time_ns": at(seconds), "ratio": ratio,
        "ex_time_ns": at(ex), **more,
    }  # fmt: skip


def adjusted(bars: Floats, ratio: float) -> Floats:
    """Bars (n, 10) of before a split as they stand in the units behind it."""
    found = bars.copy()
    found[:, PRICES] /= ratio
    found[:, SIZES] *= ratio
    return found
