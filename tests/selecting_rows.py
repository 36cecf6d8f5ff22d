"""Records of `feeds` for the tests of the selection, and what a selection makes of them."""

import itertools
import json
from collections.abc import Sequence
from typing import Any

import numpy as np

from marketpulse.app.selecting.selection import Frame, Passed, Piece, Rows, Selection, Switched
from marketpulse.failover.config import FailoverConfig, Group
from marketpulse.failover.state import new_state, state_from_bytes, state_to_bytes
from marketpulse.kafka.market_reader import MarketReader
from marketpulse.kafka.records import Records, records_of

SECOND_NS = 10**9
START_NS = 1_767_225_600 * SECOND_NS  # 2026-01-01T00:00:00Z
Row = dict[str, Any]

CONFIG = FailoverConfig((Group(("x", "y")),), keep_ns=10**18)


def at(seconds: float) -> int:
    return START_NS + round(seconds * SECOND_NS)


def trade(source: str, seconds: float, trade_id: str = "", symbol: str = "A", **more: Any) -> Row:
    """A trade that came when it happened."""
    return {
        "type": "trade", "symbol": symbol, "source": source, "event_time_ns": at(seconds), "price": 1.0, "size": 1.0,
        **({"trade_id": trade_id} if trade_id else {}), **more, "log": seconds,
    }  # fmt: skip


def heartbeat(source: str, seconds: float) -> Row:
    return {"type": "heartbeat", "source": source, "event_time_ns": at(seconds), "log": seconds}


def goodbye(source: str, seconds: float) -> Row:
    return {"type": "goodbye", "source": source, "watermark_ns": at(seconds), "log": seconds}


def heartbeats(sources: str, begin: float, end: float, every: float = 0.5) -> list[Row]:
    """Of each of the sources, whose names are single letters, by turns."""
    return [heartbeat(source, seconds) for seconds in np.arange(begin, end, every).tolist() for source in sources]


def records(rows: Sequence[Row], first_offset: int = 0) -> Records:
    """Each as a JSON record; `log` is when it was appended, in seconds."""
    values = [json.dumps({k: v for k, v in row.items() if k != "log"}).encode() for row in rows]
    keys = [row["symbol"].encode() if "symbol" in row else None for row in rows]
    appended = np.array([at(row["log"]) // 1_000_000 for row in rows], np.int64)
    return records_of(values, 0, first_offset + np.arange(len(rows)), keys=keys, appended_ms=appended)


def out_of(pieces: Sequence[Piece]) -> list[Row]:
    """The pieces as the records that they become."""
    found: list[Row] = []
    for piece in pieces:
        match piece:
            case Rows(rows):
                texts = [rows.values[a:b].tobytes() for a, b in itertools.pairwise(rows.value_ends.tolist())]
                assert all(text.endswith(b"\n") for text in texts)
                found += [json.loads(text) for text in texts]
            case Frame(_, value):
                found.append({"type": "frame", "bytes": value})
            case Passed(value):
                found.append(json.loads(value))
            case Switched(record):
                found.append(record)
    return found


class Selecting:
    """A selection over a growing log, which may be cut, saved and killed anywhere."""

    def __init__(self, config: FailoverConfig = CONFIG) -> None:
        self.config, self.log = config, list[Row]()
        self.selection = Selection(new_state(config), config, 1_000)
        self._reader = MarketReader("feeds")
        self._next = 0
        self._saved, self._saved_at = state_to_bytes(self.selection.state), 0

    def feed(self, *rows: Row) -> list[Row]:
        """Append the rows, and take them."""
        self.log += rows
        return self._taken(len(self.log))

    def switches(self, *rows: Row) -> list[tuple[str, str, float, str]]:
        """The switches that the rows bring: (from, to, when the stretch begins in seconds, why)."""
        found = [row for row in self.feed(*rows) if row["type"] == "switch"]
        begins = [(row["event_time_ns"] - START_NS) / SECOND_NS for row in found]
        return [(row["from"], row["source"], at, row["reason"]) for row, at in zip(found, begins, strict=True)]

    def save(self) -> None:
        self.selection.state.hold_from = self.selection.held.oldest()
        self._saved, self._saved_at = state_to_bytes(self.selection.state), self._next

    def kill(self) -> None:
        """Begin anew from what was saved, and replay, muted, to where it was."""
        was_at = self._next
        state = state_from_bytes(self._saved, self.config)
        self.selection = Selection(state, self.config, 1_000)
        begin = self._saved_at if state.hold_from < 0 else min(state.hold_from, self._saved_at)
        self._next = begin
        if begin < self._saved_at:
            self._taken(self._saved_at, again=True)
        self._taken(was_at)

    def _taken(self, end: int, *, again: bool = False) -> list[Row]:
        rows = self.log[self._next : end]
        if not rows:
            return []
        found: list[Row] = []
        for decoded in self._reader.decode(records(rows, self._next), self._next, 0):
            found += out_of(self.selection.take(decoded, again=again))
            self._next = decoded.next_offset
        return found
