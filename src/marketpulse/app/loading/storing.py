"""Rows on their way into the lake, in a thread of its own: the engine goes on while files are written."""

import queue
import threading
import time
from collections.abc import Sequence

from marketpulse.errors import Retryable
from marketpulse.ports import Sink, SinkBatch
from marketpulse.telemetry import get_logger

_WAITING_BYTES = 192 << 20
_WAITING_ROWS = 3_000_000
_STRETCHES = 2  # that may wait for the store
_PATIENCE_S, _FIRST_WAIT_S, _LONGEST_WAIT_S = 30.0, 0.2, 5.0


class Storing:
    """Stretches go in whole and in order; what is stored is told by `finish`. A fault of the store is raised by the next call."""

    def __init__(self, sink: Sink) -> None:
        self._sink = sink
        self._waiting: queue.Queue[Sequence[SinkBatch] | None] = queue.Queue(_STRETCHES)
        self._fault: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="store", daemon=True)
        self._thread.start()

    def put(self, batches: Sequence[SinkBatch]) -> None:
        """One stretch, of all partitions and tables."""
        self._raise()
        self._waiting.put(batches)

    def finish(self) -> None:
        """Return when all is durable."""
        self._waiting.put(None)
        self._thread.join()
        self._raise()

    def abandon(self) -> None:
        """Let the thread end without what waits."""
        if self._thread.is_alive():
            self._fault = self._fault or Retryable("loading was given up")
            self._waiting.put(None)
            self._thread.join()

    def _run(self) -> None:
        while (batches := self._waiting.get()) is not None:
            if self._fault is None:
                self._guarded(batches)
        if self._fault is None:
            self._guarded(None)

    def _guarded(self, batches: Sequence[SinkBatch] | None) -> None:
        """Whatever goes wrong here is raised there, in the thread that waits for it."""
        try:
            self._store(batches)
        except BaseException as error:
            self._fault = error

    def _store(self, batches: Sequence[SinkBatch] | None) -> None:
        for batch in batches or ():
            self._sink.write(batch)
        full = self._sink.waiting_rows >= _WAITING_ROWS or self._sink.waiting_bytes >= _WAITING_BYTES
        if full or batches is None:
            flush(self._sink)

    def _raise(self) -> None:
        if self._fault is not None:
            raise self._fault


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
