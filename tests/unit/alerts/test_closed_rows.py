"""The engine's closed bars as rules read them."""

import numpy as np

from alert_rows import INPUTS
from marketpulse.alerts.closed_rows import alert_rows
from marketpulse.engine.layout import CLOSED


def test_bars_and_indicators_stand_in_the_order_of_the_inputs() -> None:
    closed = np.zeros(2, CLOSED)
    closed[["symbol", "frame", "open_ns", "close_ns"]] = [(4, 1, 10, 20), (5, 2, 20, 40)]
    closed[["open", "high", "low", "close", "volume", "vwap", "trade_count"]] = [
        (1, 2, 3, 4, 5, 6, 7),
        (1, 2, 3, 4, 5, np.nan, -1),
    ]
    values = np.array([[8.0, 9.0, 10.0, 11.0], [np.nan] * 4])
    rows = alert_rows(closed, values, np.array([True, False]))
    first = dict(zip(INPUTS.columns, rows.values[0].tolist(), strict=True))
    assert first == {
        "open": 1, "high": 2, "low": 3, "close": 4, "volume": 5, "vwap": 6, "trade_count": 7, "sma_20": 8,
        "rsi_14": 9, "volume_sma_20": 10, "session_vwap": 11,
    }  # fmt: skip
    np.testing.assert_array_equal(rows.values[1], [1, 2, 3, 4, 5, *[np.nan] * 6])
    assert (rows.symbol.tolist(), rows.frame.tolist(), rows.open_ns.tolist()) == ([4, 5], [1, 2], [10, 20])
    assert (rows.close_ns.tolist(), rows.together.tolist()) == ([20, 40], [True, False])
    assert all(array.flags.c_contiguous for array in rows)
