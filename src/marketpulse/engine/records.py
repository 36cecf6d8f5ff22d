"""Arrays of records copied by their bytes: numpy itself copies them field by field, at a twentieth of the speed.
Arrays of numbers pass through as they are."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


def copied(records: np.ndarray) -> np.ndarray:
    return _whole(records).copy().view(records.dtype)


def chosen(records: np.ndarray, where: NDArray[np.bool_] | NDArray[np.integer]) -> np.ndarray:
    """A copy of the records that the mask or the places name."""
    return _whole(records)[where].view(records.dtype)


def joined(parts: Sequence[np.ndarray], kind: np.dtype[np.void]) -> np.ndarray:
    """All parts one after the other; a single one is not copied."""
    if len(parts) == 1:
        return parts[0]
    return np.concatenate([_whole(part) for part in parts]).view(kind) if parts else np.empty(0, kind)


def put(records: np.ndarray, into: np.ndarray) -> None:
    """Write the records over the first ones of `into`."""
    _whole(into)[: len(records)] = _whole(records)


def matches(frames: int, bars: np.ndarray, old: np.ndarray) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Places of the rows that both have: of the same symbol, timeframe (of so many) and open time."""
    both = {name: np.concatenate([bars[name], old[name]]) for name in ("symbol", "frame", "open_ns")}
    series = both["symbol"].astype(np.int64) * frames + both["frame"]
    order = np.lexsort((np.arange(len(series)), both["open_ns"], series))
    same = (series[order][1:] == series[order][:-1]) & (both["open_ns"][order][1:] == both["open_ns"][order][:-1])
    first = np.flatnonzero(same)
    return order[first], order[first + 1] - len(bars)


def _whole(records: np.ndarray) -> np.ndarray:
    """Each record as one piece of memory."""
    if records.dtype.names is None:
        return records
    return records.view(np.dtype((np.void, records.dtype.itemsize)))
