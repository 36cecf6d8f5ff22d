"""`load`: files of history through the engine's operators into the lake, and their end state into the pipeline.

    1. fetch      what lies elsewhere
    2. arrange    every row, in order of time, aside on disk
    3. look       where lake and pipeline stand; whatever cannot be done is refused before anything is stored
    4. load       stretch by stretch: check -> engine -> lake, rows and position in one commit of the store
    5. hand over  the states at the end, into the log

Nothing of it is kept between runs but what the lake and the log hold: a second run computes again what the first one had stored,
without storing it (the same rows give the same bits), and goes on.
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

import orjson
import pyarrow as pa

from marketpulse.app.engine_config import engine_config
from marketpulse.app.loading.base import Base, at_the_log, base_of
from marketpulse.app.loading.engine import Given, PartitionLoad, empty_rows
from marketpulse.app.loading.identity import WHOLE, Identity, check_unchanged, identify
from marketpulse.app.loading.storing import Storing, flush
from marketpulse.app.loading.stretch import Stretch, stretch_of
from marketpulse.engine.checkpoint import computation, state_to_bytes
from marketpulse.engine.config import EngineConfig
from marketpulse.engine.layout import SOURCES_MAX
from marketpulse.engine.state import new_state
from marketpulse.errors import Fatal
from marketpulse.kafka.dead_letter import encode_dead_letter
from marketpulse.kafka.loaded_rows import LoadedRows
from marketpulse.kafka.seat import Seat, StateOf
from marketpulse.model.market import ABSENT, DeadLetter, MarketBatch
from marketpulse.model.rows import DEAD_LETTER
from marketpulse.ports import Sink, SinkBatch
from marketpulse.query.duck import LakeQuery
from marketpulse.settings import Mapping as Columns
from marketpulse.settings import Settings
from marketpulse.sinks import open_sink
from marketpulse.sources.files import expand, stem
from marketpulse.sources.history import STRETCH_ROWS, LaidOut, lay_out, read_rejected, stretches
from marketpulse.sources.remote import fetch, is_url
from marketpulse.telemetry import DEAD_LETTERS

_ENGINES = min(8, max(2, os.cpu_count() or 2))  # at a time: kernels run without the interpreter's lock
_LETTERS = 20_000  # dead letters of one batch


@dataclass(frozen=True, slots=True)
class Request:
    """What to load, and how."""

    files: Sequence[str]
    mapping: Columns = field(default_factory=Columns)
    source: str | None = None  # that the rows carry; unset: `load-` and the first file's name
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
    the end; `seconds` from the first row read to the last one durable; `outcome`: `loaded`, `handed over` (all was stored before, its state was not in the pipeline), `nothing`."""

    topic: str
    outcome: str = "loaded"
    rows: int = 0
    symbols: int = 0
    stored: Counter[str] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)
    resumed_at: int = 0
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
        source = request.source or f"load-{stem(paths[0])}"
        identity = _identity(paths, request, source, config, base.partitions)
        sink = open_sink(at, "lake")
        stack.callback(sink.close)
        return _Load(at, config, request, source, identity, base, sink, say).run(paths, work)


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
    facts = [
        request.mapping.model_dump_json(exclude={"split_adjusted"} if request.mapping.split_adjusted is None else None), source, request.calendar or "", str(request.complete), computation(config),
        str(partitions), str(STRETCH_ROWS), *rules,
    ]  # fmt: skip
    return identify(paths, facts, request.name)


class _Load:
    """One run over the files."""

    def __init__(
        self, settings: Settings, config: EngineConfig, request: Request, source: str, identity: Identity, base: Base,
        sink: Sink, say: Say,
    ) -> None:  # fmt: skip
        self._settings, self._config, self._request = settings, config, request
        self._source, self._base, self._sink, self._say = source, base, sink, say
        self._topic, self._identity = identity.topic, identity
        self._rows = LoadedRows(self._topic, base.partitions)
        self._engines: dict[int, PartitionLoad] = {}
        self._rows.strings.intern(source)  # before threads share the table
        self._empty = empty_rows(config)
        self._reached: dict[int, int] = {}  # by partition, up to which position rows have been given
        self._stored: Mapping[tuple[str, int], int] = {}
        self._summary = Summary(self._topic)

    def run(self, paths: Sequence[Path], work: Path) -> Summary:
        self._stored = self._sink.resume() or {}
        whole = self._stored.get((self._topic, 0), 0) >= WHOLE
        there = self._topic in self._base.loads
        if whole and (there or self._request.lake_only):
            self._summary.outcome, self._summary.handed_over = "nothing", there
            return self._summary
        if there:
            raise Fatal(
                f"the pipeline goes on from this file's end ({self._topic}), but the lake no longer holds all of its rows: "
                "restore the lake; or load with --lake-only to fill it again"
            )
        check_unchanged(self._identity, self._stored)
        began = time.monotonic()
        laid = self._lay_out(paths, work)
        self._check(laid)
        ends = self._live_begins(laid)
        self._summary.rows, self._summary.symbols = laid.rows, len(laid.symbols)
        self._summary.first_ns, self._summary.last_ns = laid.first_ns, laid.last_ns
        self._store_all(laid, ends, whole)
        self._summary.seconds = time.monotonic() - began
        if not self._request.lake_only:
            self._hand_over()
        if whole:
            self._summary.outcome = "handed over"
        return self._summary

    def _lay_out(self, paths: Sequence[Path], work: Path) -> LaidOut:
        at = Progress("reading")

        def told(rows: int) -> None:
            at.done += rows
            self._say(at)

        return lay_out(paths, self._request.mapping, work / "rows", told, strict=self._request.strict)

    def _check(self, laid: LaidOut) -> None:
        """Raises Fatal for what the engine's state cannot take in beside what it holds."""
        symbols = sorted(laid.symbols)
        places = self._rows.partition_of(symbols).tolist() if symbols else []
        known = [s for s, p in zip(symbols, places, strict=True) if self._base.knows(s, p)]
        if known:
            more = f" and {len(known) - 5:,} more" if len(known) > 5 else ""
            raise Fatal(
                f"the pipeline already knows {', '.join(known[:5])}{more}: their bars would have to be made anew behind what "
                "is stored. What works: --lake-only stores their history up to the first live row and leaves the pipeline as it "
                "is; a pipeline of its own (another data directory, or kafka.topic_prefix) takes the file first and live data "
                "after it; `marketpulse produce` feeds what lies inside the correction window, and `marketpulse heal` what is "
                "stored as too late"
            )
        if self._base.knows_source(self._source):
            raise Fatal(
                f"the pipeline knows a source {self._source!r} already, which stands further on in time: name this one with "
                "--source"
            )
        if any(len(state.sources) >= SOURCES_MAX for state in self._base.states.values()):
            raise Fatal(
                f"the pipeline knows {SOURCES_MAX} sources, and more cannot be: load several files in one command"
            )

    def _live_begins(self, laid: LaidOut) -> dict[str, int]:
        """By symbol, the first event time of live rows: what the files have from there on is left out."""
        stored = _first_stored(self._settings, laid) if any(
            topic == self._settings.topic("market") for topic, _ in self._stored
        ) else {}  # fmt: skip
        found = dict(self._base.first_live_ns)
        for symbol, at in stored.items():
            found[symbol] = min(at, found.get(symbol, at))
        return {symbol: at for symbol, at in found.items() if symbol in laid.symbols}

    def _store_all(self, laid: LaidOut, ends: Mapping[str, int], whole: bool) -> None:
        """Every row through the engine, and what comes of it into the lake, but for what that holds already."""
        total = laid.rows
        own = [at for (topic, _), at in self._stored.items() if topic == self._topic]
        self._summary.resumed_at = 0 if whole else min(min(own, default=0), total)
        storing = Storing(self._sink)
        try:
            with ThreadPoolExecutor(1) as ahead, ThreadPoolExecutor(_ENGINES) as engines:
                for stretch, batches, letters, cut in self._prepared(laid, ends, ahead):
                    muted = whole or self._holds(stretch.end, batches)
                    self._summary.cut += 0 if whole else cut
                    found = list(engines.map(partial(self._step, muted=muted), batches.items()))
                    if muted:
                        self._reached.update(dict.fromkeys(batches, stretch.end))
                    else:
                        storing.put(self._batches(stretch.end, found, letters))
                    self._say(Progress("loading", stretch.end, total))
            self._finish(laid, whole, storing)
        except BaseException:
            storing.abandon()
            raise

    def _finish(self, laid: LaidOut, whole: bool, storing: Storing) -> None:
        """The source's goodbye, what was set aside of the files, and, when all that is durable, the mark that says so."""
        last = [e.hear_goodbye(self._source, complete=self._request.complete) for e in self._engines.values()]
        for engine in self._engines.values():
            engine.finish()
            self._summary.forming += engine.forming()
            self._summary.duplicates += engine.counts["duplicates"]
            self._summary.out_of_session += engine.counts["out_of_session"]
            self._summary.suspect += engine.counts["suspect"]
        if whole:
            storing.finish()
            return
        end = laid.rows + 1
        storing.put(self._batches(end, last, []))
        for letters in _in_chunks(self._set_aside(laid)):
            end += 1
            storing.put(self._batches(end, [], letters))
        self._say(Progress("storing", laid.rows, laid.rows))
        storing.finish()
        for batch in self._batches(WHOLE, [Given(0, {})], []):
            self._sink.write(batch)
        flush(self._sink)

    def _holds(self, end: int, batches: Mapping[int, MarketBatch]) -> bool:
        """Whether the lake has a stretch that ends there, in each of these partitions."""
        return all(self._stored.get((self._topic, partition), 0) >= end for partition in batches)

    def _prepared(
        self, laid: LaidOut, ends: Mapping[str, int], ahead: ThreadPoolExecutor
    ) -> Iterator[tuple[Stretch, dict[int, MarketBatch], list[DeadLetter], int]]:
        """The stretches, each checked and parted, one ahead of the engine."""
        source = stretches(laid.runs)
        begin = 0

        def prepare() -> tuple[Stretch, dict[int, MarketBatch], list[DeadLetter], int] | None:
            nonlocal begin
            kinds = next(source, None)
            if kinds is None:
                return None
            stretch = stretch_of(kinds, self._source, begin)
            begin = stretch.end
            return stretch, *self._rows.batches(stretch.tables, stretch.numbers, stretch.parts, ends)

        waiting: Future[Any] = ahead.submit(prepare)
        while (done := waiting.result()) is not None:
            waiting = ahead.submit(prepare)
            yield done

    def _step(self, item: tuple[int, MarketBatch], muted: bool) -> Given:
        partition, batch = item
        engine = self._engines.get(partition)
        if engine is None:
            state = self._base.states.get(partition) or new_state(self._config)
            engine = self._engines[partition] = PartitionLoad(
                self._config, self._topic, partition, state, self._rows.strings
            )
            lateness_ns = max(1, self._settings.engine.lateness_ms * 1_000_000)
            engine.hear_hello(self._source, lateness_ns, self._request.calendar)
        return engine.take(batch, muted=muted)

    def _batches(self, end: int, found: Sequence[Given], letters: Sequence[DeadLetter]) -> list[SinkBatch]:
        """What is to be stored up to the position `end`: every table of each partition that has something, from where
        the partition stood before."""
        self._count(found, letters)
        by_partition: dict[int, list[DeadLetter]] = {}
        for letter in [*letters, *(letter for one in found for letter in one.letters)]:
            by_partition.setdefault(letter.partition, []).append(letter)
        rows = {one.partition: one.rows for one in found}
        batches = []
        for partition in sorted(rows.keys() | by_partition.keys()):
            own = {**self._empty, **rows.get(partition, {})}
            own["dead_letters"] = _letter_rows(by_partition.get(partition, []))
            first = self._reached.get(partition, 0)
            batches += [SinkBatch(table, self._topic, partition, first, end, own[table]) for table in self._sink.tables]
            self._reached[partition] = end
        return batches

    def _count(self, found: Sequence[Given], letters: Sequence[DeadLetter]) -> None:
        for letter in [*letters, *(letter for one in found for letter in one.letters)]:
            DEAD_LETTERS.labels(letter.reason).inc()
            self._summary.refused[letter.reason] += 1
        for one in found:
            for table, rows in one.rows.items():
                self._summary.stored[table] += rows.num_rows

    def _set_aside(self, laid: LaidOut) -> Iterator[DeadLetter]:
        """Rows that could not even be read, as dead letters of partition 0."""
        for path, _ in laid.rejected:
            for one, number in read_rejected(path):
                detail = f"{one.detail} ({Path(one.origin).name} row {one.row})"
                yield DeadLetter(one.reason, detail, self._topic, 0, number, ABSENT, None, one.value)

    def _hand_over(self) -> None:
        self._say(Progress("handing over"))
        states = {
            partition: StateOf(
                state_to_bytes(engine.state, self._config), self._base.committed.get(partition, 0),
                self._base.committed.get(partition),
            )
            for partition, engine in self._engines.items()
        }  # fmt: skip
        Seat(self._settings, self._topic, states).hand_over()
        self._summary.handed_over = True


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
