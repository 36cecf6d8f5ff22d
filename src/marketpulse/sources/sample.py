"""Random rows of a file, one a second, as many tutorials send them: a feed that moves without a market.

The rows keep their values and take the time of sending, so they are live. A bar's row becomes a
trade at its close with its volume as size: bars in random order would be no bars.
"""

import secrets
from collections.abc import Callable

import numpy as np
import pyarrow as pa

from marketpulse.clock import Clock, SystemClock
from marketpulse.ports import Hello, Polled
from marketpulse.settings import ReplaySettings
from marketpulse.sources.dataset import load
from marketpulse.sources.files import expand
from marketpulse.sources.pace import Speed
from marketpulse.sources.tape import KINDS, Tape, stamp


class SampleSource:
    """A `Source` without an end and without positions. `speed = "5/s"` sends five rows a second."""

    def __init__(
        self,
        settings: ReplaySettings,
        source: str,
        *,
        lateness_ns: int,
        clock: Clock | None = None,
        alive: Callable[[], None] = lambda: None,
    ) -> None:
        self._settings = settings
        self._source = source
        self._lateness_ns = lateness_ns
        self._clock = clock or SystemClock()
        self._alive = alive
        self._interval_s = 1.0 / (Speed.parse(settings.speed).rate or 1.0)
        self._random = np.random.default_rng(settings.seed)
        self._tape: Tape | None = None
        self._first: Polled | None = None
        self._sent = 0
        self._next_s = 0.0
        self._newest_ns: int | None = None

    def start(self, position: str | None) -> Hello:  # noqa: ARG002
        data = load(expand(self._settings.files), self._settings.mapping, self._alive)
        self._tape = data.tape
        self._next_s = self._clock.monotonic()
        run_id = f"{self._settings.seed}-{secrets.token_hex(4)}"
        self._first = Polled(rejected=data.rejected) if data.rejected else None
        return Hello(self._source, "live", run_id, self._lateness_ns)

    def poll(self, timeout_s: float) -> Polled:
        if self._first is not None:
            first, self._first = self._first, None
            return first
        wait = self._next_s - self._clock.monotonic()
        if wait > 0:
            self._clock.sleep(min(wait, timeout_s))
            if wait > timeout_s:
                return Polled()
        self._next_s = max(self._next_s + self._interval_s, self._clock.monotonic() - 1.0)
        return Polled([self._random_row()])

    def watermark_ns(self) -> int | None:
        """The next row will be stamped later than now."""
        if self._newest_ns is None:
            return None
        self._newest_ns = max(self._newest_ns, self._clock.now_ns())
        return self._newest_ns

    def close(self) -> None:
        self._tape = None

    def _random_row(self) -> pa.RecordBatch:
        if self._tape is None:
            raise RuntimeError("poll() before start()")
        tables = {kind: self._tape.tables[kind] for kind in KINDS[1:] if kind in self._tape.tables}
        index = int(self._random.integers(sum(table.num_rows for table in tables.values())))
        now = self._clock.now_ns()
        self._newest_ns = max(now, self._newest_ns or 0)
        for kind, table in tables.items():
            if index < table.num_rows:
                row = table.slice(index, 1)
                name, values = ("trade", _bar_as_trade(row)) if kind == "bar" else (kind, row)
                self._sent += 1  # told apart by it: the same row may be drawn twice within the window
                return stamp(name, values, np.array([self._newest_ns]), self._source, now, again=self._sent)
            index -= table.num_rows
        raise AssertionError("the index lies in one of the tables")


def _bar_as_trade(bar: pa.Table) -> pa.Table:
    return pa.table(
        {
            "symbol": bar["symbol"], "venue": bar["venue"], "price": bar["close"], "size": bar["volume"].fill_null(0.0),
            "trade_id": pa.nulls(len(bar), pa.string()), "conditions": pa.nulls(len(bar), pa.list_(pa.string())),
        }
    )  # fmt: skip
