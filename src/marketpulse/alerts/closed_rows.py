"""Closed bars with their indicators, as rules read them."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from marketpulse.alerts.evaluate import AlertRows
from marketpulse.alerts.inputs import BAR_COLUMNS


def alert_rows(
    closed: np.ndarray,
    values: NDArray[np.float64],
    together: NDArray[np.bool_] | Sequence[bool],
    factors: NDArray[np.float64] | None = None,
) -> AlertRows:
    """Rows of n closed bars (a structured array with `symbol, frame, open_ns, close_ns` and BAR_COLUMNS) and their
    indicator values (n, columns). A trade count below 0 is unknown. `together` and `factors`: see AlertRows."""
    matrix = np.empty((len(closed), len(BAR_COLUMNS) + values.shape[1]))
    for column, name in enumerate(BAR_COLUMNS):
        matrix[:, column] = closed[name]
    counts = matrix[:, BAR_COLUMNS.index("trade_count")]
    counts[counts < 0] = np.nan
    matrix[:, len(BAR_COLUMNS) :] = values
    return AlertRows(
        symbol=np.ascontiguousarray(closed["symbol"], np.int32),
        frame=np.ascontiguousarray(closed["frame"], np.int32),
        open_ns=np.ascontiguousarray(closed["open_ns"], np.int64),
        close_ns=np.ascontiguousarray(closed["close_ns"], np.int64),
        together=np.ascontiguousarray(together, np.bool_),
        values=matrix,
        factors=np.empty((0, 0)) if factors is None else np.ascontiguousarray(factors, np.float64),
    )
