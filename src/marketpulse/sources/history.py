"""Files of any length in one order of time, in bounded memory.

    blocks of a file -> rows of our kinds, sorted -> laid aside on disk -> read again by stretches of time

The order is that of a replay (sources.tape): by time; then events, quotes, trades, bars; then the order of the files and
of their rows. A stretch ends between two times, never inside one, and follows from the files alone.
"""

import itertools
import json
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from marketpulse.errors import EnvironmentProblem, Fatal, disk_is_full
from marketpulse.model.market import Ints
from marketpulse.ports import RejectedInput
from marketpulse.settings import Mapping
from marketpulse.sources import bars
from marketpulse.sources.dataset import blocks_of
from marketpulse.sources.inference import reader_for
from marketpulse.sources.known_files import symbol_of
from marketpulse.sources.normalise import Reader, Rows
from marketpulse.sources.plain_trades import PlainReader, plain_reader
from marketpulse.sources.raw import Block, RawRows
from marketpulse.sources.tape import KINDS, table_of

NUMBER, PART, LOAD = "number", "part", "load"
"""Columns behind a kind's own: the row's line or row number, counted on from file to file; its place among the rows that
share that number; and, of rows that the lake has from an earlier load, the number of that."""

LEAST_ROWS, STRETCH_ROWS = 40_000, 250_000  # of a stretch
_SAMPLE = 1_024
_BATCH_ROWS = 4_096  # that a run is read by: of rows in no order every run is open at a time
_AT_A_TIME = 2  # blocks; they are some ten megabytes each

Say = Callable[[int], None]


@dataclass(frozen=True, slots=True)
class Run:
    """The sorted rows of one kind from one block: an Arrow file of their columns, `time_ns`, NUMBER and PART. `times` are
    those of some rows, the first one among them."""

    path: Path
    kind: str
    rows: int
    times: Ints


@dataclass(slots=True)
class LaidOut:
    """What was laid aside. `rejected` are files of rows that were set aside, as JSON lines, with their numbers;
    `first_number[i]` is what the numbers of file i begin behind."""

    runs: list[Run] = field(default_factory=list)
    rejected: list[tuple[Path, int]] = field(default_factory=list)
    symbols: set[str] = field(default_factory=set)
    first_number: list[int] = field(default_factory=list)
    first_ns: int | None = None
    last_ns: int | None = None

    @property
    def rows(self) -> int:
        return sum(run.rows for run in self.runs)

    @property
    def refused(self) -> int:
        return sum(count for _, count in self.rejected)


def lay_out(
    paths: Sequence[Path], mapping: Mapping, directory: Path, say: Say = lambda _: None, *, strict: bool = False
) -> LaidOut:
    """Read every file, and lay its rows aside in this directory. `say` is told of the rows of each block.

    Raises Fatal naming the file that cannot be understood or has no usable row, with `strict` for the first row that
    cannot be used; EnvironmentProblem when the disk is full.
    """
    found = LaidOut()
    number = 0
    try:
        directory.mkdir(parents=True, exist_ok=True)
        for path in paths:
            found.first_number.append(number)
            number = _File(path, mapping, directory, found, number, say, strict).lay_out()
    except OSError as error:
        if disk_is_full(error):
            raise EnvironmentProblem(
                f"{directory} has no space left, and the rows are laid aside there while they are sorted (about as much "
                "as the files take unzipped): make some, or set MARKETPULSE_DATA_DIR"
            ) from None
        raise EnvironmentProblem(f"{directory} cannot be written: {error}") from None
    return found


class _File:
    """One file on its way aside. `before` are the numbers of the files before it.

    Blocks of nothing but plain trades go there in threads, some at a time; others, which may hang on those before them,
    one after the other. Either way runs stand in the order of the blocks.
    """

    def __init__(
        self, path: Path, mapping: Mapping, directory: Path, found: LaidOut, before: int, say: Say, strict: bool
    ) -> None:
        self._path, self._mapping, self._directory = path, mapping, directory
        self._found, self._before, self._say, self._strict = found, before, say, strict
        self._reader: Reader | None = None
        self._plain: PlainReader | None = None
        self._timeframe: str | None = None
        self._last, self._usable = before, 0
        self._first_fault: RejectedInput | None = None

    def lay_out(self) -> int:
        """All of it. Returns the last number."""
        waiting: deque[tuple[Block, Future[_Aside | None]]] = deque()
        names = itertools.count(len(self._found.runs))
        with ThreadPoolExecutor(_AT_A_TIME) as pool:
            for number, block in enumerate(blocks_of(self._path)):
                if number == 0:
                    self._look(block)
                waiting.append((block, pool.submit(self._aside, block, next(names))))
                if len(waiting) > _AT_A_TIME:
                    self._take(*waiting.popleft())
            while waiting:
                self._take(*waiting.popleft())
        if not self._usable:
            fault = self._first_fault
            why = f": {fault.detail} (line {fault.row})" if fault else ""
            raise Fatal(f"{self._path}: no usable row{why}. If a column is misread, name it: --map price=COLUMN")
        return self._last

    def _look(self, block: Block) -> None:
        """Whether the file's rows may be plain trades."""
        head = block.head()
        if len(head.frame):
            reader = self._reader_for(head)
            self._plain = plain_reader(reader, head.frame)
            # What it makes of dates hangs on the whole block, unless all that is left to it comes behind plain rows.
            self._reader = reader if self._plain is not None else None

    def _reader_for(self, raw: RawRows) -> Reader:
        return reader_for(raw, self._mapping, str(self._path), symbol_of(self._path))

    def _aside(self, block: Block, name: int) -> "_Aside | None":
        """Plain trades laid aside; None for other blocks."""
        rows = None if self._plain is None else self._plain.read(block)
        if rows is None:
            return None
        numbers = self._before + rows.numbers
        return _lay_aside("trade", rows.table, rows.time_ns, numbers, self._directory / f"{name:06d}-plain.arrow")

    def _take(self, block: Block, done: "Future[_Aside | None]") -> None:
        aside = done.result()
        if aside is None:
            return self._take_any(block)
        _note(aside, self._found)
        self._last = max(self._last, aside.last_number)
        self._usable += aside.run.rows
        self._say(aside.run.rows)
        return None

    def _take_any(self, block: Block) -> None:
        raw = block.rows()
        rejected = list(raw.broken)
        numbers = self._before + raw.numbers()
        self._last = max(self._last, int(numbers.max(initial=0)), *(self._before + one.row for one in rejected), 0)
        if self._reader is None and len(raw.frame):
            self._reader = self._reader_for(raw)
        kinds: dict[str, Rows] = {}
        if self._reader is not None:
            done = self._reader.read(raw)
            rejected, kinds = done.rejected, done.rows
        if "bar" in kinds:
            kinds["bar"], self._timeframe = _finished(kinds["bar"], self._mapping, self._path, self._timeframe)
        self._first_fault = self._first_fault or (rejected[0] if rejected else None)
        if self._strict and self._first_fault is not None:
            fault = self._first_fault
            raise Fatal(f"{self._path} row {fault.row}: {fault.detail}; nothing was loaded (--strict)")
        for kind, rows in kinds.items():
            path = self._directory / f"{len(self._found.runs):06d}-{kind}.arrow"
            _note(_lay_aside(kind, _table_of(kind, rows), rows.time_ns, numbers[rows.raw], path), self._found)
            self._usable += len(rows)
        if rejected:
            _put_rejected(rejected, self._before, self._directory, self._found)
        self._say(sum(map(len, kinds.values())) + len(rejected))


def _finished(rows: Rows, mapping: Mapping, path: Path, known: str | None) -> tuple[Rows, str | None]:
    """Bars with their times; the first block's spacing is that of the file."""
    if known is None and mapping.timeframe is None:
        known = bars.usual_timeframe(rows, str(path))
    return bars.finish(rows, mapping, str(path), known), known


class _Aside(NamedTuple):
    """A run that has been laid aside, and what there is to know of it."""

    run: Run
    symbols: set[str]
    first_ns: int
    last_ns: int
    last_number: int


def _table_of(kind: str, rows: Rows) -> pa.Table:
    """The kind's own columns, names as dictionaries."""
    table = table_of(kind, rows.frame)
    for name in ("symbol", "venue"):
        if name in table.column_names:
            column = pc.dictionary_encode(table[name])
            table = table.set_column(table.column_names.index(name), name, column)
    return table


def _lay_aside(kind: str, table: pa.Table, times: Ints, number: Ints, path: Path) -> _Aside:
    """The rows of one block as a run."""
    place = np.zeros(len(times), np.int32)
    again = np.flatnonzero(number[1:] == number[:-1]) + 1
    for at in again.tolist():  # several rows of one line: rare, and few
        place[at] = place[at - 1] + 1
    for name, values in (("time_ns", times), (NUMBER, number), (PART, place)):
        table = table.append_column(name, pa.array(values))
    if not np.all(times[:-1] <= times[1:]):
        order = np.argsort(times, kind="stable")
        table, times = table.combine_chunks().take(pa.array(order)), times[order]
    symbols = set(pc.unique(table["symbol"]).to_pylist())
    return _Aside(write_run(kind, table, path), symbols, int(times[0]), int(times[-1]), int(number.max()))


def write_run(kind: str, table: pa.Table, path: Path) -> Run:
    """Lay rows aside that are in order of `time_ns`."""
    lists = [name for name in table.column_names if pa.types.is_list(table.schema.field(name).type)]
    table = table.drop_columns([name for name in lists if table[name].null_count == table.num_rows])
    table = table.unify_dictionaries().combine_chunks()
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, table.schema) as writer:
        for begin in range(0, table.num_rows, _BATCH_ROWS):
            # Taken, not sliced: of a slice the offsets of all lists would be written.
            rows = table.slice(begin, _BATCH_ROWS)
            writer.write_table(rows.take(pa.array(np.arange(rows.num_rows))) if lists else rows)
    return Run(path, kind, table.num_rows, table["time_ns"].to_numpy()[::_SAMPLE].copy())


def _note(aside: _Aside, found: LaidOut) -> None:
    found.runs.append(aside.run)
    found.symbols |= aside.symbols
    found.first_ns = aside.first_ns if found.first_ns is None else min(found.first_ns, aside.first_ns)
    found.last_ns = aside.last_ns if found.last_ns is None else max(found.last_ns, aside.last_ns)


def _put_rejected(rejected: Sequence[RejectedInput], before: int, directory: Path, found: LaidOut) -> None:
    path = directory / f"{len(found.rejected):06d}-rejected.jsonl"
    with path.open("w") as file:
        for one in rejected:
            value = one.value.decode(errors="backslashreplace")
            file.write(json.dumps([one.reason, one.detail, one.origin, one.row, before + one.row, value]) + "\n")
    found.rejected.append((path, len(rejected)))


def read_rejected(path: Path) -> Iterator[tuple[RejectedInput, int]]:
    """Rows that were set aside, and their numbers."""
    with path.open() as file:
        for line in file:
            reason, detail, origin, row, number, value = json.loads(line)
            yield RejectedInput(reason, detail, origin, row, value.encode()), number


def stretches(
    runs: Sequence[Run], least: int = LEAST_ROWS, rows: Callable[[], int] | None = None
) -> Iterator[dict[str, pa.Table]]:
    """All rows by stretches of time: by kind, with NUMBER and PART, each kind's in order. Of about `least` rows, or as many as
    `rows` says before each."""
    open_runs = [_OpenRun(run) for run in runs]
    cuts, at = _cuts(runs, least), -1
    while at < len(cuts):
        at += 1 if rows is None else max(1, rows() // least)
        cut = cuts[at] if at < len(cuts) else None
        parts: dict[str, list[pa.Table]] = {}
        for run in open_runs:
            if own := run.take(cut):
                parts.setdefault(run.kind, []).extend(own)
        open_runs = [run for run in open_runs if not run.is_over]
        if parts:
            yield {kind: _in_order(parts[kind]) for kind in KINDS if kind in parts}


class _OpenRun:
    """A run as far as it has been read: no more than the rows of one batch wait in memory."""

    def __init__(self, run: Run) -> None:
        self.kind, self._path, self._next_ns = run.kind, run.path, int(run.times[0])
        self._reader: pa.ipc.RecordBatchFileReader | None = None
        self._batch = 0
        self._rest: pa.Table | None = None
        self.is_over = False

    def take(self, cut: int | None) -> list[pa.Table]:
        """The rows before this time that have not been taken yet; with None all of them."""
        found: list[pa.Table] = []
        while not self.is_over and (cut is None or self._next_ns < cut):
            rest = self._read() if self._rest is None else self._rest
            if rest is None:
                self.is_over, self._reader = True, None
                break
            times = rest["time_ns"].to_numpy()
            end = len(times) if cut is None else int(np.searchsorted(times, cut))
            if end:
                found.append(rest.slice(0, end))
            self._rest = rest.slice(end) if end < len(times) else None
            self._next_ns = int(times[end]) if end < len(times) else self._next_ns
        return found

    def _read(self) -> pa.Table | None:
        if self._reader is None:
            self._reader = pa.ipc.open_file(pa.OSFile(str(self._path)))
        if self._batch == self._reader.num_record_batches:
            return None
        self._batch += 1
        return pa.Table.from_batches([self._reader.get_batch(self._batch - 1)])


def _cuts(runs: Sequence[Run], rows: int) -> list[int]:
    """Times that part the rows into stretches of about this many."""
    samples = np.sort(np.concatenate([np.empty(0, np.int64), *(run.times for run in runs)]))
    every = max(1, rows // _SAMPLE)
    return sorted(set(samples[every::every].tolist()))


def _in_order(parts: Sequence[pa.Table]) -> pa.Table:
    """By time; of one time by LOAD, where rows have it (new ones, without it, are the last), then as the files have them."""
    whole = pa.concat_tables(parts, promote_options="default").unify_dictionaries().combine_chunks()
    keys = [whole["time_ns"].to_numpy(), whole[NUMBER].to_numpy(), whole[PART].to_numpy()]
    if LOAD in whole.column_names:
        keys.insert(1, pc.fill_null(whole[LOAD], 2**31 - 1).to_numpy())
    step = [np.sign(np.diff(key)) for key in keys]
    later = np.zeros(len(step[0]), np.int8)
    for sign in reversed(step):
        later = np.where(sign != 0, sign, later)
    return whole if (later >= 0).all() else whole.take(pa.array(np.lexsort(keys[::-1])))
