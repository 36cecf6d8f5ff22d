"""What a sender says on standard error: what it waits for, how far it is, and at the end what became of its rows.

    waiting for the broker at … (3 s) -> 12,000 of 20,000 rows sent, 3,400 rows/s -> what the engine did with them

The engine counts the rows of each sender by the id in its hello, and commits the counts together with its offsets
(kafka.source_counts). What it refused stands in `dead-letters`, with the record.
"""

import sys
import threading
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import reduce
from operator import add
from types import TracebackType
from typing import Any, TextIO

import orjson

from marketpulse.app.lifecycle import Lifecycle
from marketpulse.clock import Clock, SystemClock
from marketpulse.errors import MarketPulseError
from marketpulse.kafka.log_reader import LogReader
from marketpulse.kafka.source_counts import SHARED, SourceCount, SourceCounts
from marketpulse.model.market import KIND_OF_TYPE, REASONS, WITHOUT_SYMBOL
from marketpulse.ports import Polled
from marketpulse.settings import Settings

_TURN_S = 0.25
_QUIET_S = 1.0  # what is waited for a shorter time is not worth a line
_LINE_EVERY_S = 10.0  # where the line does not move in place
_PATIENCE_S, _PATIENCE_STOPPED_S = 10.0, 3.0  # for an engine that stands still
_LETTER_TRIES = 20
_SHOWN_CHARACTERS = 200
SHOW = "marketpulse tail dead-letters --from-beginning --no-follow"


@dataclass
class Refused:
    """Dead letters by reason, with the first of each."""

    counts: Counter[str] = field(default_factory=Counter)
    examples: dict[str, str] = field(default_factory=dict)

    def take(self, reason: str, detail: str, where: str, value: str | bytes | None) -> None:
        self.counts[reason] += 1
        if reason not in self.examples:
            text = value.decode(errors="backslashreplace") if isinstance(value, bytes) else str(value or "")
            cut = text if len(text) <= _SHOWN_CHARACTERS else f"{text[:_SHOWN_CHARACTERS]}…"
            self.examples[reason] = f"{detail or REASONS.get(reason, '')}; such as {where}: {cut}"

    def lines(self) -> Iterator[str]:
        for reason, count in self.counts.most_common():
            yield f"  {reason} {count:,}: {self.examples[reason]}"
        if "too_late" in self.counts:
            yield "  `marketpulse heal` brings trades that came too late into their bars"
        if self.counts:
            yield f"  all of them: {SHOW}"


class Report:
    """One sender's lines; without `shown` none, as in a process under `up`. A terminal gets one line that moves."""

    def __init__(self, name: str, *, shown: bool, out: TextIO | None = None, clock: Clock | None = None) -> None:
        self.name, self.shown = name, shown
        self.sent, self.refused = 0, Refused()
        self.total: int | None = None  # rows that the source has, where that is known
        self._out, self._clock = out, clock or SystemClock()
        self._waiting: str | None = None
        self._since_s = self._began_s = self._next_s = 0.0
        self._moves = False  # a line without its end stands on the terminal
        self._lock, self._closed = threading.Lock(), threading.Event()

    def waits_for(self, what: str | None) -> None:
        """Something is waited for from now on, or (None) nothing is."""
        with self._lock:
            now = self._clock.monotonic()
            if (what is None) != (self._waiting is None):
                self._since_s, self._next_s = now, now + _QUIET_S
            self._waiting = what

    def take(self, polled: Polled) -> None:
        """These rows are in the log."""
        with self._lock:
            self._began_s = self._began_s or self._clock.monotonic()
            self.sent += sum(batch.num_rows for batch in polled.batches)
            for item in polled.rejected:
                self.refused.take(item.reason, item.detail, f"{item.origin}, row {item.row}", item.value)

    def say(self, *lines: str) -> None:
        if self.shown:
            with self._lock:
                self._print("".join(f"{line}\n" for line in lines))

    def turn(self) -> None:
        """Print what is due. Called by a thread of this object four times a second."""
        with self._lock:
            now = self._clock.monotonic()
            moves = self._terminal()
            if now < self._next_s or not (text := self._line(now)):
                return
            self._next_s = now + (_TURN_S if moves else _LINE_EVERY_S)
            self._print(text if moves else f"{text}\n", moves=moves)

    def __enter__(self) -> "Report":
        if self.shown:
            threading.Thread(target=self._run, name="report", daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._closed.set()
        with self._lock:
            if self._moves:
                self._print("")

    def _run(self) -> None:
        while not self._closed.wait(_TURN_S):
            self.turn()

    def _line(self, now: float) -> str:
        if self._waiting is not None:
            return f"{self.name}: waiting for {self._waiting} ({now - self._since_s:,.0f} s)"
        if not self.sent:
            return ""
        of = "" if self.total is None else f" of {self.total:,}"
        rate = self.sent / max(now - self._began_s, 1e-3)
        return f"{self.name}: {self.sent:,}{of} rows sent, {rate:,.0f} rows/s"

    def _terminal(self) -> bool:
        return (self._out or sys.stderr).isatty()

    def _print(self, text: str, *, moves: bool = False) -> None:
        out = self._out or sys.stderr
        out.write(("\r\x1b[K" if self._moves or moves else "") + text)
        out.flush()
        self._moves = moves


@dataclass(frozen=True, slots=True)
class Fates:
    """What the engine did with a sender's rows. `shared`: duplicates that came together with rows of other sources, of
    which it cannot be told whose they are. `heals`: what came behind the window is brought in by itself."""

    count: SourceCount
    shared: int
    refused: Refused
    heals: bool = True


class EngineSide:
    """What the engine has done with the rows that a sender writes from now on. Its calls raise Retryable, or Fatal where
    the cluster does not let us look."""

    def __init__(self, settings: Settings, source: str, sender: str) -> None:
        self._source, self._sender = source, sender
        self._topic, self._clock = settings.topic("market"), SystemClock()
        self._heals = settings.heals_by_itself
        self._log = LogReader(settings)
        try:
            self._letters = self._ends("dead-letters")
            self._begin = self._ends("market")
            self._shared = self._counted(self._log.counted())[1]
        except MarketPulseError:
            self._log.close()
            raise

    def wait(self, report: Report, life: Lifecycle) -> str:
        """Return once the engine has read what stands in `market` now, or with the reason when it stands still."""
        ends = self._log.written()
        before, patient_until = None, 0.0
        while True:
            counted = self._log.counted()
            offsets = {p: offset for p, (offset, _) in counted.items()}
            if all(offsets.get(p, 0) >= end for p, end in ends.items()):
                return ""
            read = self._counted(counted)[0].rows
            if before != offsets:
                patience = _PATIENCE_STOPPED_S if life.stop.is_set() else _PATIENCE_S
                before, patient_until = offsets, self._clock.monotonic() + patience
            elif self._clock.monotonic() > patient_until:
                if not read:
                    return "no engine has read them yet: start `marketpulse up`"
                return f"the engine has read {read:,} of them and stands still: `marketpulse doctor` says more"
            report.waits_for(f"the engine: it has read {read:,} of {report.sent:,} rows")
            life.health.beat()
            self._clock.sleep(_TURN_S)

    def fates(self, sent: int) -> Fates:
        """Of the `sent` rows, once the engine has read them."""
        count, shared = self._counted(self._log.counted())
        refused, expected = Refused(), count.refused + max(0, sent - count.rows)
        for _ in range(_LETTER_TRIES):  # another transaction may be open in front of them
            if refused.counts.total() >= expected:
                break
            refused = self._read_letters()
            self._clock.sleep(_TURN_S)
        return Fates(count, shared - self._shared, refused, self._heals)

    def close(self) -> None:
        self._log.close()

    def _ends(self, topic: str) -> dict[int, int]:
        return {p: self._log.span(p, topic).end for p in range(self._log.partitions(topic))}

    def _counted(self, commits: Mapping[int, tuple[int, SourceCounts]]) -> tuple[SourceCount, int]:
        """Our rows in all partitions, and the duplicates that are shared."""
        counted = [counts for _, counts in commits.values()]
        own = [count for count in (c.of(self._source) for c in counted) if count.sender == self._sender]
        return reduce(add, own, SourceCount(self._sender)), sum(c.of(SHARED).duplicates for c in counted)

    def _read_letters(self) -> Refused:
        """The dead letters of our rows: of several about one row, which follow each other, the first."""
        refused, before = Refused(), None
        for partition, begin in self._letters.items():
            for letter in self._log.letters(partition, begin):
                place = (letter["partition"], letter["offset"], letter["row"])
                if place != before and self._is_own(letter):
                    where = f"{self._topic}/{letter['partition']}@{letter['offset']}"
                    refused.take(letter["reason"], letter["detail"], where, letter["value"])
                    before = place
        return refused

    def _is_own(self, letter: Mapping[str, Any]) -> bool:
        if letter["topic"] != self._topic or letter["offset"] < self._begin.get(letter["partition"], 0):
            return False
        try:
            record = orjson.loads(letter["value"] or "{}")
        except orjson.JSONDecodeError:
            return False
        if not isinstance(record, dict) or record.get("source") != self._source:
            return False
        return KIND_OF_TYPE.get(record.get("type", "")) not in WITHOUT_SYMBOL  # a promise of time is no row


def summarise(report: Report, fates: Fates | None, why: str = "") -> bool:
    """Say what became of the rows; whether all of them were taken. Without `fates` the reason `why` stands in their place."""
    refused = Refused(report.refused.counts.copy(), dict(report.refused.examples))
    head = f"{report.name}: {report.sent + refused.counts.total():,} rows read, {report.sent:,} sent"
    notes: list[str] = []
    if fates is None:
        head += f"; {why}" if why else ""
    else:
        count, shared = fates.count, fates.shared
        duplicates = count.duplicates + shared
        accepted = count.rows - duplicates - count.refused
        revising = min(count.late, accepted)  # a bar that came once more was late as well, and changed nothing
        late = f", {revising:,} came late and revised their bars" if revising else ""
        if count.behind:
            what = "`marketpulse up` brings them in by itself within a minute"
            then = what if fates.heals else "`marketpulse heal` brings them in"
            notes.append(f"  {_number(count.behind, 'row')} came behind the correction window: {then}")
        head += f"; the engine has accepted {accepted:,}{late}; {_number(duplicates, 'duplicate')}"
        if missing := report.sent - accepted - duplicates - fates.refused.counts.total():
            less = "less" if missing > 0 else "more"
            notes.append(f"  the engine has counted {abs(missing):,} rows {less} than were sent")
        if shared:
            notes.append(f"  of the duplicates {shared:,} came together with rows of other sources, and may be theirs")
        refused.counts += fates.refused.counts
        refused.examples |= fates.refused.examples
    report.say(f"{head}, {_number(refused.counts.total(), 'dead letter')}", *refused.lines(), *notes)
    return not refused.counts


def _number(count: int, what: str) -> str:
    return f"{count:,} {what}" if count == 1 else f"{count:,} {what}s"
