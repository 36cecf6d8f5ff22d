"""Rows on standard input as a source: JSON lines or CSV, as they come; a full pipe makes the writer wait.

What was read cannot be read again, so it cannot resume: rows that the broker had not acknowledged when the process
is killed are lost, as in any pipe.
"""

import hashlib
import threading
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

import numpy as np

from marketpulse.clock import Clock, SystemClock
from marketpulse.errors import Fatal
from marketpulse.model.market import COMPLETE
from marketpulse.ports import Hello, Polled
from marketpulse.settings import StdinSettings
from marketpulse.sources.arrivals import Arrivals
from marketpulse.sources.csv_rows import Dialect, rows_of, sniff
from marketpulse.sources.json_rows import from_records
from marketpulse.sources.kafka_window import TopicReader
from marketpulse.sources.raw import RawRows

ORIGIN = "standard input"
_PATH = Path(ORIGIN)
_BLOCK_BYTES = 1 << 20
_HELD_BYTES_MAX = 16 << 20
_HEADER_WITHIN_S = 1.0  # a table's columns are told from its first lines: so long they are waited for


class Lines:
    """Whole lines of a stream, read by a thread of its own, which stops reading while too much is held."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._lock = threading.Condition()
        self._blocks: list[bytes] = []
        self._held = 0
        self._ended = False
        threading.Thread(target=self._read, name="stdin", daemon=True).start()

    def take(self, timeout_s: float) -> bytes:
        """All lines that have come, after at most `timeout_s`; empty: none yet."""
        with self._lock:
            if not self._blocks and not self._ended:
                self._lock.wait(timeout_s)
            found = b"".join(self._blocks)
            self._blocks.clear()
            self._held = 0
            self._lock.notify_all()
            return found

    @property
    def over(self) -> bool:
        """Whether everything was taken and no more will come."""
        with self._lock:
            return self._ended and not self._blocks

    def _read(self) -> None:
        rest = b""
        # read1 gives what is there; a buffered read would wait for a whole block.
        reader = getattr(self._stream, "read1", self._stream.read)
        while chunk := reader(_BLOCK_BYTES):
            whole, mark, rest_of_line = (rest + chunk).rpartition(b"\n")
            rest = rest_of_line
            if mark:
                self._add(whole + mark)
        if rest.strip():
            self._add(rest + b"\n")
        with self._lock:
            self._ended = True
            self._lock.notify_all()

    def _add(self, block: bytes) -> None:
        with self._lock:
            while self._held and self._held + len(block) > _HELD_BYTES_MAX:
                self._lock.wait()
            self._blocks.append(block)
            self._held += len(block)
            self._lock.notify_all()


class StdinSource:
    """A `Source` over a stream of lines."""

    def __init__(
        self,
        settings: StdinSettings,
        stream: BinaryIO,
        source: str,
        *,
        lateness_ns: int,
        clock: Clock | None = None,
        alive: Callable[[], None] = lambda: None,
    ) -> None:
        self._settings = settings
        self._stream = stream
        self._source = source
        self._lateness_ns = max(1, lateness_ns)
        self._clock = clock or SystemClock()
        self._alive = alive
        self._reader = TopicReader(ORIGIN, settings.mapping, where=ORIGIN)
        self._arrivals = Arrivals()
        self._dialect: Dialect | None = None
        self._json: bool | None = None
        self._line = 1
        self._held = b""  # lines that cannot be understood without those behind them
        self._held_since: float | None = None
        self._newest_ns: int | None = None

    def start(self, position: str | None) -> Hello:  # noqa: ARG002  (there is none)
        self._lines = Lines(self._stream)
        begun = f"{self._source}/{self._clock.now_ns()}"
        return Hello(
            source=self._source,
            mode=self._settings.mode,
            run_id=hashlib.blake2b(begun.encode(), digest_size=8).hexdigest(),
            lateness_ns=self._lateness_ns,
        )

    def poll(self, timeout_s: float) -> Polled:
        """The lines that have come. Raises Fatal when nothing can be understood."""
        block = self._held + self._lines.take(timeout_s)
        self._held = b""
        self._alive()
        over = self._lines.over
        if not block.strip():
            self._line += block.count(b"\n")
            return self._end() if over else Polled()
        if not over and self._must_wait(block):
            self._held = block
            return Polled()
        now_ns = self._clock.now_ns()
        dialect = self._dialect
        raw = self._rows(block)
        arrived = np.full(len(raw.frame), now_ns, np.int64)
        found = self._reader.understand(raw, arrived, self._settings.mode == "live")
        if found is None:
            if over:
                raise Fatal(f"{ORIGIN}: cannot tell the length of its bars: set --timeframe")
            self._held, self._dialect = block, dialect  # the header is read again, if it is in it
            return Polled()
        self._line += block.count(b"\n")
        if len(found.tape):
            self._newest_ns = max(self._newest_ns or 0, int(found.tape.time_ns[-1]))
        self._arrivals.note(found.delays_ns, self._clock.monotonic())
        batches = found.tape.batches(0, len(found.tape), self._source, now_ns) if len(found.tape) else []
        return Polled(batches, rejected=found.rejected)

    def watermark_ns(self) -> int | None:
        if self._held:
            return None
        if self._settings.mode == "historical":
            return None if self._newest_ns is None else self._newest_ns - self._lateness_ns
        return self._arrivals.promise_ns(self._clock.now_ns(), self._lateness_ns)

    def close(self) -> None:
        """The reading thread ends with the stream, or with the process."""

    def _end(self) -> Polled:
        final = COMPLETE if self._settings.mode == "historical" else self._newest_ns
        return Polled(goodbye_watermark_ns=final if self._newest_ns is not None else None, ended=True)

    def _must_wait(self, block: bytes) -> bool:
        """Whether a table's first row has not come with its header."""
        if self._json is None:
            self._json = block.lstrip()[:1] in (b"{", b"[")
        if self._json or self._dialect is not None or block.strip().count(b"\n") > 1:
            return False
        now = self._clock.monotonic()
        self._held_since = now if self._held_since is None else self._held_since
        return block.strip().count(b"\n") == 0 or now - self._held_since < _HEADER_WITHIN_S

    def _rows(self, block: bytes) -> RawRows:
        if self._json is None:
            self._json = block.lstrip()[:1] in (b"{", b"[")
        if self._json:
            lines = [(n, line) for n, line in enumerate(block.split(b"\n"), start=self._line) if line.strip()]
            return from_records([line for _, line in lines], ORIGIN, [n for n, _ in lines])[0]
        first_line = self._line
        if self._dialect is None:
            self._dialect = sniff(block, _PATH)
            lines_above, body = self._dialect.head_lines, block
            for _ in range(lines_above):
                body = body.partition(b"\n")[2]
            first_line, block = first_line + lines_above, body
        return rows_of(block, self._dialect, _PATH, first_line)
