"""The lake's own rows, file by file and unchanged, for who checks them: every revision, with its receipt."""

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
from numpy.typing import NDArray

from marketpulse.catalog.faults import explained
from marketpulse.catalog.layout import plain, without_times
from marketpulse.catalog.visible import Picture, StoredFile, VisibleFiles, open_visible, path_on
from marketpulse.errors import Retryable
from marketpulse.model.tables import EVENT_TIME_COLUMN, LOADED_TOPIC
from marketpulse.settings import Settings

SHAPE = "file_shape"
"""The column that says which of `Stored.shapes` a row's file had."""

_SNAPSHOTS = 4  # a compaction may take files away while they are read: begin again on the new ones
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Stored:
    """Rows of one table, with the column SHAPE behind theirs. `shapes[i]` names the
    columns beyond the table's schema that the row's file has: what it lacks was not computed then."""

    rows: pa.Table
    shapes: Sequence[tuple[str, ...]]


ALWAYS = (-(2**62), 2**62)
"""Nanoseconds that every bar opens between."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which rows: those whose time lies in [from_ns, to_ns), of these symbols (None: of all)."""

    from_ns: int
    to_ns: int
    symbols: frozenset[str] | None = None

    def covers(self, file: StoredFile, time: str) -> bool:
        """Whether the file may hold such rows, by what its manifest says."""
        if not file.may_hold(time, self.from_ns, self.to_ns - 1):
            return False
        return self.symbols is None or any(file.may_hold("symbol", s, s) for s in self.symbols)

    def filter(self, time: str) -> pc.Expression:
        """Those of the rows."""
        found = (pc.field(time) >= self.from_ns) & (pc.field(time) < self.to_ns)
        return found if self.symbols is None else found & pc.field("symbol").isin(sorted(self.symbols))


class StoredRows:
    """Reads the lake by file. Its calls raise what VisibleFiles.read does."""

    def __init__(self, settings: Settings) -> None:
        self._files: VisibleFiles = open_visible(settings)
        self._pictures: dict[str, Picture] = {}

    def files(self) -> dict[str, Sequence[StoredFile]]:
        """The visible files by table, oldest first."""
        self._pictures = self._files.read()
        return {table: picture.files for table, picture in self._pictures.items()}

    def held_up_to(self, topic: str, partition: int) -> int:
        """As last listed: before which offset of a topic's partition all rows are stored."""
        return self._files.held_up_to(topic, partition)

    def is_kept(self, table: str, rows: pa.Table) -> NDArray[np.bool_]:
        """(n,) which of such rows, stored or not, the lake's retention has not deleted, as last listed."""
        kept = np.ones(rows.num_rows, np.bool_)
        for timeframe, end_ns in self._pictures[table].deleted.items() if rows.num_rows else ():
            own = np.asarray(pc.equal(rows["timeframe"], timeframe)) if timeframe else True
            kept &= ~(own & (rows[str(EVENT_TIME_COLUMN[table])].to_numpy() < end_ns))
        return kept

    def table(self, table: str, wanted: Wanted, place: tuple[str, int] | None = None) -> Stored:
        """The rows of a table whose rows have a time (model.tables.EVENT_TIME_COLUMN) and a symbol. `place`: only those that
        the engine made of this topic's partition, or a load for it."""
        time = str(EVENT_TIME_COLUMN[table])
        mine = wanted.filter(time)
        if place is not None:
            topic = pc.field("receipt", "topic")
            mine &= (topic == place[0]) | pc.starts_with(topic, LOADED_TOPIC)
            mine &= pc.field("receipt", "partition") == place[1]

        def collect() -> Stored:
            chosen = [f for f in self._listed(table) if wanted.covers(f, time)]
            return united([(f.columns, self.read(f, mine)) for f in chosen])

        return self._whatever_moves(collect)

    def counted(self, table: str, wanted: Wanted) -> pa.Table:
        """How many of these rows there are: `topic` and `partition` of their receipt, `symbol`, `count_all`."""
        time = str(EVENT_TIME_COLUMN[table])
        receipt = {name: pc.field("receipt", name) for name in ("topic", "partition")}

        def collect() -> pa.Table:
            parts = []
            for file in self._listed(table):
                if wanted.covers(file, time):
                    with explained(self._files.lake.where):
                        columns = {"symbol": pc.field("symbol"), **receipt}
                        found = self._dataset(file).to_table(columns, filter=wanted.filter(time))
                    parts.append(found.group_by(["topic", "partition", "symbol"]).aggregate([([], "count_all")]))
            return pa.concat_tables(parts, promote_options="permissive") if parts else pa.table({})

        return self._whatever_moves(collect)

    def rows_at_most(self, table: str, symbol: str) -> int:
        """How many rows of the symbol there can be, by what the files' manifests say."""
        return sum(file.rows for file in self._listed(table) if file.may_hold("symbol", symbol, symbol))

    def of_partition(self, table: str, topic: str, partition: int, symbols: frozenset[str] | None = None) -> pa.Table:
        """The rows of one partition of `market` (of these symbols; None: of all), in the order of the log: trades, quotes or events."""
        mine = (pc.field("topic") == topic) & (pc.field("partition") == partition)
        if symbols is not None:
            mine &= pc.field("symbol").isin(sorted(symbols))

        def collect() -> pa.Table:
            chosen = [
                f
                for f in self._listed(table)
                if f.may_hold("topic", topic, topic)
                and f.may_hold("partition", partition, partition)
                and (symbols is None or any(f.may_hold("symbol", s, s) for s in symbols))
            ]
            rows = united([(f.columns, self.read(f, mine)) for f in chosen]).rows
            return rows.sort_by([("offset", "ascending"), ("row", "ascending")]) if rows.num_rows else rows

        return self._whatever_moves(collect)

    def loaded(self, table: str, symbols: frozenset[str] | None) -> pa.Table:
        """The rows of these symbols (None: of all) that came from files: trades, quotes or events, in the order of their files."""
        parts = list(self.scan_loaded(table, symbols))
        return (
            pa.concat_tables(parts).sort_by([(name, "ascending") for name in ("topic", "offset", "row")])
            if parts
            else pa.table({})
        )

    def scan_loaded(
        self, table: str, symbols: Collection[str] | None, span: tuple[int, int] | None = None
    ) -> Iterator[pa.Table]:
        """The same piece by piece, in no order; of those with a time in [from, to) of the `span` alone. Raises as `scan`."""
        mine = pc.starts_with(pc.field("topic"), LOADED_TOPIC)
        if symbols is not None:
            mine &= pc.field("symbol").isin(sorted(symbols))
        if span is not None:
            mine &= (pc.field("event_time_ns") >= span[0]) & (pc.field("event_time_ns") < span[1])

        def may_hold(file: StoredFile) -> bool:
            return (
                file.may_hold("topic", LOADED_TOPIC, LOADED_TOPIC + "\U0010ffff")
                and (span is None or file.may_hold("event_time_ns", span[0], span[1] - 1))
                and (symbols is None or any(file.may_hold("symbol", symbol, symbol) for symbol in symbols))
            )

        return self.scan(table, mine, may_hold)

    def positions(self) -> dict[tuple[str, int], int]:
        """How far the lake holds each topic's partitions."""
        self._pictures = self._files.read()
        return self._files.positions()

    def of_type(self, kind: str, topic: str) -> pa.Table:
        """The rows of `events` of one type that a topic holds."""
        mine = (pc.field("type") == kind) & (pc.field("topic") == topic)

        def collect() -> pa.Table:
            chosen = [f for f in self._listed("events") if f.may_hold("topic", topic, topic)]
            return united([(f.columns, self.read(f, mine)) for f in chosen]).rows

        return self._whatever_moves(collect)

    def scan(self, table: str, chosen: pc.Expression, may_hold: Callable[[StoredFile], bool]) -> Iterator[pa.Table]:
        """The chosen rows of the files that may hold some, piece by piece: no more of them is in memory at a time. Raises
        Retryable when a compaction takes a file away meanwhile."""
        for file in self._listed(table):
            if not may_hold(file):
                continue
            with explained(self._files.lake.where):
                try:
                    for batch in self._dataset(file).to_batches(filter=chosen, batch_readahead=1, fragment_readahead=1):
                        if batch.num_rows:
                            yield plain(without_times(table, pa.Table.from_batches([batch])))
                except FileNotFoundError:
                    raise Retryable("the lake's files have changed while they were read: try again") from None

    def whole(self, table: str) -> pa.Table:
        """All rows of a table."""

        def collect() -> pa.Table:
            return united([(f.columns, self.read(f)) for f in self._listed(table)]).rows

        return self._whatever_moves(collect)

    def read(self, file: StoredFile, chosen: pc.Expression | None = None) -> pa.Table:
        """One file's rows, or those chosen. Raises FileNotFoundError when a compaction has taken it away."""
        with explained(self._files.lake.where):
            rows = self._dataset(file).to_table(filter=chosen)
        return plain(without_times(file.table, rows))

    def _dataset(self, file: StoredFile) -> ds.Dataset:
        return ds.dataset(path_on(file.path), format="parquet", filesystem=self._pictures[file.table].fs)

    def _listed(self, table: str) -> Sequence[StoredFile]:
        found = self._files.read([table])
        self._pictures |= found
        return found[table].files

    def _whatever_moves(self, collect: Callable[[], T]) -> T:
        for _ in range(_SNAPSHOTS):
            try:
                return collect()
            except FileNotFoundError as error:
                missing = error
        raise Retryable(
            f"the lake names a file that is not there ({missing}): restore it; while `sink lake` runs, try again"
        )


def united(parts: Sequence[tuple[tuple[str, ...], pa.Table]]) -> Stored:
    """(columns beyond the schema, rows) of files, as one table; a column that a file lacks is null in its rows."""
    shapes = list(dict.fromkeys(columns for columns, _ in parts))
    tables = [
        rows.append_column(SHAPE, pa.array(np.full(rows.num_rows, shapes.index(columns), np.int32)))
        for columns, rows in parts
    ]
    whole = pa.concat_tables(tables, promote_options="default") if tables else pa.table({})
    return Stored(whole, shapes)
