"""Rows on their way into the lake, in a thread of its own: the engine goes on while files are written."""

import contextlib
import queue
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from marketpulse.errors import Retryable
from marketpulse.ports import Sink, SinkBatch
from marketpulse.telemetry import get_logger

_WAITING_BYTES = 48 << 20
_WAITING_ROWS = 375_000
_STRETCHES = 1  # that may wait for the store
_LOOK_S = 0.2  # whether the store has failed meanwhile
_PATIENCE_S, _FIRST_WAIT_S, _LONGEST_WAIT_S = 30.0, 0.2, 5.0


class Storing:
    """Stretches go in whole and in order. A fault of the store is raised by the next call."""

    def __init__(self, sink: Sink) -> None:
        self._sink = sink
        self._waiting: queue.Queue[Sequence[SinkBatch] | None] = queue.Queue(_STRETCHES)
        self._given_up = threading.Event()
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="store")
        self._done = self._pool.submit(self._run)

    def put(self, batches: Sequence[SinkBatch] | None) -> None:
        """One stretch, of all partitions and tables. Waits while others wait for the store."""
        while True:
            if self._done.done():
                self._done.result()
            try:
                return self._waiting.put(batches, timeout=_LOOK_S)
            except queue.Full:
                continue

    def finish(self) -> None:
        """Return when all is durable."""
        try:
            self.put(None)
            self._done.result()
        finally:
            self._pool.shutdown()

    def abandon(self) -> None:
        """End without what waits."""
        self._given_up.set()
        with contextlib.suppress(queue.Full):
            self._waiting.put_nowait(None)
        self._pool.shutdown()

    def _run(self) -> None:
        while (batches := self._waiting.get()) is not None and not self._given_up.is_set():
            for batch in batches:
                self._sink.write(batch)
            if self._sink.waiting_rows >= _WAITING_ROWS or self._sink.waiting_bytes >= _WAITING_BYTES:
                flush(self._sink)
        if not self._given_up.is_set():
            flush(self._sink)


def flush(sink: Sink) -> None:
    """Make durable what waits; a store that is away is waited for a while. Raises Retryable."""
    give_up, wait = time.monotonic() + _PATIENCE_S, _FIRST_WAIT_S
    while True:
        try:
            return sink.flush()
        except Retryable as error:
            if time.monotonic() > give_up:
                raise
            get_logger().warning("flush_waits", sink=sink.name, error=str(error))
            time.sleep(wait)
            wait = min(2 * wait, _LONGEST_WAIT_S)
