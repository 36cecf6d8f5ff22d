"""A topic with other people's JSON or Avro as a source: mapped as files are, and keyed by symbol.

    topic -> window (a stretch of offsets, sorted by event time) -> rows in chunks

A topic that is read from far back is one large window (up to 500,000 records), so that what lies in
several partitions comes out in order; then windows are what arrives. `mode` auto: live when the
newest event time of the first rows is younger than the engine's max_age, else historical.

Historical: windows are closed half a second after their first record, so that partitions meet; the
watermark is the newest event time sent less the lateness; silence for source_timeout ends the run
(goodbye), and the next record begins another. Live: the watermark is now, less the lateness, less
the delay with which rows have been arriving, while nothing waits unread.
"""

import hashlib
import json
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from marketpulse.clock import Clock, SystemClock
from marketpulse.errors import Retryable
from marketpulse.model.market import COMPLETE
from marketpulse.ports import ForeignTopic, Hello, Polled
from marketpulse.settings import EngineSettings, KafkaSourceSettings
from marketpulse.sources.avro_rows import avro_reader
from marketpulse.sources.json_rows import from_records
from marketpulse.sources.kafka_window import TopicReader, Understood, Window
from marketpulse.sources.mapping import NoSuchColumn, NotUnderstood
from marketpulse.sources.pace import ROWS_MAX
from marketpulse.sources.tape import build
from marketpulse.telemetry import get_logger

_RECORDS_MAX = 500_000
_HOLD_S = 0.5
_FIRST_S = 5.0  # how long start() gathers before it says hello
_LONE_S = 60.0  # how long a row waits for another that tells whether it is a day's bar
_UNDERSTOOD_WITHIN = 10_000  # records: of a topic without one row that can be understood, no more are waited for
_DELAY_MEMORY_S = 300.0
_REJECTED_MAX = 5_000
_NOTHING = Understood(build({}), [], np.empty(0, np.int64))


@dataclass(slots=True)
class _Place:
    """What a position says: the window begun at `start`; if `stop` is set, `row` rows of it are sent."""

    start: dict[int, int]
    stop: dict[int, int] | None = None
    row: int = 0
    rejected: int = 0
    run: int = 0
    mode: str | None = None
    timeframe: str | None = None
    day_first: bool | None = None

    def text(self) -> str:
        pairs = {k: {str(p): o for p, o in v.items()} for k, v in (("start", self.start), ("stop", self.stop)) if v}
        rest = {k: getattr(self, k) for k in ("row", "rejected", "run", "mode", "timeframe") if getattr(self, k)}
        rest |= {} if self.day_first is None else {"day_first": self.day_first}
        return json.dumps({**pairs, **rest}, separators=(",", ":"))

    @classmethod
    def parse(cls, text: str | None) -> "_Place":
        found = json.loads(text) if text else {}
        for name in ("start", "stop"):
            if name in found:
                found[name] = {int(p): o for p, o in found[name].items()}
        return cls(**{"start": {}, **found})


def begin_again(position: str | None) -> str | None:
    """The position that reads the topic from its beginning once more, as a run of its own."""
    return None if position is None else _Place({}, run=_Place.parse(position).run + 1).text()


class KafkaTopicSource:
    """A `Source` over a `ForeignTopic`. Rows that do not map are set aside with their offset as row."""

    def __init__(
        self,
        settings: KafkaSourceSettings,
        topic: ForeignTopic,
        source: str,
        engine: EngineSettings,
        *,
        name: str | None = None,
        clock: Clock | None = None,
        alive: Callable[[], None] = lambda: None,
    ) -> None:
        self._settings = settings
        self._name = name or settings.topic  # of its section in the configuration
        self._topic = topic
        self._source = source
        self._engine = engine
        self._lateness_ns = max(1, engine.lateness_ms * 1_000_000)
        self._clock = clock or SystemClock()
        self._alive = alive
        avro = avro_reader(settings)
        self._reader = TopicReader(settings.topic, settings.mapping, decode=avro.rows if avro else from_records)
        self._delays: deque[tuple[float, int]] = deque()
        self._pending_hello = False
        self._asked_for_timeframe = False

    @property
    def note(self) -> str:
        """What happened to the topic and what its rows were understood to be, for people; it changes with what is revised."""
        reads = self._reader.understood and (
            f"reads {self._reader.understood}; change it in [sources.{self._name}.mapping]"
        )
        return "; it ".join(part for part in (self._topic.created, reads) if part)

    def start(self, position: str | None) -> Hello:
        """Seek, gather what is there for at most some seconds, and say in which mode it is."""
        self._at = _Place.parse(position)
        self._mode = self._at.mode or (None if self._settings.mode == "auto" else self._settings.mode)
        self._reader.timeframe = self._settings.mapping.timeframe or self._at.timeframe
        self._reader.day_first = self._at.day_first
        self._rows = _NOTHING
        self._newest_ns: int | None = None
        self._over = False
        self._caught_up = False
        if self._at.stop:  # a missing topic is created only where nothing was read from it, and `start` may be empty
            self._topic.seek(self._at.stop)
        self._topic.seek(self._at.start)
        self._window, self._tried = Window(self._at.start), 0
        self._heard_s = self._clock.monotonic()
        if self._at.stop is not None:
            self._read_again(self._at.stop)
        else:
            self._gather(_FIRST_S)
            self._close_window()
        return self._hello()

    def poll(self, timeout_s: float) -> Polled:
        """Rows of the window at hand in chunks; then the next window. Raises Retryable."""
        if not self._left():
            self._gather(timeout_s)
            if not self._window_is_full():
                return self._idle()
            self._close_window()
        return self._send() if self._left() else Polled()

    def watermark_ns(self) -> int | None:
        promised = self._promise_ns()
        row = self._at.row
        if promised is None or row >= len(self._rows.tape):
            return promised
        return min(promised, int(self._rows.tape.time_ns[row]) - 1)

    def close(self) -> None:
        self._topic.close()

    # --- windows ---

    def _gather(self, timeout_s: float) -> None:
        """Add what comes to the window, until it is full or the time is over."""
        deadline = self._clock.monotonic() + timeout_s
        while True:
            left = deadline - self._clock.monotonic()
            found = self._topic.poll(max(0.0, min(left, _HOLD_S / 5)))
            self._alive()
            if found:
                self._heard_s = self._clock.monotonic()
                if not len(self._window):
                    self._opened_s = self._heard_s
                self._window.add(found)
            nothing_stood_there = self._topic.at_end() and not len(self._window) and not self._caught_up
            if left <= 0 or nothing_stood_there or self._window_is_full():
                return

    def _window_is_full(self) -> bool:
        window = self._window
        if len(window) <= self._tried:  # empty, or nothing new since it could not be understood
            return bool(window.values) and self._is_lone()
        if len(window) >= _RECORDS_MAX:
            return True
        if not self._topic.at_end():
            return self._mode == "live" and self._caught_up
        return self._mode == "live" or self._clock.monotonic() - self._opened_s >= _HOLD_S or not self._caught_up

    def _is_lone(self) -> bool:
        """Whether nothing has come for long that could tell more of the rows that wait."""
        return self._clock.monotonic() - self._heard_s >= _LONE_S

    def _understand(self, live: bool) -> Understood | None:
        """Raises Retryable while nothing that has come can be understood, and Fatal when that has been much."""
        try:
            return self._reader.read(self._window, live, lone=self._is_lone())
        except (NotUnderstood, NoSuchColumn) as error:
            self._tried = len(self._window)
            if len(self._window) >= _UNDERSTOOD_WITHIN:
                raise
            raise Retryable(f"{error}; it waits for rows that can be understood") from None

    def _close_window(self) -> None:
        """Understand the window and make it the one that is sent. Raises what `_understand` does."""
        if not len(self._window):
            self._caught_up = self._topic.at_end()
            return
        rows = self._understand(live=self._mode == "live")
        if self._mode is None and rows is not None and len(rows.tape):
            self._decide(int(rows.tape.time_ns[-1]))
            if self._mode == "live":
                rows = self._understand(live=True)
        if rows is None:
            self._tried = len(self._window)
            self._ask_for_timeframe()
            return
        self._note_delays(rows)
        self._caught_up = self._topic.at_end()
        self._rows = rows
        self._at.stop, self._at.row, self._at.rejected = self._window.stop, 0, 0
        self._at.timeframe, self._at.day_first = self._reader.timeframe, self._reader.day_first
        if not self._left():
            self._next_window()

    def _next_window(self) -> None:
        """All of the window is sent: the next one begins where it ended."""
        self._at.start, self._at.stop, self._at.row, self._at.rejected = dict(self._at.stop or {}), None, 0, 0
        self._window, self._tried = Window(self._at.start), 0
        self._rows = _NOTHING

    def _read_again(self, stop: dict[int, int]) -> None:
        """After a restart inside a window: read exactly its records, and stand behind those sent."""
        row, rejected = self._at.row, self._at.rejected
        while any(self._window.stop.get(p, 0) < offset for p, offset in stop.items()):
            self._window.add(self._topic.poll(_HOLD_S), until=stop)
            self._alive()
            if self._topic.at_end():
                break
        self._topic.seek(stop)
        self._window.stop = dict(stop)
        self._rows = self._reader.read(self._window, live=self._mode == "live", lone=True) or _NOTHING
        self._at.stop, self._at.row, self._at.rejected = stop, row, rejected
        if not self._left():
            self._next_window()

    def _left(self) -> bool:
        return self._at.row < len(self._rows.tape) or self._at.rejected < len(self._rows.rejected)

    def _ask_for_timeframe(self) -> None:
        if not self._asked_for_timeframe:
            self._asked_for_timeframe = True
            get_logger().warning(
                "timeframe_unknown", topic=self._settings.topic,
                todo="waiting for a symbol's second bar to tell their length; or set mapping.timeframe",
            )  # fmt: skip

    # --- what is said ---

    def _send(self) -> Polled:
        at, rows = self._at, self._rows
        rejected = rows.rejected[at.rejected : at.rejected + _REJECTED_MAX]
        stop = min(len(rows.tape), at.row + ROWS_MAX)
        batches = []
        if stop > at.row:
            batches = rows.tape.batches(
                at.row, stop, self._source, self._clock.now_ns(), window_ns=min(500_000_000, self._lateness_ns // 4)
            )
            self._newest_ns = max(self._newest_ns or 0, int(rows.tape.time_ns[stop - 1]))
        at.row, at.rejected = stop, at.rejected + len(rejected)
        if not self._left():
            self._next_window()
        hello = self._hello() if self._pending_hello else None
        self._pending_hello = self._over = False
        return Polled(batches, self._at.text(), hello=hello, rejected=rejected)

    def _idle(self) -> Polled:
        """Nothing came. A historical run that has been silent for source_timeout is over."""
        silent_s = self._clock.monotonic() - self._heard_s
        if self._mode != "historical" or self._over or len(self._window) or not self._topic.at_end():
            return Polled()
        if self._newest_ns is None or silent_s < self._engine.source_timeout_s:
            return Polled()
        self._over = self._pending_hello = True
        self._newest_ns = None
        self._at.run += 1
        return Polled(position=self._at.text(), goodbye_watermark_ns=COMPLETE)

    def _decide(self, newest_ns: int) -> None:
        """Live or historical, from the first rows; said again when hello had to guess."""
        young = newest_ns > self._clock.now_ns() - int(self._engine.max_age_s * 1e9)
        self._mode = self._at.mode = "live" if young else "historical"
        self._pending_hello = True

    def _hello(self) -> Hello:
        run = f"{self._settings.bootstrap_servers}/{self._settings.topic}/{self._at.run}/{self._mode}"
        self._pending_hello = False
        return Hello(
            source=self._source,
            mode="historical" if self._mode == "historical" else "live",
            run_id=hashlib.blake2b(run.encode(), digest_size=8).hexdigest(),
            lateness_ns=self._lateness_ns,
        )

    def _note_delays(self, rows: Understood) -> None:
        """How late rows arrive. Of what stood in the topic before us, only the freshest row tells."""
        if not rows.delays_ns.size:
            return
        now = self._clock.monotonic()
        self._delays.append((now, int(np.percentile(rows.delays_ns, 99 if self._caught_up else 0))))
        while self._delays and now - self._delays[0][0] > _DELAY_MEMORY_S and len(self._delays) > 1:
            self._delays.popleft()

    def _promise_ns(self) -> int | None:
        if self._mode == "historical":
            return None if self._newest_ns is None else self._newest_ns - self._lateness_ns
        if self._mode is None or not self._caught_up or not self._topic.at_end() or not self._delays:
            return None
        delay = max(0, *(d for _, d in self._delays))
        return self._clock.now_ns() - self._lateness_ns - delay
