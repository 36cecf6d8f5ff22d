"""`verify`: every stored row of a range again, from the log or past its retention from the lake's trades.

stored rows by partition -> replay of that partition -> compare -> a tally, and the first differences
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import cast, get_args

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from marketpulse.app.engine_config import engine_config
from marketpulse.app.receipts.compare import (
    KEY,
    Comparison,
    Difference,
    Ints,
    Mask,
    Table,
    compare,
    flat,
    only_one_side,
)
from marketpulse.app.receipts.lake_trades import read_inputs, recompute
from marketpulse.app.receipts.replay import Replay, Rows, Start, find_start
from marketpulse.engine.config import EngineConfig
from marketpulse.engine.layout import NEVER
from marketpulse.engine.state import PartitionState
from marketpulse.errors import EnvironmentProblem, Fatal
from marketpulse.kafka.log_reader import LogReader
from marketpulse.model.rows import ENGINE_VERSION
from marketpulse.model.timeframe import Cut
from marketpulse.query.stored_rows import SHAPE, Stored, StoredRows, Wanted
from marketpulse.settings import Settings

DIFFERENCES_KEPT = 1_000
TABLES: tuple[Table, ...] = get_args(Table)
_WHEN_TOLD = frozenset({
    "receipt.first_offset", "receipt.first_row", "receipt.last_offset", "receipt.last_row", "receipt.late_count",
})  # fmt: skip
"""What the lake's trades cannot say again: spans reach to corrections, and lateness is a matter of heartbeats."""


@dataclass(slots=True)
class Tally:
    """Rows of one table. `same` + `differing` + `extra` + `unchecked` are the stored ones; `missing` are not
    stored although later ones are; of the same ones, `from_lake` were recomputed from the lake's trades."""

    stored: int = 0
    same: int = 0
    differing: int = 0
    missing: int = 0
    extra: int = 0
    unchecked: int = 0
    from_lake: int = 0

    @property
    def drift(self) -> int:
        return self.differing + self.missing + self.extra


@dataclass(slots=True)
class Report:
    """What a verification found; at most DIFFERENCES_KEPT of the differences stand in it."""

    tallies: dict[Table, Tally] = field(default_factory=lambda: {table: Tally() for table in TABLES})
    differences: list[Difference] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    not_computed: set[str] = field(
        default_factory=set
    )  # stored columns that this configuration does not compute

    @property
    def drift(self) -> int:
        return sum(tally.drift for tally in self.tallies.values())

    def note(self, text: str) -> None:
        if text not in self.notes:
            self.notes.append(text)

    def add(self, differences: list[Difference]) -> None:
        self.differences += differences[: max(0, DIFFERENCES_KEPT - len(self.differences))]


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a verification is: records of the log that were replayed, in the partition at hand."""

    partition: int
    partitions: int
    records: int
    of_records: int
    same: int


Say = Callable[[Progress], None]


def verify(settings: Settings, wanted: Wanted, say: Say = lambda _: None) -> Report:
    """Recompute and compare. Raises Fatal when nothing is stored in the range, Retryable while the log or
    the lake does not answer. Without a broker, the lake's trades serve for everything."""
    stored = StoredRows(settings)
    report = Report()
    held = {table: stored.table(table, wanted) for table in TABLES}
    held = {table: _this_version(report, table, rows) for table, rows in held.items()}
    places = _places(held)
    if not places:
        raise Fatal(
            f"{settings.lake_url()} holds no bars or indicator rows of this range and these symbols: "
            "look with `marketpulse sql` for what `bars` holds"
        )
    config = engine_config(settings.engine)
    log = _open_log(settings, report)
    try:
        for number, (topic, partition) in enumerate(places, start=1):
            own = {table: _of_place(rows, topic, partition) for table, rows in held.items()}
            work = _Partition(config, wanted, topic, partition, own, report)
            if log is not None and topic == settings.topic("market"):
                work.from_log(log, lambda done, end, n=number: say(  # type: ignore[misc]
                    Progress(n, len(places), done, end, sum(t.same for t in report.tallies.values()))
                ))  # fmt: skip
            work.from_lake(stored)
    finally:
        if log is not None:
            log.close()
    report.differences.sort(
        key=lambda d: (d.open_time_ns, d.symbol, d.timeframe, d.table, d.revision, d.column)
    )
    return report


class _Partition:
    """The stored rows of one partition of `market`, from which those go that are accounted for."""

    def __init__(
        self,
        config: EngineConfig,
        wanted: Wanted,
        topic: str,
        partition: int,
        held: dict[Table, Stored],
        report: Report,
    ) -> None:
        self._config, self._wanted, self._report = config, wanted, report
        self._topic, self._partition = topic, partition
        self._left = held
        for table, rows in held.items():
            report.tallies[table].stored += rows.rows.num_rows

    def from_log(self, log: LogReader, say: Callable[[int, int], None]) -> None:
        """Account for what a replay of the log can tell."""
        start = find_start(log, self._config, self._partition)
        if start is None:
            self._report.note(
                "the log no longer holds its beginning, and no snapshot lies before what it holds: "
                "the lake's trades serve instead"
            )
            return
        end = log.span(self._partition).end
        known = Known.of(start, self._config)
        run = Replay(self._config, self._topic, self._partition, start.state, self._wanted)
        gathered = Gathered()
        for decoded in log.read(self._partition, start.offset, end):
            for rows in run.take(decoded.batch):
                gathered.take(rows)
            say(decoded.next_offset, end)
        outputs = log.partitions("bars")
        for table in TABLES:
            self._account(table, gathered.table(table), known, outputs)

    def _account(self, table: Table, recomputed: pa.Table, known: "Known", outputs: int) -> None:
        held, tally = self._left[table], self._report.tallies[table]
        found = compare(table, recomputed, held.rows, held.shapes)
        tally.same += found.same
        tally.differing += found.differing
        self._report.add(found.differences)
        self._note_columns(held.rows, recomputed)
        missing = missing_rows(recomputed, found, outputs)
        tally.missing += len(missing)
        self._report.add(only_one_side(table, recomputed, missing, stored=False))
        rest = held.rows.take(pa.array(found.only_stored))
        before = known.before(rest)
        extra = np.flatnonzero(~before)
        tally.extra += len(extra)
        self._report.add(only_one_side(table, rest, extra, stored=True))
        self._left[table] = Stored(rest.filter(pa.array(before)), held.shapes)

    def from_lake(self, stored: StoredRows) -> None:
        """Account for the rest by the lake's trades: the last revision of each row."""
        rest = {table: held.rows for table, held in self._left.items() if held.rows.num_rows}
        if not rest:
            return
        symbols = frozenset(s for rows in rest.values() for s in rows["symbol"].unique().to_pylist())
        wanted = Wanted(self._wanted.from_ns, self._wanted.to_ns, symbols)
        gathered = Gathered()
        for rows in recompute(
            self._config, read_inputs(stored, self._topic, self._partition, symbols), wanted
        ):
            gathered.take(rows)
        for table, rows in rest.items():
            self._account_last(table, gathered.table(table), rows, self._left[table])

    def _account_last(self, table: Table, recomputed: pa.Table, rows: pa.Table, held: Stored) -> None:
        tally = self._report.tallies[table]
        last = last_revisions(rows)
        tally.unchecked += int(np.count_nonzero(~last))
        rows = rows.filter(pa.array(last))
        withdrawn = np.asarray(pc.is_null(rows["close"]))
        found = compare(table, recomputed, _as_first(rows), held.shapes, _WHEN_TOLD)
        tally.same += found.same
        tally.from_lake += found.same
        tally.differing += found.differing
        self._report.add(found.differences)
        self._note_columns(rows, recomputed)
        extra = found.only_stored[~withdrawn[found.only_stored]]
        gone = len(found.only_stored) - len(extra)
        tally.same += gone
        tally.from_lake += gone
        tally.extra += len(extra)
        self._report.add(only_one_side(table, rows, extra, stored=True))

    def _note_columns(self, stored: pa.Table, recomputed: pa.Table) -> None:
        if stored.num_rows and recomputed.num_columns:
            self._report.not_computed |= set(stored.column_names) - set(recomputed.column_names) - {SHAPE}


@dataclass(frozen=True, slots=True)
class Known:
    """What was told before a replay's first record: nothing, where it began with the log."""

    offset: int
    closed_until: dict[tuple[str, str], int]
    counted: frozenset[str]  # timeframes cut by count, whose bars have no time at which they are closed

    @classmethod
    def of(cls, start: Start, config: EngineConfig) -> "Known":
        counted = frozenset(f.name for f in config.frames if f.cut == Cut.TICKS)
        return cls(start.offset, closed_until(start.state, config) if start.from_snapshot else {}, counted)

    def before(self, rows: pa.Table) -> Mask:
        """(n,) which stored rows may have been told before: their inputs and their bars' ends lie before."""
        if not self.closed_until or not rows.num_rows:
            return np.zeros(rows.num_rows, np.bool_)
        reaches = pc.fill_null(rows["receipt.last_offset"], -1).to_numpy() < self.offset
        columns = (rows[name].to_pylist() for name in ("symbol", "timeframe", "close_time_ns"))
        closed = np.array([
            frame in self.counted or close <= self.closed_until.get((symbol, frame), NEVER)
            for symbol, frame, close in zip(*columns, strict=True)
        ])  # fmt: skip
        mask: Mask = reaches & closed
        return mask


def closed_until(state: PartitionState, config: EngineConfig) -> dict[tuple[str, str], int]:
    """By symbol and timeframe, up to where bars have closed."""
    until = state.tables.closed_until
    return {
        (symbol, frame.name): int(until[i, f])
        for i, symbol in enumerate(state.symbols.texts())
        for f, frame in enumerate(config.frames)
    }


@dataclass(slots=True)
class Gathered:
    """Recomputed rows, in order of emission."""

    bars: list[pa.RecordBatch] = field(default_factory=list)
    indicators: list[pa.RecordBatch] = field(default_factory=list)

    def take(self, rows: Rows) -> None:
        for mine, batch in ((self.bars, rows.bars), (self.indicators, rows.indicators)):
            if batch.num_rows or not mine:
                mine.append(batch)

    def table(self, table: Table) -> pa.Table:
        """All of them, flat."""
        batches = self.bars if table == "bars" else self.indicators
        return flat(pa.Table.from_batches(batches)) if batches else pa.table({})


def missing_rows(recomputed: pa.Table, found: Comparison, outputs: int) -> Ints:
    """Places of recomputed rows that are not stored although a later one of the same output partition is: a
    store holds the beginning of each partition, without a gap. What comes behind is not stored yet."""
    if not len(found.only_recomputed):
        return found.only_recomputed
    groups = output_partitions(recomputed["symbol"], outputs)
    newest = np.full(int(groups.max()) + 1, -1)
    np.maximum.at(newest, groups[found.matched], found.matched)
    return found.only_recomputed[found.only_recomputed < newest[groups[found.only_recomputed]]]


def output_partitions(symbols: pa.ChunkedArray, outputs: int) -> Ints:
    """(n,) where the rows of these symbols go to; each to a place of its own where the topic is unknown."""
    from marketpulse.kafka.partitioner import partitions_of

    encoded = pc.dictionary_encode(symbols.combine_chunks())
    if isinstance(encoded, pa.ChunkedArray):
        encoded = encoded.combine_chunks()
    names = [text.encode() for text in encoded.dictionary.to_pylist()]
    numbers = partitions_of(names, outputs) if outputs else np.arange(len(names))
    found: Ints = numbers.astype(np.int64)[encoded.indices.to_numpy()]
    return found


def last_revisions(rows: pa.Table) -> Mask:
    """(n,) which rows no later revision replaces; bars cut by count that share an open time all are."""
    newest = rows.group_by(list(KEY[:3])).aggregate([("revision", "max")])
    highest = {tuple(row[n] for n in KEY[:3]): row["revision_max"] for row in newest.to_pylist()}
    keys = zip(*(rows[n].to_pylist() for n in KEY), strict=True)
    mask: Mask = np.array(
        [revision == highest[symbol, frame, at] for symbol, frame, at, revision in keys], np.bool_
    )
    return mask


def _as_first(rows: pa.Table) -> pa.Table:
    zeros = pa.array(np.zeros(rows.num_rows, np.int64))
    return rows.set_column(rows.column_names.index("revision"), "revision", zeros)


def _this_version(report: Report, table: Table, stored: Stored) -> Stored:
    """The rows that this engine version made; what others made cannot be computed again."""
    rows = flat(stored.rows)
    if not rows.num_rows:
        return Stored(rows, stored.shapes)
    mine = pc.fill_null(pc.equal(rows["receipt.engine_version"], ENGINE_VERSION), False)
    other = rows.num_rows - int(pc.sum(mine).as_py() or 0)
    if other:
        tally = report.tallies[table]
        tally.stored += other
        tally.unchecked += other
        report.note(f"rows of another engine version than {ENGINE_VERSION} were passed over")
    return Stored(rows.filter(mine), stored.shapes)


def _places(held: dict[Table, Stored]) -> list[tuple[str, int]]:
    """Topic and partition of the inputs of all rows."""
    found: set[tuple[str, int]] = set()
    for stored in held.values():
        if stored.rows.num_rows:
            pairs = stored.rows.group_by(["receipt.topic", "receipt.partition"]).aggregate([])
            found |= {cast("tuple[str, int]", tuple(row.values())) for row in pairs.to_pylist()}
    return sorted(found)


def _of_place(stored: Stored, topic: str, partition: int) -> Stored:
    rows = stored.rows
    if rows.num_rows:
        mask = pc.and_(pc.equal(rows["receipt.topic"], topic), pc.equal(rows["receipt.partition"], partition))
        rows = rows.filter(mask)
    return Stored(rows, stored.shapes)


def _open_log(settings: Settings, report: Report) -> LogReader | None:
    try:
        return LogReader(settings)
    except EnvironmentProblem:
        report.note("no broker runs: the lake's trades serve instead of the log, for last revisions only")
        return None
