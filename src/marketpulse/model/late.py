"""Rows that came behind the correction window from a historical source, as `late` records of `market` point to them.

{"type": "late", "symbol": "AAA", "event_time_ns": 1767225610200000000, "to_ns": 1767225700000000000, "rows": 5003,
 "timeframes": ["1s", "1m"], "spans": "811.0-811.4999 813.0-815.0"}

A span holds this symbol's trades, quotes and rare records from one position in the log (offset.row) to another, both
included; those of other symbols between them are not meant. `event_time_ns` and `to_ns` are the oldest and the newest event time.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from marketpulse.model.market import Ids, Ints

ROW_BITS = 20
"""A frame has at most a million rows."""
_SPANS_MAX = 10_000  # in one record: some 300 kB


def position_keys(offsets: Ints, rows: Ints | Ids) -> Ints:
    """(n,) positions as numbers in the order of the log."""
    keys: Ints = (offsets.astype(np.int64) << ROW_BITS) + rows
    return keys


def position_key(offset: int, row: int) -> int:
    """A position as a number in the order of the log."""
    return (offset << ROW_BITS) + row


class Spans(NamedTuple):
    """Stretches of the log in order, by the keys of their first and last positions, both (n,)."""

    first: Ints
    last: Ints

    def hold(self, keys: Ints) -> np.ndarray:
        """(n,) which of these positions lie in a span."""
        at = np.searchsorted(self.first, keys, side="right") - 1
        mask: np.ndarray = (at >= 0) & (keys <= self.last[at])
        return mask


def late_records(
    symbol: str, timeframes: Sequence[str], keys: Ints, is_late: np.ndarray, times: Ints
) -> list[dict[str, Any]]:
    """The records that point to the late ones of a symbol's rows (n,), which stand at `keys`, in order."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], is_late, [False]]).astype(np.int8)))
    first, last = edges[0::2], edges[1::2] - 1
    found = []
    for begin in range(0, len(first), _SPANS_MAX):
        some = slice(begin, begin + _SPANS_MAX)
        mine = np.arange(first[some][0], last[some][-1] + 1)
        mine = mine[is_late[mine]]
        spans = " ".join(f"{_text(a)}-{_text(b)}" for a, b in zip(keys[first[some]], keys[last[some]], strict=True))
        found.append({
            "type": "late", "symbol": symbol, "event_time_ns": int(times[mine].min()), "to_ns": int(times[mine].max()),
            "rows": len(mine), "timeframes": list(timeframes), "spans": spans,
        })  # fmt: skip
    return found


def read_spans(records: Sequence[Mapping[str, Any]]) -> dict[str, Spans]:
    """By symbol, what all of these records point to. Raises ValueError for a text that names no spans."""
    texts: dict[str, list[str]] = {}
    for record in records:
        texts.setdefault(str(record["symbol"]), []).append(str(record["spans"]))
    return {symbol: _spans(" ".join(parts)) for symbol, parts in texts.items()}


def _spans(text: str) -> Spans:
    numbers = np.array(text.replace("-", " ").replace(".", " ").split(), np.int64).reshape(-1, 4)
    first, last = position_keys(numbers[:, 0], numbers[:, 1]), position_keys(numbers[:, 2], numbers[:, 3])
    order = np.argsort(first, kind="stable")
    return Spans(first[order], last[order])


def rows_behind(spans: Mapping[str, Spans], symbols: pa.ChunkedArray, keys: Ints) -> np.ndarray:
    """(n,) which rows, of these symbols and positions, lie in a span of their own symbol."""
    mask = np.zeros(len(keys), np.bool_)
    if not spans or not len(keys):
        return mask
    encoded = symbols.combine_chunks().dictionary_encode()
    codes = encoded.indices.fill_null(-1).to_numpy(zero_copy_only=False)
    order = np.argsort(codes, kind="stable")
    names = encoded.dictionary.to_pylist()
    begins, ends = (np.searchsorted(codes[order], np.arange(len(names)), side) for side in ("left", "right"))
    for code, name in enumerate(names):
        if (own := spans.get(name)) is not None:
            mine = order[begins[code] : ends[code]]
            mask[mine] = own.hold(keys[mine])
    return mask


def timeframes_behind(
    records: Sequence[Mapping[str, Any]], symbols: pa.ChunkedArray, keys: Ints
) -> dict[int, list[str]]:
    """By index, of the rows of these symbols and positions that a record points to, the timeframes that it names."""
    found: dict[int, list[str]] = {}
    for record in records:
        for index in np.flatnonzero(rows_behind(read_spans([record]), symbols, keys)).tolist():
            found.setdefault(index, []).extend(record["timeframes"])
    return found


def _text(key: int) -> str:
    return f"{int(key) >> ROW_BITS}.{int(key) & (1 << ROW_BITS) - 1}"
