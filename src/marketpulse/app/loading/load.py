"""`load`: files of history through the engine's operators into the lake, and their end state into the pipeline.

    1. fetch      what lies elsewhere
    2. arrange    every row, in order of time, aside on disk
    3. look       where lake and pipeline stand; whatever cannot be done is refused before anything is stored
    4. plan       by partition: go on with the pipeline's state, or begin anew with what the lake has of earlier loads
    5. load       stretch by stretch: check -> engine -> what the lake does not have
    6. hand over  the states at the end, into the log

Nothing of it is kept between runs but what the lake and the log hold. A row that is stored is known by what it says, a result by its
key: so any number of files, in any order, and a run that dies, come to what one load of all files gives.
"""

import contextlib
import itertools
import os
import shutil
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
import orjson
import pyarrow as pa

from marketpulse.app.engine_config import engine_config
from marketpulse.app.loading.base import Base, at_the_log, base_of
from marketpulse.app.loading.difference import StoredResults
from marketpulse.app.loading.earlier import EarlierRows, Loads
from marketpulse.app.loading.engine import Given, PartitionLoad, Rows, empty_rows
from marketpulse.app.loading.identity import BEGUN, WHOLE, Identity, check_settings, identify
from marketpulse.app.loading.revisions import learn_revisions
from marketpulse.app.loading.storing import Storing, flush
from marketpulse.app.loading.stretch import Load, Stretch, stretch_of
from marketpulse.app.lock import worker_slot
from marketpulse.engine.checkpoint import computation, state_to_bytes
from marketpulse.engine.config import EngineConfig
from marketpulse.engine.layout import SOURCES_MAX
from marketpulse.engine.state import new_state
from marketpulse.errors import Fatal
from marketpulse.kafka.dead_letter import encode_dead_letter
from marketpulse.kafka.loaded_rows import LoadedRows
from marketpulse.kafka.seat import Seat, StateOf
from marketpulse.model.market import ABSENT, LOAD_BITS, DeadLetter, MarketBatch
from marketpulse.model.rows import DEAD_LETTER
from marketpulse.model.tables import TABLES
from marketpulse.ports import Sink, SinkBatch
from marketpulse.query.duck import LakeQuery
from marketpulse.query.stored_rows import ALWAYS, StoredRows
from marketpulse.settings import Mapping as Columns
from marketpulse.settings import Settings
from marketpulse.sinks import open_sink
from marketpulse.sources.files import expand
from marketpulse.sources.history import LEAST_ROWS, STRETCH_ROWS, LaidOut, Run, lay_out, read_rejected, stretches
from marketpulse.sources.remote import fetch, is_url
from marketpulse.telemetry import DEAD_LETTERS

SOURCE = "load"
"""Of loaded rows that name no other: one for all loads, so that a trade's id is the same in whatever file it stands."""

_ENGINES = min(8, max(2, os.cpu_count() or 2))  # at a time: kernels run without the interpreter's lock
_RESULTS_MAX = 4_000_000  # values of one stretch; some 10 bytes each, and two stretches wait beside it
_LETTERS = 20_000  # dead letters of one batch


@dataclass(frozen=True, slots=True)
class Request:
    """What to load, and how."""

    files: Sequence[str]
    mapping: Columns = field(default_factory=Columns)
    source: str | None = None  # that the rows carry; unset: SOURCE
    calendar: str | None = None
    name: str | None = None  # instead of the first file's
    complete: bool = False  # nothing follows: close what is open at the end
    lake_only: bool = False
    strict: bool = False


@dataclass(slots=True)
class Progress:
    """How far a load is: what it does, and rows done of so many (0: not known yet)."""

    doing: str
    done: int = 0
    total: int = 0


@dataclass(slots=True)
class Summary:
    """What a load has done. `stored` counts rows by table, `refused` rows by reason; `forming` are bars that are open at
    the end; `restored` are rows that an earlier run had stored, `again` those that the lake or another file has; `seconds` from the
    first row read to the last one durable; `outcome`: `loaded`, `handed over` (all was stored before, its state was not in the
    pipeline), `nothing`."""

    topic: str
    outcome: str = "loaded"
    rows: int = 0
    symbols: int = 0
    stored: Counter[str] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)
    restored: int = 0
    again: int = 0
    cut: int = 0
    duplicates: int = 0
    out_of_session: int = 0
    suspect: int = 0  # that a rule of data quality marks
    forming: int = 0
    first_ns: int | None = None
    last_ns: int | None = None
    handed_over: bool = False
    seconds: float = 0.0


Say = Callable[[Progress], None]


def load(settings: Settings, request: Request, say: Say = lambda _: None) -> Summary:
    """Load; the same again changes nothing. Raises Fatal where something must be decided first (a changed file, symbols
    that the pipeline knows, a running engine), Retryable when store or broker stay away: run it again then."""
    work = settings.data_dir / "load"
    with contextlib.ExitStack() as stack:
        stack.callback(shutil.rmtree, work, ignore_errors=True)
        shutil.rmtree(work, ignore_errors=True)
        paths = _files(request.files, settings, work / "fetched", say)
        at = settings if request.lake_only else stack.enter_context(at_the_log(settings))
        config = engine_config(at.engine)
        base = Base(at.kafka.partitions) if request.lake_only else base_of(at, config)
        source = request.source or SOURCE
        identity = _identity(paths, request, source, config, base.partitions)
        sink = open_sink(at, "lake")
        stack.callback(sink.close)
        return _Load(at, config, request, source, identity, base, sink, say, work).run(paths)


def _files(names: Sequence[str], settings: Settings, directory: Path, say: Say) -> list[Path]:
    """The files here, those that lie elsewhere fetched; in the order given, each once."""
    paths: list[Path] = []
    for number, name in enumerate(names):
        if is_url(name):
            doing = Progress(f"fetching file {number + 1}")
            paths.append(
                fetch(name, directory / str(number), settings.s3, lambda done: say(replace(doing, done=done)))  # noqa: B023
            )
        else:
            paths += expand([name])
    return list(dict.fromkeys(paths))


def _identity(paths: Sequence[Path], request: Request, source: str, config: EngineConfig, partitions: int) -> Identity:
    rules = [repr(rule) for rule in config.alerts]
    unset = {"extra_columns", *(("split_adjusted",) if request.mapping.split_adjusted is None else ())}
    facts = [
        request.mapping.model_dump_json(exclude=unset), source, request.calendar or "", str(request.complete), computation(config),
        str(partitions), *rules,
    ]  # fmt: skip
    return identify(paths, facts, request.name)


class _Load:
    """One run over the files."""

    def __init__(
        self, settings: Settings, config: EngineConfig, request: Request, source: str, identity: Identity, base: Base,
        sink: Sink, say: Say, work: Path,
    ) -> None:  # fmt: skip
        self._settings, self._config, self._request = settings, config, request
        self._source, self._base, self._sink, self._say, self._work = source, base, sink, say, work
        self._topic, self._identity = identity.topic, identity
        self._rows = LoadedRows(self._topic, base.partitions)
        self._engines: dict[int, PartitionLoad] = {}
        self._rows.strings.intern(source)  # before threads share the table
        self._empty = empty_rows(config)
        self._stretch_rows = LEAST_ROWS  # until it is known how many results a row gives
        self._run_topic, self._position = f"run:{uuid4().hex[:12]}", 0
        self._summary = Summary(self._topic)

    def run(self, paths: Sequence[Path]) -> Summary:
        self._positions = self._sink.resume() or {}
        self._loads = Loads.of(self._positions)
        self._number = self._loads.number_of(self._topic)
        whole = self._positions.get((self._topic, 0), 0) >= WHOLE
        there = self._topic in self._base.loads
        if whole and (there or self._request.lake_only):
            self._summary.outcome, self._summary.handed_over = "nothing", there
            return self._summary
        if there:
            raise Fatal(
                f"the pipeline goes on from this file's end ({self._topic}), but the lake no longer holds all of its rows: "
                "restore the lake; or load with --lake-only to fill it again"
            )
        check_settings(self._identity, self._positions)
        began = time.monotonic()
        laid = self._lay_out(paths)
        stored = StoredRows(self._settings)
        self._earlier = EarlierRows(stored, {**self._loads.numbers, self._topic: self._number}, self._work / "earlier")
        self._results = StoredResults(stored, self._topic)
        self._known = self._known_places()
        runs = self._plan(laid)
        ends = self._live_begins(laid)
        self._summary.rows, self._summary.symbols = laid.rows, len(laid.symbols)
        self._summary.first_ns, self._summary.last_ns = laid.first_ns, laid.last_ns
        self._store_all(laid, runs, ends, whole)
        self._summary.seconds = time.monotonic() - began
        if not self._request.lake_only:
            self._hand_over()
        if whole:
            self._summary.outcome = "handed over"
        return self._summary

    def _known_places(self) -> set[tuple[int, int]]:
        """Of dead letters that an earlier run has stored and, with their rows below 0, of its quality records."""
        if self._topic not in self._loads.numbers:
            return set()
        words = self._earlier.places_of(self._topic, "events", "quality", "hello")
        return self._earlier.places_of(self._topic, "dead_letters") | {(offset, -row) for offset, row in words}

    def _plan(self, laid: LaidOut) -> list[Run]:
        """Which partitions go on with the pipeline's state; gives the rows of the lake that go through the engine as well, all of
        their symbols where it begins anew. Raises Fatal where neither can be."""
        symbols = sorted(laid.symbols)
        partitions = self._rows.partition_of(symbols).tolist() if symbols else []
        by_partition: dict[int, list[str]] = {}
        for symbol, partition in zip(symbols, partitions, strict=True):
            by_partition.setdefault(partition, []).append(symbol)
        first_ns = ALWAYS[0] if laid.first_ns is None else laid.first_ns
        self._first_number = laid.first_number
        near = self._earlier.lay_out(symbols, first_ns, ALWAYS[1])
        lacking = self._earlier.beyond(self._base.loads, self._topic, symbols) if self._base.states else set()
        firsts = self._first_times(laid.runs + near) if self._base.states else {}
        self._gone_on_with: set[str] = set()
        anew: set[str] = set()
        refused: list[str] = []
        for partition, own in by_partition.items():
            state = self._base.states.get(partition)
            if state is None:
                anew |= set(own)
            elif not lacking & set(own) and self._base.goes_on_with(
                partition, [(symbol, firsts[symbol]) for symbol in own if symbol in firsts], self._source
            ):
                self._gone_on_with |= set(own)
            elif partition in self._base.loaded_only:
                anew |= {*own, *state.symbols.texts()}
                del self._base.states[partition]
            else:
                refused += [symbol for symbol in own if self._base.knows(symbol, partition)] or own
        if refused:
            self._refuse(refused)
        if any(len(state.sources) >= SOURCES_MAX for state in self._base.states.values()):
            raise Fatal(
                f"the pipeline knows {SOURCES_MAX} sources, and more cannot be: load several files with one --source"
            )
        far = self._earlier.lay_out(sorted(anew & laid.symbols), ALWAYS[0], first_ns)
        return near + far + self._earlier.lay_out(sorted(anew - laid.symbols), *ALWAYS)

    def _refuse(self, symbols: list[str]) -> None:
        more = f" and {len(symbols) - 5:,} more" if len(symbols) > 5 else ""
        raise Fatal(
            f"the pipeline has live rows beside {', '.join(symbols[:5])}{more}, and stands further on in time than these rows: what is "
            "stored would have to be made anew behind it. What works: start the pipeline, and `marketpulse produce replay FILE` brings "
            "them in beside the live rows, in any order; --lake-only stores their history up to the first live row and leaves the "
            "pipeline as it is; symbols that the pipeline does not know yet go in with a --source of their own"
        )

    def _first_times(self, runs: Sequence[Run]) -> dict[str, int]:
        """By symbol, the first time of rows that another state would have to take in: new ones, or stored by this very load."""
        found: dict[str, int] = {}
        for kinds in stretches(runs):
            stretch = stretch_of(kinds, Load(self._number, self._source, self._first_number), 0)
            for table, numbers in zip(stretch.tables, stretch.numbers, strict=True):
                mine = table.select(["symbol", "event_time_ns"]).filter(pa.array(numbers >> LOAD_BITS == self._number))
                for row in mine.group_by("symbol").aggregate([("event_time_ns", "min")]).to_pylist():
                    symbol, first_ns = row["symbol"], row["event_time_ns_min"]
                    found[symbol] = min(first_ns, found.get(symbol, first_ns))
        return found

    def _lay_out(self, paths: Sequence[Path]) -> LaidOut:
        at = Progress("reading")

        def told(rows: int) -> None:
            at.done += rows
            self._say(at)

        return lay_out(paths, self._request.mapping, self._work / "rows", told, strict=self._request.strict)

    def _live_begins(self, laid: LaidOut) -> dict[str, int]:
        """By symbol, the first event time of live rows: what the files have from there on is left out. Of symbols that are gone on
        with, of those that the engine has not taken yet."""
        stored = _first_stored(self._settings, laid) if any(
            topic == self._settings.topic("market") for topic, _ in self._positions
        ) else {}  # fmt: skip
        found = dict(self._base.first_live_ns)
        for symbol, at in stored.items():
            if symbol not in self._gone_on_with:
                found[symbol] = min(at, found.get(symbol, at))
        return {symbol: at for symbol, at in found.items() if symbol in laid.symbols}

    def _store_all(self, laid: LaidOut, runs: Sequence[Run], ends: Mapping[str, int], whole: bool) -> None:
        """Every row through the engine, and what comes of it into the lake, but for what that holds already."""
        total = laid.rows + sum(run.rows for run in runs)
        storing = Storing(self._sink)
        try:
            if not whole:
                storing.put(self._mark(BEGUN))
            if self._request.calendar and not whole and (0, 0) not in self._known:
                storing.put(self._batches([Given(0, {"events": self._calendar_row(laid)})], []))
            with ThreadPoolExecutor(1) as ahead, ThreadPoolExecutor(_ENGINES) as engines:
                for stretch, batches, letters, cut in self._prepared([*runs, *laid.runs], ends, ahead):
                    found = list(engines.map(partial(self._step, muted=whole), batches.items()))
                    self._stretch_rows = _rows_of_next(stretch, found)
                    if not whole:
                        self._summary.cut += cut
                        self._summary.again += stretch.again
                        self._summary.restored += stretch.restored
                        storing.put(self._batches(found, [one for one in letters if self._is_new(one)]))
                    self._say(Progress("loading", stretch.end, total))
            self._finish(laid, whole, storing)
        except BaseException:
            storing.abandon()
            raise

    def _finish(self, laid: LaidOut, whole: bool, storing: Storing) -> None:
        """The source's goodbye, what was set aside of the files, and, when all that is durable, the mark that says so."""
        last = [self._last_of(engine) for engine in self._engines.values()]
        for engine in self._engines.values():
            engine.finish()
            self._summary.forming += engine.forming()
            self._summary.duplicates += engine.counts["duplicates"]
            self._summary.out_of_session += engine.counts["out_of_session"]
            self._summary.suspect += engine.counts["suspect"]
        if whole:
            storing.finish()
            return
        storing.put(self._batches(last, []))
        storing.put(self._batches([Given(0, self._results.what_is_left())], []))
        for letters in _in_chunks(filter(self._is_new, self._set_aside(laid))):
            storing.put(self._batches([], letters))
        self._say(Progress("storing", laid.rows, laid.rows))
        storing.finish()
        for batch in self._mark(WHOLE + self._number):
            self._sink.write(batch)
        flush(self._sink)

    def _mark(self, position: int) -> list[SinkBatch]:
        """That the load has begun, or ended. What its runs store stands under names of their own: there a row is not known by its
        position, but by what it says."""
        tables = [table for table in self._sink.tables if TABLES[table][0] == "market"]
        return [SinkBatch(table, self._topic, 0, 0, position, self._empty[table]) for table in tables]

    def _calendar_row(self, laid: LaidOut) -> pa.RecordBatch:
        """The source's hello as an event: a later load of the same symbols reads their calendar there."""
        hello = {"type": "hello", "source": self._source, "mode": "historical", "calendar": self._request.calendar}
        row = {
            "type": "hello", "source": self._source, "event_time_ns": laid.first_ns or 0, "body": orjson.dumps(hello).decode(),
            "topic": self._topic, "partition": 0, "offset": 0, "row": 0,
        }  # fmt: skip
        return pa.RecordBatch.from_pylist([row], self._empty["events"].schema)

    def _last_of(self, engine: PartitionLoad) -> Given:
        """The goodbye. What a load before has closed at its end closes again: of later rows its values hang on."""
        reached = None
        if engine.changes and not self._request.complete:
            reached = self._results.last_close_ns(engine.symbols(), engine.watermark_ns())
        return engine.hear_goodbye(self._source, complete=self._request.complete, reached_ns=reached)

    def _is_new(self, letter: DeadLetter) -> bool:
        return (letter.offset, max(letter.row, 0)) not in self._known

    def _prepared(
        self, runs: Sequence[Run], ends: Mapping[str, int], ahead: ThreadPoolExecutor
    ) -> Iterator[tuple[Stretch, dict[int, MarketBatch], list[DeadLetter], int]]:
        """The stretches, each checked and parted, one ahead of the engine."""
        source = stretches(runs, rows=lambda: self._stretch_rows)
        load = Load(self._number, self._source, self._first_number, self._gone_on_with)
        begin = 0

        def prepare() -> tuple[Stretch, dict[int, MarketBatch], list[DeadLetter], int] | None:
            nonlocal begin
            kinds = next(source, None)
            if kinds is None:
                return None
            stretch = stretch_of(kinds, load, begin)
            begin = stretch.end
            return stretch, *self._rows.batches(stretch.tables, stretch.numbers, stretch.parts, stretch.stored, ends)

        waiting: Future[Any] = ahead.submit(prepare)
        while (done := waiting.result()) is not None:
            waiting = ahead.submit(prepare)
            yield done

    def _step(self, item: tuple[int, MarketBatch], muted: bool) -> Given:
        """Nothing is given of rows that ended loads have left in the lake, up to the first other one."""
        partition, batch = item
        engine = self._engines.get(partition)
        if engine is None:
            state = self._base.states.get(partition) or new_state(self._config)
            engine = self._engines[partition] = PartitionLoad(
                self._config, self._topic, partition, state, self._rows.strings, self._number, self._known
            )
        lateness_ns = max(1, self._settings.engine.lateness_ms * 1_000_000)
        for number in np.unique(batch.source).tolist():
            source = self._rows.strings[number]
            own = self._request.calendar if source == self._source else None
            engine.hear_hello(source, lateness_ns, own or self._earlier.calendars.get(source))
        others = self._loads.unfinished - {self._topic}
        engine.changes |= bool(others) or bool((batch.offset >> LOAD_BITS == self._number).any())
        return engine.take(batch, muted=muted or not engine.changes)

    def _batches(self, found: Sequence[Given], letters: Sequence[DeadLetter]) -> list[SinkBatch]:
        """What is to be stored of what partitions have given, of every table."""
        letters = [*letters, *(letter for one in found for letter in one.letters)]
        rows = self._results.what_differs(_together([one.rows for one in found]))
        for letter in letters:
            DEAD_LETTERS.labels(letter.reason).inc()
            self._summary.refused[letter.reason] += 1
        for table, own in rows.items():
            self._summary.stored[table] += own.num_rows
        rows = {**self._empty, **rows, "dead_letters": _letter_rows(letters)}
        begin, self._position = self._position, self._position + 1
        return [SinkBatch(table, self._run_topic, 0, begin, begin + 1, rows[table]) for table in self._sink.tables]

    def _set_aside(self, laid: LaidOut) -> Iterator[DeadLetter]:
        """Rows that could not even be read, as dead letters of partition 0."""
        for path, _ in laid.rejected:
            for one, number in read_rejected(path):
                detail = f"{one.detail} ({Path(one.origin).name} row {one.row})"
                yield DeadLetter(one.reason, detail, self._topic, 0, number, ABSENT, None, one.value)

    def _hand_over(self) -> None:
        self._say(Progress("handing over"))
        stored = StoredRows(self._settings)
        for engine in self._engines.values():
            learn_revisions(engine.state, self._config, stored)
        states = {
            partition: StateOf(
                state_to_bytes(engine.state, self._config), self._base.committed.get(partition, 0),
                self._base.committed.get(partition),
            )
            for partition, engine in self._engines.items()
        }  # fmt: skip
        if states:
            with worker_slot(self._settings.data_dir, "process-0"):
                Seat(self._settings, self._topic, states).hand_over()
        self._summary.handed_over = True


def _rows_of_next(stretch: Stretch, results: Sequence[Given]) -> int:
    """How many rows a stretch may have so that its results stay within _RESULTS_MAX values."""
    given = sum(own.num_rows * own.num_columns for one in results for own in one.rows.values())
    taken = sum(table.num_rows for table in stretch.tables)
    return int(min(STRETCH_ROWS, max(LEAST_ROWS, _RESULTS_MAX * taken // max(1, given))))


def _together(parts: Sequence[Rows]) -> Rows:
    """The rows of several partitions, table by table."""
    found: Rows = {}
    for name in dict.fromkeys(name for part in parts for name in part):
        tables = [pa.Table.from_batches([part[name]]) for part in parts if name in part]
        whole = pa.concat_tables(tables).unify_dictionaries().combine_chunks()
        if whole.num_rows:
            found[name] = whole.to_batches()[0]
    return found


def _in_chunks(letters: Iterator[DeadLetter]) -> Iterator[list[DeadLetter]]:
    while chunk := list(itertools.islice(letters, _LETTERS)):
        yield chunk


def _letter_rows(letters: Sequence[DeadLetter]) -> pa.RecordBatch:
    rows = [orjson.loads(encode_dead_letter(letter)[1]) for letter in letters]
    return pa.RecordBatch.from_pylist(rows, schema=DEAD_LETTER)


def _first_stored(settings: Settings, laid: LaidOut) -> dict[str, int]:
    """By symbol of the files, the first event time of a trade in the lake that came through the log."""
    query = LakeQuery(settings)
    try:
        rows = query.run(
            f"SELECT symbol, min(event_time_ns) AS first FROM trades WHERE topic = '{settings.topic('market')}' "  # noqa: S608  (a setting)
            f"AND event_time_ns <= {laid.last_ns} GROUP BY symbol"
        )
    finally:
        query.close()
    return dict(zip(rows["symbol"].to_pylist(), rows["first"].to_pylist(), strict=True))
