"""The part `alerts`: what the rules told, newest last, with what stands however long ago it was raised."""

import math
from collections import OrderedDict
from collections.abc import Iterator
from typing import Any

import pyarrow as pa

from marketpulse.ports import FeedBatch

KEPT = 1_000
PAIRS_MAX = 5_000
"""Symbols and rules of which the last two changes are kept beside the newest of all."""
_TRIM_ABOVE = 1.25
_WITHDRAWN = "withdrawn"
_COLUMNS = (
    "symbol", "rule", "event_time_ns", "severity", "timeframe", "open_time_ns", "state", "was", "late", "value",
    "message", "revision",
)  # fmt: skip
_REVISION = _COLUMNS.index("revision")
_Key = tuple[str, str, int]

WHOLE = "whole"
"""What a list of changes begins with that is all there is: whoever reads it forgets what came before."""


def alert_rows(rows: pa.RecordBatch | pa.Table) -> Iterator[tuple[_Key, list[Any]]]:
    """The rows of ALERT as pages get them, by (symbol, rule, event time in ns).

    [symbol, rule, event_time_ns as text, severity, timeframe, open_ms, state, was, late, value, message, revision,
    partition, last_offset]; the last two say where in `market` the bar lies that it happened on (null: before it).
    """
    columns = [rows.column(name).to_pylist() for name in _COLUMNS]
    for values, receipt in zip(zip(*columns, strict=True), rows.column("receipt").to_pylist(), strict=True):
        row: list[Any] = list(values)
        row[2], row[5] = str(values[2]), values[5] / 1e6
        row[9] = None if values[9] is None or math.isnan(values[9]) else values[9]
        place = receipt or {}
        yield (values[0], values[1], values[2]), [*row, place.get("partition"), place.get("last_offset")]


class AlertsFeed:
    """web.board.Part. A row takes the place of an earlier revision of itself; one that comes again changes nothing."""

    def __init__(self, kept: int = KEPT) -> None:
        self._kept = kept
        self._rows: OrderedDict[_Key, tuple[int, list[Any]]] = OrderedDict()  # by what changed last

    def take(self, batch: FeedBatch, seq: int) -> bool:
        if batch.topic != "alerts":
            return False
        changed = False
        for key, row in alert_rows(batch.rows):
            known = self._rows.get(key)
            if known is not None and known[1][_REVISION] >= row[_REVISION]:
                continue
            self._rows[key] = seq, row
            self._rows.move_to_end(key)
            changed = True
        if len(self._rows) > self._kept * _TRIM_ABOVE:
            self._trim()
        return changed

    def changes(self, since: int) -> list[Any] | None:
        """Rows, oldest change first; all of them begin with WHOLE."""
        if since < 0:
            return [WHOLE, *(row for _, row in self._rows.values())]
        found = []
        for seq, row in reversed(self._rows.values()):
            if seq <= since:
                break
            found.append(row)
        return found[::-1] or None

    def _trim(self) -> None:
        """Keep the newest, and what tells of each symbol and rule whether it stands and since when."""
        newest = sorted(self._rows, key=lambda key: key[2], reverse=True)
        kept = set(newest[: self._kept])
        of_pair: dict[tuple[str, str], int] = {}
        for key in newest:
            if self._rows[key][1][6] == _WITHDRAWN:
                continue
            count = of_pair.get(key[:2], 0)
            if count < 2 and (count or len(of_pair) < PAIRS_MAX):
                kept.add(key)
                of_pair[key[:2]] = count + 1
        for key in [key for key in self._rows if key not in kept]:
            del self._rows[key]
