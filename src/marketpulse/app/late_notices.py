"""What came behind the correction window from a historical source, as records of `market`: a rebuild brings it in."""

import numpy as np
import orjson

from marketpulse.engine.config import EngineConfig
from marketpulse.engine.step_rows import frame_names
from marketpulse.model.late import late_records, position_keys
from marketpulse.model.market import ABSENT, OF_ENGINE, WITHOUT_SYMBOL, Ints, Kind, MarketBatch

_OF_SYMBOLS = np.array([kind not in WITHOUT_SYMBOL | OF_ENGINE | {Kind.BAR} for kind in Kind])
"""By kind: whether a span holds such rows."""


def late_notices(config: EngineConfig, batch: MarketBatch, behind: np.ndarray) -> list[tuple[bytes, bytes]]:
    """(key, value) of the records that point to these rows of the batch (REJECT), by symbol and timeframes."""
    if not len(behind):
        return []
    found = []
    rows = np.flatnonzero(_OF_SYMBOLS[batch.kind])
    symbols, times = _symbols(batch, rows), _times(batch, rows)
    keys = position_keys(batch.offset[rows], batch.row[rows].astype(np.int64))
    for frames in np.unique(behind["frames"]).tolist():
        late = np.isin(rows, behind["row"][behind["frames"] == frames])
        for symbol in np.unique(symbols[late]).tolist():
            mine = symbols == symbol
            name = batch.strings[symbol]
            records = late_records(name, frame_names(config, frames), keys[mine], late[mine], times[mine])
            found += [(name.encode(), orjson.dumps(record)) for record in records]
    return found


def _symbols(batch: MarketBatch, rows: Ints) -> Ints:
    """(n,) the symbols of these rows, by their number in the batch."""
    symbols = batch.symbol[rows].astype(np.int64)
    for at in np.flatnonzero(symbols == ABSENT).tolist():
        symbols[at] = batch.strings.intern(str(batch.rare[int(rows[at])]["symbol"]))
    return symbols


def _times(batch: MarketBatch, rows: Ints) -> Ints:
    """(n,) the event times of these rows."""
    times: Ints = batch.event_time_ns[rows].copy()
    for at in np.flatnonzero(batch.kind[rows] > Kind.CLOCK).tolist():
        times[at] = batch.rare[int(rows[at])]["event_time_ns"]
    return times
