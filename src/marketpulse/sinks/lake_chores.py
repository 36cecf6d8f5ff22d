"""What keeps the lake small and quick: files merged, old snapshots and left-over files removed, old days deleted.

Each is one commit, or none, and may be interrupted anywhere: what it leaves behind, the next one removes.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
import pyarrow.fs

from marketpulse.catalog.faults import explained
from marketpulse.catalog.lake import Lake
from marketpulse.catalog.offsets import PROPERTY, Offsets
from marketpulse.catalog.visible import ALWAYS, CHORE, DELETED, StoredFile, VisibleFiles, filesystem, path_on
from marketpulse.clock import Clock
from marketpulse.errors import MarketPulseError
from marketpulse.model.tables import EVENT_TIME_COLUMN, TABLES
from marketpulse.settings import Settings
from marketpulse.sinks import lake_compaction as compaction
from marketpulse.sinks.lake_commits import Change, Moved, commit, retried
from marketpulse.sinks.lake_files import discard, split, write_file
from marketpulse.telemetry import SINK_ERRORS, get_logger

if TYPE_CHECKING:
    from pyiceberg.manifest import DataFile
    from pyiceberg.table import Table
    from pyiceberg.table.metadata import TableMetadata
    from pyiceberg.table.snapshots import Snapshot

_LOOK_EVERY = 8  # flushes: sooner, no table has enough new files
_MERGES_A_LOOK = 3
_EXPIRE_AT_LEAST = 16
_RARELY_S = 3_600.0  # between two looks for old days and left-over files
_MEGABYTE = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Deleted:
    """Old rows of a table, or of one of its timeframes, that are gone: whole days, from the first to the last."""

    what: str
    rows: int
    first_day: str
    last_day: str


class Chores:
    """The chores of one lake. Methods raise as Lake.table does; `step` never."""

    def __init__(self, lake: Lake, settings: Settings, clock: Clock) -> None:
        self._lake, self._limits, self._clock = lake, settings.sinks.lake, clock
        self._files = VisibleFiles(lake)
        self._flushes = _LOOK_EVERY - 1  # a process that never lives long looks too
        self._rarely_at = clock.monotonic()
        self._looked_at: dict[tuple[str, str | None], int] = {}  # files without rows (of a timeframe) before a time

    def step(self) -> None:
        """A little of the work, after a flush. A fault is told, and tried again some flushes later."""
        self._flushes += 1
        if self._flushes % _LOOK_EVERY:
            return
        rarely = self._clock.monotonic() - self._rarely_at >= _RARELY_S
        if rarely:
            self._rarely_at = self._clock.monotonic()
        try:
            for name in TABLES:
                self.compact(name, merges=_MERGES_A_LOOK)
                self.expire(name, at_least=_EXPIRE_AT_LEAST)
                if rarely:
                    self.delete_old(name)
                    self.clean(name)
        except MarketPulseError as fault:
            SINK_ERRORS.labels("lake").inc()
            get_logger().warning("lake_chore_waits", fault=str(fault))

    def compact(self, name: str, *, merges: int | None = None) -> int:
        """Merge small files: at most `merges` where it is worth it by now, or (None) all. How many files are fewer."""
        fewer = done = 0
        bytes_max = self._limits.file_mb * _MEGABYTE
        while merges is None or done < merges:
            seen = self._files.read([name])[name]
            plan = compaction.everything if merges is None else compaction.due
            planned = next(plan(seen.files, bytes_max, len(seen.columns)), None)
            table = self._lake.table(name)
            if planned is None or table is None:
                break
            done += 1
            if compaction.merge(table, name, planned, self._lake.where):
                fewer += len(planned.sources) - 1
            elif merges is not None:
                break  # others write: at the next look
        return fewer

    def expire(self, name: str, *, at_least: int = 1) -> int:
        """Remove snapshots that are older than `snapshots_s`, if they are `at_least` so many, with the files that only
        they have. How many went."""
        from pyiceberg.exceptions import CommitFailedException

        table = self._lake.table(name)
        if table is None:
            return 0
        before = self._clock.now_ns() // 1_000_000 - round(self._limits.snapshots_s * 1_000)
        old = list(_expirable(table.metadata, before))
        if len(old) < at_least:
            return 0
        with explained(self._lake.where):
            try:
                table.maintenance.expire_snapshots().by_ids([s.snapshot_id for s in old]).commit()
            except CommitFailedException:
                return 0  # another writer was first: at the next look
            self._delete(table, self._only_in(table, old))
        return len(old)

    def clean(self, name: str) -> int:
        """Remove files below the table's place that none of its snapshots names and that are older than `orphans_h`.
        How many went."""
        table = self._lake.table(name)
        if table is None:
            return 0
        youngest = self._clock.now_ns() - round(self._limits.orphans_h * 3_600e9)
        with explained(self._lake.where):
            fs = filesystem(table)
            selector = pyarrow.fs.FileSelector(path_on(table.metadata.location), recursive=True, allow_not_found=True)
            listed = [
                info.path for info in fs.get_file_info(selector)
                if info.is_file and info.mtime_ns is not None and info.mtime_ns < youngest
            ]  # fmt: skip
            now = self._lake.table(name)  # only now: what was committed meanwhile is named here
            if now is None or now.metadata.table_uuid != table.metadata.table_uuid:
                return 0
            try:
                named = {path_on(path) for path in _named(now)}
            except FileNotFoundError:
                return 0  # expired meanwhile: at the next look
            left_over = [path for path in listed if path not in named]
            self._delete(now, left_over)
        return len(left_over)

    def delete_old(self, name: str) -> list[Deleted]:
        """Delete the days that `retention` lets go of, as whole UTC days, of what was stored before them as well: history that
        came yesterday is kept as long as what is of yesterday."""
        found: list[Deleted] = []

        def attempt(timeframe: str | None, end_ns: int) -> bool:
            gone = self._delete_before(name, timeframe, end_ns)
            if gone is not None:
                found.append(gone)
            return True

        for timeframe, end_ns in self._limits.kept_since(name, self._clock.now_ns()).items():
            retried(f"{self._lake.where}, table {name}", partial(attempt, timeframe, end_ns))
        for one in found:
            get_logger().warning(
                "old_days_deleted", table=one.what, rows=one.rows, first_day=one.first_day, last_day=one.last_day
            )
        return found

    def _delete_before(self, name: str, timeframe: str | None, end_ns: int) -> Deleted | None:
        """One try. Raises Moved when other writers came first."""
        column, where = str(EVENT_TIME_COLUMN[name]), self._lake.where
        files = self._files.read([name])[name].files
        table = self._lake.table(name)
        old = [
            f for f in files
            if f.may_hold(column, -(2**63), end_ns - 1) and (f.last_ms == ALWAYS or f.last_ms * 1_000_000 < end_ns)
            and (timeframe is None or f.may_hold("timeframe", timeframe, timeframe))
        ]  # fmt: skip
        if table is None or not old:
            return None
        added: list[DataFile] = []
        removed: list[StoredFile] = []
        rows = 0
        times: list[int] = []
        for file in old:
            low, high = file.bounds.get(column, (None, None))
            if timeframe is None and low is not None and high < end_ns:
                going, bounds = file.rows, [low, high]
            elif self._looked_at.get((file.path, timeframe), -(2**63)) >= end_ns:
                continue
            else:
                going, bounds, kept = _parted(table, name, file, timeframe, end_ns, where)
                if not going:
                    self._looked_at[file.path, timeframe] = end_ns
                    continue
                flushed = (file.first_ms, file.last_ms)
                parts = split(name, kept)
                added += [write_file(table, name, part, p, flushed, where, merged=True) for p, part in parts]
            rows, times = rows + going, times + bounds
            removed.append(file)
        if not rows:
            return None
        gone = [f.data_file for f in removed if f.data_file is not None]
        key = f"{DELETED}{timeframe or ''}"
        before_ns = max(end_ns, int(table.properties.get(key, end_ns)))
        change = Change(added, gone, {CHORE: "retention"}, {key: str(before_ns)})
        try:
            commit(table, change, Offsets.of(table.metadata, where), where, lambda _: None)
        except Moved:
            discard(table, added)
            raise
        what = name if timeframe is None else f"{name}@{timeframe}"
        return Deleted(what, rows, _day(min(times)), _day(max(times)))

    def _only_in(self, table: "Table", expired: "Iterable[Snapshot]") -> set[str]:
        """The files that these snapshots have, which the table has no more, and no snapshot of the table has."""
        from pyiceberg.manifest import ManifestFile

        table.refresh()
        gone: dict[str, ManifestFile] = {}
        lists: set[str] = set()
        for snapshot in expired:
            lists.add(snapshot.manifest_list)
            try:
                gone |= {m.manifest_path: m for m in snapshot.manifests(table.io)}
            except FileNotFoundError:
                continue  # another process removes it
        kept = {m.manifest_path: m for s in table.metadata.snapshots for m in s.manifests(table.io)}
        alone = [manifest for path, manifest in gone.items() if path not in kept]
        data = set(_data_files(table, alone))
        if data:
            data -= set(_data_files(table, kept.values()))
        return data | lists | {manifest.manifest_path for manifest in alone}

    def _delete(self, table: "Table", paths: Iterable[str]) -> None:
        for path in paths:
            try:
                filesystem(table).delete_file(path_on(path))
            except FileNotFoundError:
                continue


def _parted(
    table: "Table", name: str, file: StoredFile, timeframe: str | None, end_ns: int, where: str
) -> tuple[int, list[int], pa.Table]:
    """How many of a file's rows go, their first and last time, and the rows that stay."""
    column = str(EVENT_TIME_COLUMN[name])
    is_old = pc.field(column) < end_ns
    if timeframe is not None:
        is_old &= pc.field("timeframe") == timeframe
    with explained(where):
        whole = ds.dataset(path_on(file.path), format="parquet", filesystem=filesystem(table))
        times = whole.to_table([column], filter=is_old)[column]
    if not len(times):
        return 0, [], pa.table({})
    stored = compaction.read_rows(table, [file], where)
    ends = pc.min_max(times)
    return len(times), [ends["min"].as_py(), ends["max"].as_py()], stored.filter(~is_old | pc.field(column).is_null())


def _expirable(metadata: "TableMetadata", before_ms: int) -> "Iterator[Snapshot]":
    """Snapshots that are older, but those that a branch or a tag names, and the newest that has our offsets."""
    named = {ref.snapshot_id for ref in metadata.refs.values()}
    ours = [s for s in metadata.snapshots if s.summary is not None and s.summary.get(PROPERTY) is not None]
    if ours:
        named.add(max(ours, key=lambda s: s.sequence_number or 0).snapshot_id)
    for snapshot in metadata.snapshots:
        if snapshot.timestamp_ms < before_ms and snapshot.snapshot_id not in named:
            yield snapshot


def _data_files(table: "Table", manifests: Iterable[object]) -> Iterator[str]:
    for manifest in manifests:
        try:
            entries = manifest.fetch_manifest_entry(table.io, discard_deleted=True)  # type: ignore[attr-defined]
        except FileNotFoundError:
            continue  # another process removes it
        yield from (entry.data_file.file_path for entry in entries)


def _named(table: "Table") -> Iterator[str]:
    """Every file that the table names: metadata, lists, manifests, data of all its snapshots. Raises FileNotFoundError."""
    metadata = table.metadata
    yield table.metadata_location
    yield from (entry.metadata_file for entry in metadata.metadata_log)
    yield from (statistics.statistics_path for statistics in metadata.statistics)
    yield from (statistics.statistics_path for statistics in metadata.partition_statistics)
    seen: set[str] = set()
    for snapshot in metadata.snapshots:
        yield snapshot.manifest_list
        for manifest in snapshot.manifests(table.io):
            if manifest.manifest_path not in seen:
                seen.add(manifest.manifest_path)
                yield manifest.manifest_path
                for entry in manifest.fetch_manifest_entry(table.io, discard_deleted=True):
                    yield entry.data_file.file_path


def _day(time_ns: int) -> str:
    return datetime.fromtimestamp(time_ns // 10**9, UTC).date().isoformat()
