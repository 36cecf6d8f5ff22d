"""A MarketLog that never lets its caller wait for the broker: what the log has not taken yet waits in order, on the disk if need be.

    write -> waiting -> (a thread) the log -> committed, forgotten
       \\-> on the disk, as soon as anything has waited for a second -> the log -> committed, dropped

Every Polled has a number. The position that the log commits with its rows is `owner.number` before the source's own, so after a
kill -9 at any moment the log itself says which of those on the disk stand in it.
"""

import threading
import uuid
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol, TypeVar

from marketpulse.clock import Clock
from marketpulse.errors import Fatal, ParameterError, Retryable
from marketpulse.kafka.polled_bytes import from_bytes, to_bytes
from marketpulse.kafka.spool import Entry, Spool
from marketpulse.ports import MarketLog, Polled
from marketpulse.telemetry import SPOOL_AGE_SECONDS, SPOOL_BYTES, SPOOL_ROWS, SPOOLED_ROWS, get_logger

_PATIENCE_S = 1.0  # in memory; then to the disk
_MEMORY_BYTES = 8 << 20
_TURN_S = 0.05
_FIRST_WAIT_S, _LONGEST_WAIT_S = 0.2, 5.0
_FLUSH_S = 10.0
_JOIN_S = 30.0
T = TypeVar("T")


class CommittingLog(MarketLog, Protocol):
    """A MarketLog that commits rows with their position, such as KafkaMarketLog."""

    def committed_position(self) -> str | None: ...
    def clock(self) -> None: ...


@dataclass(frozen=True, slots=True)
class _Item:
    """One Polled, its position as the source gave it, with its number and since when it waits."""

    number: int
    polled: Polled
    bytes: int
    at_ns: int
    since_s: float

    def entry(self) -> Entry:
        return Entry(self.number, _rows(self.polled), self.at_ns, to_bytes(self.polled))


@dataclass(frozen=True, slots=True)
class _Beat:
    source: str
    event_time_ns: int


class SpooledLog:
    """`write` and `heartbeat` return at once; they raise Retryable when the spool has no room (keep what you have, and come
    again), and what the log has raised for good. `trouble` is told what the log waits for, and None when it goes on.

    Calls come from one thread; the log is used by a thread of this object alone.
    """

    def __init__(
        self, log: CommittingLog, spool: Spool, source: str, clock: Clock, trouble: Callable[[str | None], None]
    ) -> None:  # fmt: skip
        self._log, self._spool, self._source = log, spool, source
        self._clock, self._trouble = clock, trouble
        self._change = threading.Condition()
        self._waiting: deque[_Item | _Beat] = deque()
        self._unsure: deque[_Item] = deque()  # the log has them, and has not committed them
        self._memory_bytes = 0
        self._spooling = spool.last > 0
        self._read_to = 0  # of the spool's numbers: up to here they are, or were, in memory
        self._owner = spool.owner or ""
        self._number = 0
        self._position = ""  # the source's newest
        self._away: str | None = None
        self._clock_due = False
        self._failure: BaseException | None = None
        self._closing = threading.Event()
        self._thread: threading.Thread | None = None

    @property
    def sender(self) -> str:
        return self._log.sender

    def last_position(self) -> str | None:
        """The source's position behind all that is taken: of what waits on the disk, else of the log.

        Raises Retryable while the broker is away and nothing waits.
        """
        if self._spooling:
            (newest,) = self._spool.after(self._spool.last - 1)
            self._number, self._position = newest.number, from_bytes(newest.body).position or ""
            get_logger().warning("rows_waited_on_disk", source=self._source, rows=self._spool.rows)
        else:
            owner, self._number, self._position = _parse(self._log.last_position())
            self._owner = owner or uuid.uuid4().hex[:8]
        self._thread = threading.Thread(target=self._run, name=f"log-{self._source}", daemon=True)
        self._thread.start()
        return self._position or None

    def write(self, polled: Polled) -> None:
        with self._change:
            self._look_after()
            if not (_rows(polled) or polled.hello or polled.position or polled.goodbye_watermark_ns is not None):
                return
            position = self._position if polled.position is None else polled.position
            size = sum(batch.nbytes for batch in polled.batches) + sum(len(r.value) for r in polled.rejected)
            item = _Item(
                self._number + 1, replace(polled, position=position), size, self._clock.now_ns(), self._clock.monotonic()
            )  # fmt: skip
            if self._spooling:
                self._to_disk([item])
            elif self._memory_bytes and self._memory_bytes + size > _MEMORY_BYTES:
                self._spill()
                self._to_disk([item])
            else:
                self._waiting.append(item)
                self._memory_bytes += size
            self._number, self._position = item.number, position
            self._change.notify_all()

    def heartbeat(self, source: str, event_time_ns: int) -> None:
        """Promised only while nothing older waits: then the next one says more."""
        with self._change:
            self._look_after()
            if self._spooling or any(isinstance(item, _Item) for item in self._waiting):
                return
            self._waiting.clear()
            self._waiting.append(_Beat(source, event_time_ns))
            self._change.notify_all()

    def flush(self) -> None:
        """Return when everything taken so far is durable in the log. Raises Retryable when that takes over 10 s, or the
        broker is away: what waits is on the disk then."""
        with self._change:
            self._change.wait_for(lambda: self._is_done() or self._away or self._failure, _FLUSH_S)
            self._raise_failure()
            if not self._is_done():
                raise Retryable(self._away or "the log is behind what it was given")

    def close(self) -> None:
        """Flush, and let go. What the log does not take any more stays on the disk for the next process; raises Retryable
        where that is so. A second call does nothing."""
        if self._closing.is_set():
            return
        if self._thread is None:
            self._closing.set()
            self._spool.close()
            self._log.close()
            return
        try:
            if self._failure is None:
                self.flush()
        finally:
            self._closing.set()
            self._thread.join(_JOIN_S)
            self._let_go(self._thread)

    def _let_go(self, thread: threading.Thread) -> None:
        with self._change:
            try:
                self._keep()
                if not thread.is_alive():
                    self._log.close()
            finally:
                if not thread.is_alive() and self._failure is None:
                    self._settle()
                if self._spool.rows:
                    get_logger().warning(
                        "rows_wait_on_disk", source=self._source, rows=self._spool.rows, file=str(self._spool.path),
                        note="the next start of this source writes them",
                    )  # fmt: skip
                self._spool.close()

    # --- the caller's side; all of it with the lock ---

    def _keep(self) -> None:
        """What is only in memory goes to the disk."""
        try:
            if not self._spooling:
                self._spill()
        except Retryable as error:
            get_logger().error(
                "rows_not_kept", source=self._source, error=str(error),
                note="its next start asks the vendor for the trades",
            )  # fmt: skip

    def _look_after(self) -> None:
        """Spill what has waited for too long, and tell how much waits."""
        self._raise_failure()
        oldest = next((x for x in (*self._unsure, *self._waiting) if isinstance(x, _Item)), None)
        if not self._spooling and oldest and self._clock.monotonic() - oldest.since_s > _PATIENCE_S:
            try:
                self._spill()
            except Retryable as error:
                get_logger().warning("spool_refuses", source=self._source, error=str(error))
        self._spool.sync()
        self._tell()

    def _spill(self) -> None:
        """All that the log has not committed goes to the disk, and what comes from now on: so the disk has no hole."""
        items = [item for item in (*self._unsure, *self._waiting) if isinstance(item, _Item)]
        if items:
            self._to_disk(items)
            self._read_to = items[-1].number
            self._spooling = True

    def _to_disk(self, items: list[_Item]) -> None:
        entries = [item.entry() for item in items]
        self._spool.append(entries, self._owner)
        SPOOLED_ROWS.labels(self._source).inc(sum(entry.rows for entry in entries))

    def _tell(self) -> None:
        SPOOL_ROWS.labels(self._source).set(self._spool.rows)
        SPOOL_BYTES.labels(self._source).set(self._spool.bytes)
        age_ns = self._clock.now_ns() - self._spool.oldest_ns if self._spool.rows else 0
        SPOOL_AGE_SECONDS.labels(self._source).set(max(0, age_ns) / 1e9)

    def _is_done(self) -> bool:
        return not self._spooling and not self._unsure and not self._waiting

    def _raise_failure(self) -> None:
        if self._failure is not None:
            raise self._failure

    # --- the log's side ---

    def _run(self) -> None:
        try:
            if self._spooling:
                self._insist(self._begin)
            while not self._closing.is_set():
                self._turn()
        except _Closing:
            return
        except BaseException as error:  # noqa: BLE001  (raised again by the caller's thread)
            with self._change:
                self._failure = error
                self._change.notify_all()

    def _turn(self) -> None:
        item = self._insist(self._next)
        if isinstance(item, _Item):
            if self._clock_due:
                self._insist(self._log.clock)
                self._clock_due = False
            position = f"{self._owner}.{item.number} {item.polled.position or ''}"
            polled = replace(item.polled, position=position)
            self._insist(lambda: self._log.write(polled))
        elif isinstance(item, _Beat):
            beat = item
            self._insist(lambda: self._log.heartbeat(beat.source, beat.event_time_ns))
        elif self._unsure:  # a promise alone is committed with the next one
            self._insist(lambda: self._log.write(_NOTHING))
        with self._change:
            self._settle()

    def _begin(self) -> None:
        """Of what an earlier process left on the disk, drop what it had committed."""
        owner, number, _ = _parse(self._log.last_position())
        with self._change:
            if owner not in (None, self._owner):
                raise Fatal(
                    f"what waits in {self._spool.path} is for another log than the one at this address: connect to that one "
                    "once, or move the file away"
                )
            self._read_to = number
            self._settle()
        self._clock_due = True

    def _next(self) -> _Item | _Beat | None:
        """What to write next, waiting a moment for it. Raises Retryable for a fault of the disk."""
        with self._change:
            self._change.wait_for(
                lambda: self._waiting or self._closing.is_set() or self._read_to < self._spool.last, _TURN_S
            )
            if not self._waiting and self._spooling:
                self._read_on()
            if not self._waiting:
                return None
            item = self._waiting.popleft()
            if isinstance(item, _Item):
                self._unsure.append(item)
            return item

    def _read_on(self) -> None:
        for entry in self._spool.after(self._read_to):
            try:
                polled = from_bytes(entry.body)
            except ParameterError as error:
                raise Fatal(f"{self._spool.path}, entry {entry.number}: {error}; move the file away") from None
            self._waiting.append(_Item(entry.number, polled, 0, entry.at_ns, self._clock.monotonic()))
            self._read_to = entry.number

    def _settle(self) -> None:
        """Forget what the log has committed. With the lock."""
        _, number, _ = _parse(self._log.committed_position())
        while self._unsure and self._unsure[0].number <= number:
            self._memory_bytes -= self._unsure.popleft().bytes
        if self._spooling:
            try:
                self._spool.drop_to(number)
            except Retryable as error:  # they stay a little longer
                get_logger().warning("spool_refuses", source=self._source, error=str(error))
            self._spooling = self._spool.last > 0
            self._tell()
        self._change.notify_all()

    def _insist(self, call: Callable[[], T]) -> T:
        """Until it has been done."""
        wait = _FIRST_WAIT_S
        while True:
            try:
                answer = call()
            except Retryable as error:
                self._clock_due = True
                with self._change:
                    self._away = str(error)
                    self._change.notify_all()
                self._trouble(str(error))
                if self._closing.wait(wait):
                    raise _Closing from None
                wait = min(2 * wait, _LONGEST_WAIT_S)
            else:
                if self._away is not None:
                    self._away = None
                    self._trouble(None)
                return answer


_NOTHING = Polled()


class _Closing(Exception):
    """The thread is asked to end."""


def _rows(polled: Polled) -> int:
    rows: int = sum(batch.num_rows for batch in polled.batches)
    return rows + len(polled.rejected)


def _parse(position: str | None) -> tuple[str | None, int, str]:
    """(owner, number, the source's own) of what the log committed; one without an owner is the source's own, from before."""
    head, _, own = (position or "").partition(" ")
    owner, dot, number = head.partition(".")
    if dot and number.isdecimal() and len(owner) == 8:
        return owner, int(number), own
    return None, 0, position or ""
