"""A vendor that is asked again and again as a source: bars that have closed, each once, in order, over restarts.

    turns (whose question is next) -> RestClient -> the vendor's reading -> standing (what is new) -> the log

Its rows are historical to the engine: their own times are their clock, so nothing is too old after a pause, and the
vendor may be as late as it is. The log's watermark follows its heartbeats only: what all symbols have passed.
"""

import hashlib
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

import numpy as np
import orjson
import polars as pl

from marketpulse.clock import Clock, SystemClock
from marketpulse.errors import SettingsError
from marketpulse.model.market import LATEST_TIME_NS
from marketpulse.model.timeframe import DAY_NS, SECOND_NS, Timeframe
from marketpulse.ports import Hello, Polled, RejectedInput
from marketpulse.settings import PolledSettings
from marketpulse.sources.actions.ledger import ActionsVendor, Ledger
from marketpulse.sources.dataset import concat_rows
from marketpulse.sources.event_rows import event_rows
from marketpulse.sources.news.ledger import NewsLedger
from marketpulse.sources.news.vendors import NewsVendor
from marketpulse.sources.normalise import Rows
from marketpulse.sources.pace import ROWS_MAX
from marketpulse.sources.rest.answer import Answer
from marketpulse.sources.rest.bar_answer import Reading, newest_words
from marketpulse.sources.rest.client import RestClient
from marketpulse.sources.rest.faults import Refused
from marketpulse.sources.rest.place import read_beside, read_place, write_place
from marketpulse.sources.rest.question import Question
from marketpulse.sources.rest.standing import Standing, Taken
from marketpulse.sources.rest.turns import Turns
from marketpulse.sources.symbols import ours
from marketpulse.sources.tape import Tape, build
from marketpulse.telemetry import BARS_CHANGED, REST_ROWS, REST_SILENT_SECONDS, SOURCE_GAPS, get_logger

# Only heartbeats move the watermark: rows of one symbol say nothing of the others.
_LATENESS_NS = 100 * 365 * DAY_NS
_LONGEST_S = 3_600.0
_USUAL_S = 60.0  # between two questions for rows that are no bars
_QUESTION_ROWS_MAX = 1_000_000  # the pages of one question are in memory until the last has come
_QUIET_S = 900.0  # between two questions while the venue is closed
_FAULTS_MAX = 10_000
_OVERDUE_S = 600.0  # of open market, beside what the vendor may be behind: no row for so long is a silence
_REFUSED_S = 3_600.0  # before a symbol that the vendor does not know is asked for again; doubled up to a day


class Vendor(Protocol):
    """What is different from vendor to vendor."""

    name: str

    @property
    def timeframe(self) -> Timeframe | None:
        """Of its bars; None: it brings none, or it is not known before the first have come."""
        ...

    def question(self, symbol: str, since_ns: int | None, now_ns: int) -> Question:
        """How to ask for a symbol's bars that close after `since_ns`; None: with their history. Begins a chain of pages."""
        ...

    def read(self, symbol: str, answer: Answer) -> Reading:
        """Every row of the answer as a bar or a dead letter; never raises for what a vendor may send."""
        ...


@dataclass(slots=True)
class Chain:
    """The pages of one question that have come, and the question for the next of them."""

    name: str
    first: Question
    question: Question
    pages: list[Reading] = field(default_factory=list)

    def rows(self) -> int:
        return sum(page.total() for page in self.pages)

    def merged(self) -> Reading:
        """All pages as one answer, each bar as it came last."""
        if len(self.pages) == 1:
            return self.pages[0]
        bars = [page.rows for page in self.pages if page.rows is not None]
        events = [page.events for page in self.pages if page.events is not None]
        kinds = dict.fromkeys(kind for page in self.pages for kind in page.ticks)
        return replace(
            self.pages[-1],
            rows=newest_words(concat_rows(bars)) if bars else None,
            rejected=[item for page in self.pages for item in page.rejected],
            ticks={
                kind: concat_rows([page.ticks[kind] for page in self.pages if kind in page.ticks]) for kind in kinds
            },
            events=concat_rows(events) if events else None,
            count=self.rows(),
            not_asked=sum(page.not_asked for page in self.pages),
        )


class PolledSource:
    """A `Source` over a `Vendor`. `source` is the name that its rows carry. `together`: one question asks for all symbols.
    `learn` is told the timeframe that the vendor found before a restart, where it does not know its own.
    `is_open`: (venue, at_ns) -> whether its session is open, by which a silence is judged.
    `actions`, `news`: how splits, dividends and news are asked for, news every `news_every_s`; None: they are not."""

    def __init__(
        self,
        vendor: Vendor,
        client: RestClient,
        settings: PolledSettings,
        source: str,
        *,
        clock: Clock | None = None,
        alive: Callable[[], None] = lambda: None,
        together: bool = False,
        learn: Callable[[str], None] | None = None,
        is_open: Callable[[str | None, int], bool] = lambda venue, at_ns: False,  # noqa: ARG005
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
        self._every_s = settings.every_s
        self._learn, self._is_open = learn, is_open
        self._venues: set[str | None] = set()  # of the rows that came
        symbols = list(dict.fromkeys(ours(symbol) for symbol in settings.symbols))
        self._members = {"all symbols": symbols} if together else {symbol: [symbol] for symbol in symbols}
        self._turns = Turns(list(self._members))
        self._chain: Chain | None = None  # whose next page is to be asked for
        self._answered: set[str] = set()  # who has had a whole answer in this run
        self._floor: dict[str, int] = {}  # where the next stretch of a history begins
        self._standing = {symbol: Standing(symbol) for symbol in symbols}
        self._former: dict[str, int] = {}  # of symbols that are not asked for any more: kept, they may come back
        self._unknown: dict[str, int] = {}  # symbol -> how often in a row the vendor did not know it
        self._ledger = None if actions is None else Ledger(actions, source, symbols)
        self._news = None if news is None else NewsLedger(news, source, symbols, news_every_s)
        self._tape: Tape | None = None
        self._row = 0
        self._sending: Mapping[str, int] = {}  # the symbols on the tape, and where they stood before
        self._faults: OrderedDict[bytes, None] = OrderedDict()  # rows that were set aside: most answers repeat them

    def start(self, position: str | None) -> Hello:
        """Stand where the rows that were committed with `position` end. Asks nothing yet."""
        until = read_place(position)
        self._former = {symbol: at for symbol, at in until.items() if symbol not in self._standing}
        for symbol, standing in self._standing.items():
            standing.until_ns = until.get(symbol)
        self._tape, self._row, self._chain = None, 0, None
        beside = read_beside(position)
        if self._learn is not None and "timeframe" in beside:
            self._learn(beside["timeframe"])
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
        symbol = self._chain.name if self._chain is not None else self._turns.next(now_s)
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
        promises = [
            self._standing[symbol].promise_ns
            for name, members in self._members.items()
            for symbol in members
            if name not in self._unknown
        ]
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

    def _ask(self, name: str) -> Polled:
        """Ask for the next page, or begin anew; with the last page everything is taken."""
        chain = self._chain or self._new_chain(name)
        self._turns.asked(name)
        try:
            answer = self._client.get(chain.question.path, chain.question.parameters)
        except Refused as error:
            self._chain = None
            if chain.pages and error.status == 404:  # how many vendors say that there is no such page any more
                return self._take(chain, self._clock.now_ns())
            return self._refused(name, error, between_pages=bool(chain.pages))
        self._unknown.pop(name, None)
        reading = self._vendor.read(name, answer)
        chain.pages.append(reading)
        if reading.following is None:
            self._chain = None
            return self._take(chain, answer.received_ns)
        if chain.rows() > _QUESTION_ROWS_MAX:
            raise SettingsError(
                f"{self._source}: one question has brought more than {_QUESTION_ROWS_MAX:,} rows, and the vendor has more: "
                "set span_days of this source, and put {since} and {until} into its url"
            )
        chain.question, self._chain = reading.following, chain
        return Polled()

    def _new_chain(self, name: str) -> Chain:
        now_ns = self._clock.now_ns()
        ends = [self._standing[symbol].until_ns for symbol in self._members[name]]
        there = [end for end in ends if end is not None]
        # A symbol without rows asks for its history once a run only, where others are asked for with it.
        since_ns = min(there) if there and (len(there) == len(ends) or name in self._answered) else None
        if name in self._floor:
            since_ns = max(since_ns or 0, self._floor[name])
        question = self._vendor.question(name, since_ns, now_ns)
        return Chain(name, question, question)

    def _take(self, chain: Chain, now_ns: int) -> Polled:
        """What of a whole answer is new, as the first part of its rows."""
        name, reading, members = chain.name, chain.merged(), self._members[chain.name]
        before = {symbol: self._standing[symbol].until_ns or 0 for symbol in members}
        asked_to_ns = chain.first.until_ns or LATEST_TIME_NS
        if reading.is_full:
            tables = [*([] if reading.rows is None else [reading.rows]), *reading.ticks.values()]
            asked_to_ns = max((int(rows.time_ns.max()) for rows in tables), default=0)
        rejected = [item for item in reading.rejected if self._is_new(item)]
        taken = {
            symbol: self._standing[symbol].take(
                reading if len(members) == 1 else _of(reading, symbol), now_ns, settle_ns=self._settle_ns,
                delay_ns=self._delay_ns, truncated=chain.first.truncated or reading.is_cut, asked_to_ns=asked_to_ns,
            )
            for symbol in members
        }  # fmt: skip
        parts = self._parts(reading, {symbol: part for symbol, part in taken.items() if part is not None})
        self._count(reading, parts, sum(self._standing[symbol].waiting for symbol in members), len(rejected))
        moved = any((self._standing[symbol].until_ns or 0) > end for symbol, end in before.items())
        goes_on = self._goes_on(chain, reading, moved)
        self._turns.again_at(name, self._clock.monotonic() if goes_on else self._due_s(name, reading))
        self._answered.add(name)
        self._note_silence(reading, now_ns)
        if not parts:
            return Polled(rejected=rejected, position=self._position() if rejected else None)
        self._sending = before
        self._tape, self._row = build(parts), 0
        return self._send(self._tape, rejected)

    def _parts(self, reading: Reading, taken: Mapping[str, Taken]) -> dict[str, list[Rows]]:
        """What goes into the log, by kind."""
        parts: dict[str, list[Rows]] = {}
        for symbol, part in taken.items():
            if part.changed:
                BARS_CHANGED.labels(self._source).inc(part.changed)
                get_logger().info("bars_changed", source=self._source, symbol=symbol, bars=part.changed)
            if part.gap is not None:
                SOURCE_GAPS.labels(self._source).inc()
                parts.setdefault("event", []).append(_gap_row(symbol, *part.gap))
            for kind, rows in (*part.ticks.items(), ("bar", part.rows)):
                if rows is not None and len(rows):
                    parts.setdefault(kind, []).append(rows)
        if reading.events is not None and "bar" in parts:
            opened = {key for rows in parts["bar"] for key in rows.frame.select("symbol", "open_time_ns").rows()}
            keys = zip(reading.events.frame["symbol"], reading.events.time_ns.tolist(), strict=True)
            told = reading.events.take(np.array([key in opened for key in keys], np.bool_))
            parts.setdefault("event", []).append(told)
        return parts

    def _count(self, reading: Reading, parts: Mapping[str, Sequence[Rows]], waiting: int, refused: int) -> None:
        """Each row of an answer under what became of it."""
        accepted = sum(len(rows) for kind, blocks in parts.items() for rows in blocks if kind != "event")
        ends = {"accepted": accepted, "waiting": waiting, "refused": refused, "not_asked": reading.not_asked}
        for end, rows in {**ends, "repeated": reading.total() - sum(ends.values())}.items():
            REST_ROWS.labels(self._source, end).inc(max(0, rows))

    def _note_silence(self, reading: Reading, now_ns: int) -> None:
        """Say how old the newest row is, where the market has been open for longer than a newer one may take."""
        for rows in (reading.rows, *reading.ticks.values()):
            if rows is not None:
                self._venues |= set(rows.frame["venue"].unique())
        newest_ns = max((s.until_ns for s in self._standing.values() if s.until_ns is not None), default=now_ns)
        length_ns = 0 if self._vendor.timeframe is None else self._vendor.timeframe.length
        allowed_s = max(3 * self._usual_s(), _OVERDUE_S)
        due_ns = now_ns - length_ns - self._delay_ns - int(allowed_s * SECOND_NS)
        is_silent = newest_ns < due_ns and any(
            self._is_open(venue, due_ns) and self._is_open(venue, now_ns) for venue in self._venues
        )
        REST_SILENT_SECONDS.labels(self._source).set((now_ns - newest_ns) / SECOND_NS if is_silent else 0.0)

    def _goes_on(self, chain: Chain, reading: Reading, moved: bool) -> bool:
        """Whether there is more to ask for at once: the next stretch of a history, or what is behind a full answer."""
        if reading.is_full:
            if not moved:
                get_logger().warning(
                    "answer_full_of_old_rows", source=self._source, asked=chain.first.path, rows=reading.total(),
                    todo="let the vendor answer more rows and raise page_rows, or page with {page}, {offset} or {cursor}",
                )  # fmt: skip
            return moved
        if chain.first.until_ns is not None:
            self._floor[chain.name] = chain.first.until_ns
        return chain.first.until_ns is not None

    def _send(self, tape: Tape, rejected: Sequence[RejectedInput] = ()) -> Polled:
        """The next rows. A long answer goes in parts, and the position says how far they have come."""
        stop = min(len(tape), self._row + ROWS_MAX)
        # Rows of one time go together: the position is a time.
        stop = int(np.searchsorted(tape.time_ns, tape.time_ns[stop - 1], side="right"))
        batches = tape.batches(self._row, stop, self._source, self._clock.now_ns())
        self._row = stop
        if stop == len(tape):
            self._tape = None
        return Polled(batches, self._position(), rejected=rejected)

    def _position(self) -> str:
        reached = {symbol: s.until_ns for symbol, s in self._standing.items() if s.until_ns is not None}
        if self._tape is not None:  # a bar's time on the tape is its close
            until_ns = int(self._tape.time_ns[self._row - 1])
            reached |= {symbol: max(before_ns, until_ns) for symbol, before_ns in self._sending.items()}
        beside = {} if self._ledger is None else self._ledger.position()
        if self._learn is not None and self._vendor.timeframe is not None:
            beside["timeframe"] = self._vendor.timeframe.name
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

    def _due_s(self, name: str, reading: Reading) -> float:
        """When to ask again, monotonic seconds: when the next bar has closed, at the earliest."""
        timeframe, wait = self._vendor.timeframe, self._usual_s()
        ends = [self._standing[symbol].until_ns for symbol in self._members[name]]
        if timeframe is not None and timeframe.length == DAY_NS and None not in ends:
            # Before then the next day's bar is not known to have closed, and requests are few.
            closed_ns = min(end for end in ends if end is not None) + DAY_NS + self._delay_ns
            wait = max(wait, (closed_ns - self._clock.now_ns()) / SECOND_NS)
        if reading.busy is False:
            wait = max(wait, _QUIET_S)
        return self._clock.monotonic() + wait

    def _usual_s(self) -> float:
        """Between two questions for a symbol while its market is open."""
        timeframe = self._vendor.timeframe
        return self._every_s or (_USUAL_S if timeframe is None else min(_LONGEST_S, timeframe.length / SECOND_NS))

    def _refused(self, symbol: str, error: Refused, *, between_pages: bool) -> Polled:
        """The vendor does not know the symbol, or not this question: a dead letter, and asked again much later.

        Between two pages it is the next page's mark that is not known any more: the question is asked anew.
        """
        if between_pages:
            self._turns.again_at(symbol, self._due_s(symbol, Reading()))
        else:
            times = self._unknown[symbol] = self._unknown.get(symbol, 0) + 1
            self._turns.again_at(symbol, self._clock.monotonic() + min(86_400.0, _REFUSED_S * 2 ** (times - 1)))
        get_logger().warning(
            "question_refused", source=self._source, symbol=symbol, error=str(error),
            todo="check the symbol and the settings of this source; the others go on",
        )  # fmt: skip
        letter = RejectedInput("bad_answer", str(error), f"{self._vendor.name} {symbol}", 1, error.body)
        return Polled(rejected=[letter] if self._is_new(letter) else (), position=self._position())


def _of(reading: Reading, symbol: str) -> Reading:
    """What of an answer is of this symbol."""

    def own(rows: Rows) -> Rows:
        return rows.take((rows.frame["symbol"] == symbol).to_numpy())

    ticks = {kind: some for kind, rows in reading.ticks.items() if len(some := own(rows))}
    return replace(reading, rows=None if reading.rows is None else own(reading.rows), ticks=ticks)


def _gap_row(symbol: str, from_ns: int, to_ns: int) -> Rows:
    """An event: bars between these times may be missing, for the vendor's answer does not reach back to them."""
    body = {"from_ns": from_ns, "to_ns": to_ns, "reason": "the vendor's answer does not reach back this far"}
    frame = pl.DataFrame({"type": ["gap"], "symbol": [symbol], "body": [orjson.dumps(body).decode()]})
    at = np.array([to_ns], np.int64)
    return Rows(frame, at, at, np.zeros(1, np.int64))
