"""A vendor that is asked again and again as a source: bars that have closed, each once, in order, over restarts.

    turns (whose question is next) -> RestClient -> the vendor's reading -> standing (what is new) -> the log

Its rows are historical to the engine: their own times are their clock, so nothing is too old after a pause, and the
vendor may be as late as it is. The log's watermark follows its heartbeats only: what all symbols have passed.
"""

import hashlib
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np
import orjson
import polars as pl

from marketpulse.clock import Clock, SystemClock
from marketpulse.model.timeframe import DAY_NS, SECOND_NS, Timeframe
from marketpulse.ports import Hello, Polled, RejectedInput
from marketpulse.settings import PolledSettings
from marketpulse.sources.actions.ledger import ActionsVendor, Ledger
from marketpulse.sources.event_rows import event_rows
from marketpulse.sources.news.ledger import NewsLedger
from marketpulse.sources.news.vendors import NewsVendor
from marketpulse.sources.normalise import Rows
from marketpulse.sources.pace import ROWS_MAX
from marketpulse.sources.rest.answer import Answer
from marketpulse.sources.rest.bar_answer import Reading
from marketpulse.sources.rest.client import RestClient
from marketpulse.sources.rest.faults import Refused
from marketpulse.sources.rest.place import read_beside, read_place, write_place
from marketpulse.sources.rest.question import Question
from marketpulse.sources.rest.standing import Standing, Taken
from marketpulse.sources.rest.turns import Turns
from marketpulse.sources.symbols import ours
from marketpulse.sources.tape import Tape, build
from marketpulse.telemetry import BARS_CHANGED, SOURCE_GAPS, get_logger

# Only heartbeats move the watermark: rows of one symbol say nothing of the others.
_LATENESS_NS = 100 * 365 * DAY_NS
_LONGEST_S = 3_600.0
_QUIET_S = 900.0  # between two questions while the venue is closed
_FAULTS_MAX = 10_000
_REFUSED_S = 3_600.0  # before a symbol that the vendor does not know is asked for again; doubled up to a day


class Vendor(Protocol):
    """What is different from vendor to vendor."""

    name: str
    timeframe: Timeframe

    def question(self, symbol: str, since_ns: int | None, now_ns: int) -> Question:
        """How to ask for a symbol's bars that close after `since_ns`; None: with their history."""
        ...

    def read(self, symbol: str, answer: Answer) -> Reading:
        """Every row of the answer as a bar or a dead letter; never raises for what a vendor may send."""
        ...


class PolledSource:
    """A `Source` over a `Vendor`. `source` is the name that its rows carry. `actions`, `news`: how splits, dividends and
    news are asked for, news every `news_every_s`; None: they are not."""

    def __init__(
        self,
        vendor: Vendor,
        client: RestClient,
        settings: PolledSettings,
        source: str,
        *,
        clock: Clock | None = None,
        alive: Callable[[], None] = lambda: None,
        actions: ActionsVendor | None = None,
        news: NewsVendor | None = None,
        news_every_s: float = 3_600.0,
    ) -> None:
        self._vendor = vendor
        self._client = client
        self._source = source
        self._clock = clock or SystemClock()
        self._alive = alive
        self._settle_ns = int(settings.settle_s * SECOND_NS)
        self._delay_ns = max(self._settle_ns, int(settings.delay_s * SECOND_NS))
        self._every_s = settings.every_s or min(_LONGEST_S, vendor.timeframe.length / SECOND_NS)
        symbols = list(dict.fromkeys(ours(symbol) for symbol in settings.symbols))
        self._turns = Turns(symbols)
        self._standing = {symbol: Standing(symbol) for symbol in symbols}
        self._former: dict[str, int] = {}  # of symbols that are not asked for any more: kept, they may come back
        self._unknown: dict[str, int] = {}  # symbol -> how often in a row the vendor did not know it
        self._ledger = None if actions is None else Ledger(actions, source, symbols)
        self._news = None if news is None else NewsLedger(news, source, symbols, news_every_s)
        self._tape: Tape | None = None
        self._row = 0
        self._sending: tuple[str, int] = ("", 0)  # whose answer it is, and where that symbol stood before
        self._faults: OrderedDict[bytes, None] = OrderedDict()  # rows that were set aside: most answers repeat them

    def start(self, position: str | None) -> Hello:
        """Stand where the rows that were committed with `position` end. Asks nothing yet."""
        until = read_place(position)
        self._former = {symbol: at for symbol, at in until.items() if symbol not in self._standing}
        for symbol, standing in self._standing.items():
            standing.until_ns = until.get(symbol)
        self._tape, self._row = None, 0
        beside = read_beside(position)
        if self._ledger is not None:
            self._ledger.restore(beside)
        if self._news is not None:
            self._news.restore(beside.get("news", {}))
        return Hello(
            source=self._source,
            mode="historical",
            run_id=hashlib.blake2b(f"polled/{self._source}".encode(), digest_size=8).hexdigest(),
            lateness_ns=_LATENESS_NS,
        )

    def poll(self, timeout_s: float) -> Polled:
        """Rows of the answer at hand; else the next answer. Raises Retryable, WrongKey."""
        if self._tape is not None:
            return self._send(self._tape)
        now_s = self._clock.monotonic()
        symbol = self._turns.next(now_s)
        if symbol is None and self._news is not None and self._client.ready_in_s() <= 0:
            about = self._news.due(self._clock.now_ns())
            if about is not None:
                return self._ask_news(self._news, about)
        wait = self._turns.wait_s(now_s) if symbol is None else self._client.ready_in_s()
        if symbol is None or wait > 0:
            self._clock.sleep(min(timeout_s, wait))
            return Polled()
        self._alive()
        if self._ledger is not None and self._ledger.is_due(symbol, self._clock.now_ns()):
            return self._ask_actions(self._ledger, symbol)
        return self._ask(symbol)

    def watermark_ns(self) -> int | None:
        """What every symbol has passed: no older bar will come, but for one that the vendor changes."""
        promises = [s.promise_ns for name, s in self._standing.items() if name not in self._unknown]
        if self._tape is not None or not promises or None in promises:
            return None
        return min(promise for promise in promises if promise is not None)

    def close(self) -> None:
        self._client.close()

    # --- one question ---

    def _ask_actions(self, ledger: Ledger, symbol: str) -> Polled:
        """What of splits and dividends is new goes before the bars behind it."""
        question = ledger.question(symbol, self._clock.now_ns())
        try:
            answer = self._client.get(question.path, question.parameters)
        except Refused as error:
            ledger.refused(self._clock.now_ns())
            get_logger().warning(
                "corporate_actions_refused", source=self._source, symbol=symbol, error=str(error),
                todo="set corporate_actions = false for this source if its plan does not have them",
            )  # fmt: skip
            return Polled()
        actions, rejected = ledger.answered(answer)
        rejected = [item for item in rejected if self._is_new(item)]
        bodies = [action.body(symbol, self._source, action.ex_time_ns) for action in actions]
        batches = [event_rows(bodies)] if bodies else []
        return Polled(batches, self._position() if batches or rejected else None, rejected=rejected)

    def _ask_news(self, ledger: NewsLedger, symbol: str) -> Polled:
        """Where no bars are due."""
        self._alive()
        question = ledger.question(symbol, self._clock.now_ns())
        try:
            answer = self._client.get(question.path, question.parameters)
        except Refused as error:
            ledger.refused()
            get_logger().warning(
                "news_refused", source=self._source, symbol=symbol, error=str(error),
                todo="set news = false for this source if its plan does not have them",
            )  # fmt: skip
            return Polled()
        bodies, rejected = ledger.answered(answer)
        rejected = [item for item in rejected if self._is_new(item)]
        return Polled([event_rows(bodies)] if bodies else [], self._position(), rejected=rejected)

    def _ask(self, symbol: str) -> Polled:
        standing = self._standing[symbol]
        before_ns = standing.until_ns or 0
        question = self._vendor.question(symbol, standing.until_ns, self._clock.now_ns())
        self._turns.asked(symbol)
        try:
            answer = self._client.get(question.path, question.parameters)
        except Refused as error:
            return self._refused(symbol, error)
        self._unknown.pop(symbol, None)
        reading = self._vendor.read(symbol, answer)
        rejected = [item for item in reading.rejected if self._is_new(item)]
        taken = standing.take(
            reading,
            answer.received_ns,
            settle_ns=self._settle_ns,
            delay_ns=self._delay_ns,
            truncated=question.truncated,
        )
        self._turns.again_at(symbol, self._due_s(standing, reading))
        if taken is None:
            return Polled(rejected=rejected, position=self._position() if rejected else None)
        self._sending = symbol, before_ns
        return self._begin(symbol, taken, rejected)

    def _begin(self, symbol: str, taken: Taken, rejected: Sequence[RejectedInput]) -> Polled:
        """Lay an answer's rows out, and send the first of them."""
        if taken.changed:
            BARS_CHANGED.labels(self._source).inc(taken.changed)
            get_logger().info("bars_changed", source=self._source, symbol=symbol, bars=taken.changed)
        parts = {"bar": [taken.rows]} if len(taken.rows) else {}
        if taken.gap is not None:
            SOURCE_GAPS.labels(self._source).inc()
            parts["event"] = [_gap_row(symbol, *taken.gap)]
        self._tape, self._row = build(parts), 0
        return self._send(self._tape, rejected)

    def _send(self, tape: Tape, rejected: Sequence[RejectedInput] = ()) -> Polled:
        """The next rows. A long answer goes in parts, and the position says how far they have come."""
        stop = min(len(tape), self._row + ROWS_MAX)
        batches = tape.batches(self._row, stop, self._source, self._clock.now_ns())
        self._row = stop
        if stop == len(tape):
            self._tape = None
        return Polled(batches, self._position(), rejected=rejected)

    def _position(self) -> str:
        reached = {symbol: s.until_ns for symbol, s in self._standing.items() if s.until_ns is not None}
        if self._tape is not None:  # a bar's time on the tape is its close
            symbol, before_ns = self._sending
            reached[symbol] = max(before_ns, int(self._tape.time_ns[self._row - 1]))
        beside = {} if self._ledger is None else self._ledger.position()
        if self._news is not None:
            beside["news"] = self._news.position()
        return write_place({**self._former, **reached}, beside or None)

    def _is_new(self, item: RejectedInput) -> bool:
        """Whether this row has not been set aside before."""
        digest = hashlib.blake2b(f"{item.origin}/{item.reason}/".encode() + item.value, digest_size=16).digest()
        if digest in self._faults:
            return False
        self._faults[digest] = None
        while len(self._faults) > _FAULTS_MAX:
            self._faults.popitem(last=False)
        return True

    def _due_s(self, standing: Standing, reading: Reading) -> float:
        """When to ask for this symbol again, monotonic seconds: when its next bar has closed, at the earliest."""
        wait = self._every_s
        if self._daily and standing.until_ns is not None:
            # Before then the next day's bar is not known to have closed, and requests are few.
            closed_ns = standing.until_ns + DAY_NS + self._delay_ns
            wait = max(wait, (closed_ns - self._clock.now_ns()) / SECOND_NS)
        if reading.busy is False:
            wait = max(wait, _QUIET_S)
        return self._clock.monotonic() + wait

    @property
    def _daily(self) -> bool:
        return self._vendor.timeframe.length == DAY_NS

    def _refused(self, symbol: str, error: Refused) -> Polled:
        """The vendor does not know the symbol, or not this question: a dead letter, and asked again much later."""
        times = self._unknown[symbol] = self._unknown.get(symbol, 0) + 1
        self._turns.again_at(symbol, self._clock.monotonic() + min(86_400.0, _REFUSED_S * 2 ** (times - 1)))
        get_logger().warning(
            "question_refused", source=self._source, symbol=symbol, error=str(error),
            todo="check the symbol and the settings of this source; the others go on",
        )  # fmt: skip
        letter = RejectedInput("bad_answer", str(error), f"{self._vendor.name} {symbol}", 1, error.body)
        return Polled(rejected=[letter] if self._is_new(letter) else (), position=self._position())


def _gap_row(symbol: str, from_ns: int, to_ns: int) -> Rows:
    """An event: bars between these times may be missing, for the vendor's answer does not reach back to them."""
    body = {"from_ns": from_ns, "to_ns": to_ns, "reason": "the vendor's answer does not reach back this far"}
    frame = pl.DataFrame({"type": ["gap"], "symbol": [symbol], "body": [orjson.dumps(body).decode()]})
    at = np.array([to_ns], np.int64)
    return Rows(frame, at, at, np.zeros(1, np.int64))
