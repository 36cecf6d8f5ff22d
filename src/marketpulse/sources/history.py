"""Files of any length in one order of time, in bounded memory.

    blocks of a file -> rows of our kinds, sorted -> laid aside on disk -> read again by stretches of time

The order is that of a replay (sources.tape): by time; then events, quotes, trades, bars; then the order of the files and
of their rows. A stretch ends between two times, never inside one, and follows from the files alone.
"""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from marketpulse.errors import EnvironmentProblem, Fatal, disk_is_full
from marketpulse.model.market import Ints
from marketpulse.ports import RejectedInput
from marketpulse.settings import Mapping
from marketpulse.sources import bars
from marketpulse.sources.dataset import read_blocks, reader_for
from marketpulse.sources.files import stem
from marketpulse.sources.normalise import Reader, Rows
from marketpulse.sources.tape import KINDS, table_of

NUMBER, PART = "number", "part"
"""Columns behind a kind's own: the row's line or row number, counted on from file to file; and its place among the
rows that share that number."""

STRETCH_ROWS = 500_000
_SAMPLE = 1_024

Say = Callable[[int], None]


@dataclass(frozen=True, slots=True)
class Run:
    """The sorted rows of one kind from one block: an Arrow file of their columns, `time_ns`, NUMBER and PART."""

    path: Path
    kind: str
    rows: int


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
    paths: Sequence[Path],
    mapping: Mapping,
    directory: Path,
    say: Say = lambda _: None,
    *,
    strict: bool = False,
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
            number = _lay_out_one(path, mapping, directory, found, number, say, strict)
    except OSError as error:
        if disk_is_full(error):
            raise EnvironmentProblem(
                f"{directory} has no space left, and the rows are laid aside there while they are sorted (about as much "
                "as the files take unzipped): make some, or set MARKETPULSE_DATA_DIR"
            ) from None
        raise EnvironmentProblem(f"{directory} cannot be written: {error}") from None
    return found


def _lay_out_one(
    path: Path, mapping: Mapping, directory: Path, found: LaidOut, before: int, say: Say, strict: bool
) -> int:
    """One file; `before` are the numbers of the files before it. Returns the last number."""
    reader: Reader | None = None
    timeframe: str | None = None
    last, usable, first_fault = before, 0, None
    for raw in read_blocks(path):
        rejected = list(raw.broken)
        numbers = before + raw.numbers()
        last = max(last, int(numbers.max(initial=0)), *(before + one.row for one in rejected), 0)
        if reader is None and len(raw.frame):
            reader = reader_for(raw, mapping, str(path), stem(path).upper())
        kinds: dict[str, Rows] = {}
        if reader is not None:
            block = reader.read(raw)
            rejected, kinds = block.rejected, block.rows
        if "bar" in kinds:
            kinds["bar"], timeframe = _finished(kinds["bar"], mapping, path, timeframe)
        first_fault = first_fault or (rejected[0] if rejected else None)
        if strict and first_fault is not None:
            raise Fatal(f"{path} row {first_fault.row}: {first_fault.detail}; nothing was loaded (--strict)")
        for kind, rows in kinds.items():
            _put(kind, rows, numbers, directory, found)
            usable += len(rows)
        if rejected:
            _put_rejected(rejected, before, directory, found)
        say(sum(map(len, kinds.values())) + len(rejected))
    if not usable:
        why = f": {first_fault.detail} (line {first_fault.row})" if first_fault else ""
        raise Fatal(f"{path}: no usable row{why}. If a column is misread, name it: --map price=COLUMN")
    return last


def _finished(rows: Rows, mapping: Mapping, path: Path, known: str | None) -> tuple[Rows, str | None]:
    """Bars with their times; the first block's spacing is that of the file."""
    if known is None and mapping.timeframe is None:
        known = bars.usual_timeframe(rows, str(path))
    return bars.finish(rows, mapping, str(path), known), known


def _put(kind: str, rows: Rows, numbers: Ints, directory: Path, found: LaidOut) -> None:
    number = numbers[rows.raw]
    place = np.zeros(len(rows), np.int32)
    again = np.flatnonzero(np.diff(number) == 0) + 1
    for at in again.tolist():  # several rows of one line: rare, and few
        place[at] = place[at - 1] + 1
    table = table_of(kind, rows.frame)
    for name in ("symbol", "venue"):
        if name in table.column_names:
            column = pc.dictionary_encode(table[name])
            table = table.set_column(table.column_names.index(name), name, column)
    times = rows.time_ns
    for name, values in (("time_ns", times), (NUMBER, number), (PART, place)):
        table = table.append_column(name, pa.array(values))
    if not np.all(times[:-1] <= times[1:]):
        order = np.argsort(times, kind="stable")
        table, times = table.combine_chunks().take(pa.array(order)), times[order]
    found.symbols |= set(pc.unique(table["symbol"]).to_pylist())
    found.first_ns = int(times[0]) if found.first_ns is None else min(found.first_ns, int(times[0]))
    found.last_ns = int(times[-1]) if found.last_ns is None else max(found.last_ns, int(times[-1]))
    path = directory / f"{len(found.runs):06d}-{kind}.arrow"
    table = table.unify_dictionaries().combine_chunks()
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, table.schema) as writer:
        writer.write_table(table)
    found.runs.append(Run(path, kind, len(rows)))


def _put_rejected(rejected: Sequence[RejectedInput], before: int, directory: Path, found: LaidOut) -> None:
    path = directory / f"{len(found.rejected):06d}-rejected.jsonl"
    with path.open("w") as file:
        for one in rejected:
            value = one.value.decode(errors="backslashreplace")
            file.write(
                json.dumps([one.reason, one.detail, one.origin, one.row, before + one.row, value]) + "\n"
            )
    found.rejected.append((path, len(rejected)))


def read_rejected(path: Path) -> Iterator[tuple[RejectedInput, int]]:
    """Rows that were set aside, and their numbers."""
    with path.open() as file:
        for line in file:
            reason, detail, origin, row, number, value = json.loads(line)
            yield RejectedInput(reason, detail, origin, row, value.encode()), number


def stretches(runs: Sequence[Run], rows: int = STRETCH_ROWS) -> Iterator[dict[str, pa.Table]]:
    """All rows by stretches of time of about so many: by kind, with NUMBER and PART, each kind's in order."""
    tables = [(run.kind, _open(run.path)) for run in runs]
    times = [table["time_ns"].chunk(0).to_numpy() for _, table in tables]
    begins = [0] * len(tables)
    for cut in [*_cuts(times, rows), None]:
        parts: dict[str, list[pa.Table]] = {}
        for i, (kind, table) in enumerate(tables):
            end = len(times[i]) if cut is None else int(np.searchsorted(times[i], cut))
            if end > begins[i]:
                parts.setdefault(kind, []).append(table.slice(begins[i], end - begins[i]))
            begins[i] = end
        if parts:
            yield {kind: _in_order(parts[kind]) for kind in KINDS if kind in parts}


def _cuts(times: Sequence[Ints], rows: int) -> list[int]:
    """Times that part the rows into stretches of about this many."""
    samples = np.sort(np.concatenate([np.empty(0, np.int64), *(some[::_SAMPLE] for some in times)]))
    every = max(1, rows // _SAMPLE)
    return sorted(set(samples[every::every].tolist()))


def _in_order(parts: Sequence[pa.Table]) -> pa.Table:
    if len(parts) == 1:
        return parts[0]
    whole = pa.concat_tables(parts)
    times = whole["time_ns"].to_numpy()
    if np.all(times[:-1] <= times[1:]):
        return whole  # parts stand in the order of the files and their blocks, so ties do
    return whole.unify_dictionaries().take(pa.array(np.argsort(times, kind="stable")))


def _open(path: Path) -> pa.Table:
    """The file's table on its own memory: nothing is read before it is looked at."""
    return pa.ipc.open_file(pa.memory_map(str(path))).read_all().combine_chunks()
