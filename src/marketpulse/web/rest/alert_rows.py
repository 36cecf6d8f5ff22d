"""The newest alerts of the log, each as its highest revision says, withdrawn ones among them: those hide what is stored."""

import math
import threading
from typing import Any

from marketpulse.model.rows import ALERT
from marketpulse.ports import AlertKey, AlertSpan, FeedBatch

ALERTS_MAX = 10_000

AlertRow = dict[str, Any]
"""By the names of COLUMNS."""
COLUMNS = (*(name for name in ALERT.names if name != "receipt"), "partition", "last_offset")
"""Those of model.rows.ALERT; the last two of the receipt: where in `market` the bar lies that it happened on."""


def key_of(row: AlertRow) -> AlertKey:
    return row["event_time_ns"], row["symbol"], row["rule"]


class RecentAlerts:
    """A part of the board (board.Part) that no page asks for. May be read from any thread."""

    def __init__(self, most: int = ALERTS_MAX) -> None:
        self._rows: dict[AlertKey, AlertRow] = {}  # in order of arrival
        self._most = most
        self._lock = threading.Lock()

    def take(self, batch: FeedBatch, seq: int) -> bool:  # noqa: ARG002
        """A revision that is known already, or a lower one, changes nothing. Never tells pages of a change."""
        if batch.topic != "alerts":
            return False
        with self._lock:
            for row in batch.rows.to_pylist():
                place = row.pop("receipt") or {}
                row |= {"partition": place.get("partition"), "last_offset": place.get("last_offset")}
                key = key_of(row)
                known = self._rows.get(key)
                if known is None or row["revision"] > known["revision"]:
                    self._rows.pop(key, None)
                    self._rows[key] = row
            while len(self._rows) > self._most:
                del self._rows[next(iter(self._rows))]
        return False

    def changes(self, since: int) -> Any | None:  # noqa: ARG002
        """Pages have their alerts from elsewhere."""
        return None

    def within(self, span: AlertSpan) -> dict[AlertKey, AlertRow]:
        """Those of this time, symbol and rule, whatever their state and severity are now."""
        first = -math.inf if span.from_ns is None else span.from_ns
        end = math.inf if span.to_ns is None else span.to_ns
        with self._lock:
            return {
                key: row
                for key, row in self._rows.items()
                if first <= key[0] < end
                and span.symbol in (None, key[1])
                and span.rule in (None, key[2])
                and (span.below is None or key < span.below)
            }
