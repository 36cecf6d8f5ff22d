"""What only the lake promises: its commits, its chores, and every step that a kill can fall between.

Run as a program, this file is the process that gets killed before its n-th call that changes a file or the catalogue
(storing_child.py).
"""

import errno
import json
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet
import pytest
from pyiceberg.catalog.sql import SqlCatalog

from forked import Forked
from lake_store import LakeRows, LakeStore
from log_of_rows import START_NS, TOPICS, as_text, batch, expected, stretch
from marketpulse.catalog import open_lake, open_visible
from marketpulse.clock import ManualClock
from marketpulse.errors import Fatal, Retryable
from marketpulse.model.rows import BAR, indicators_schema
from marketpulse.ports import Sink, SinkBatch
from marketpulse.settings import Settings
from marketpulse.sinks import lake as lake_module
from marketpulse.sinks import lake_chores, lake_compaction, open_sink
from marketpulse.sinks.lake_chores import Chores
from refused import assert_raises
from storing_child import STRIDE, KilledChildren, kill_at_call, moments, serve_orders, store, store_in, write

DAY_NS = 86_400 * 10**9
TABLES = [table for tables in TOPICS.values() for table in tables]


def settings_at(directory: Path, **lake: Any) -> Settings:
    return Settings(data_dir=directory, sinks={"lake": lake})


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return settings_at(tmp_path)


def opened(settings: Settings) -> Sink:
    return open_sink(settings, "lake")


def assert_stored(settings: Settings, end: int, partitions: tuple[int, ...] = (0, 1)) -> None:
    for table in TABLES:
        assert as_text(history(settings, table)) == expected(table, partitions, end), table


def history(settings: Settings, table: str) -> list[dict[str, Any]]:
    return LakeStore(Path(settings.lake_url())).history(table)


def chores(settings: Settings, hours_later: float = 0) -> Chores:
    return Chores(open_lake(settings), settings, ManualClock(time.time_ns() + round(hours_later * 3_600e9)))


def files_below(settings: Settings, pattern: str = "*") -> set[Path]:
    return {path for path in Path(settings.lake_url()).rglob(pattern) if path.is_file()}


def snapshots(settings: Settings, table: str) -> list[Any]:
    found = open_lake(settings).table(table)
    return [] if found is None else list(found.metadata.snapshots)


def test_a_reader_without_us_sees_the_same_rows_by_day_and_sorted_with_bounds(settings: Settings) -> None:
    store(opened(settings), end=50, cut=10)
    catalog = SqlCatalog("marketpulse", uri=f"sqlite:///{settings.lake_url()}/catalog.db")
    for table in TABLES:
        paths = [task.file.file_path for task in catalog.load_table(("marketpulse", table)).scan().plan_files()]
        beside = "open_time, close_time" if table == "bars" else "event_time"
        sql = f"SELECT * EXCLUDE ({beside}) FROM read_parquet({paths!r}, hive_partitioning = false)"  # noqa: S608
        found = duckdb.sql(sql)
        assert found is not None
        assert as_text(found.to_arrow_table().to_pylist()) == expected(table, (0, 1), 50)
    trades = open_lake(settings).table("trades")
    assert trades is not None
    assert [(f.name, str(f.transform)) for f in trades.spec().fields] == [("event_day", "day")]
    order = [trades.schema().find_column_name(field.source_id) for field in trades.sort_order().fields]
    assert order[:2] == ["symbol", "event_time_ns"]
    for file in open_visible(settings).read(["trades"])["trades"].files:
        rows = pa.parquet.read_table(file.path, partitioning=None)
        keys = list(zip(rows["symbol"].to_pylist(), rows["event_time_ns"].to_pylist(), strict=True))
        assert keys == sorted(keys)
        times = [time for _, time in keys]
        assert file.bounds["event_time_ns"] == (min(times), max(times))
        assert {time // DAY_NS for time in times} == {file.partition[0]}
        assert file.bounds["symbol"] == (keys[0][0], keys[-1][0])


def test_thirty_years_of_daily_bars_are_some_hundred_files_and_every_row(settings: Settings) -> None:
    head = {"symbol": "SPX", "timeframe": "1d", "revision": 0}
    rows = [{**head, "open_time_ns": START_NS - n * DAY_NS, "close": float(n)} for n in range(30 * 365)]
    sink = opened(settings)
    sink.write(SinkBatch("bars", "bars", 0, 0, len(rows), pa.RecordBatch.from_pylist(rows, schema=BAR)))
    sink.flush()
    assert sorted(row["close"] for row in history(settings, "bars")) == [float(n) for n in range(30 * 365)]
    assert len(open_visible(settings).read(["bars"])["bars"].files) == 361


def test_rows_of_a_partition_that_was_taken_over_are_dropped_and_the_others_stored(settings: Settings) -> None:
    first, second = opened(settings), opened(settings)
    store(first, end=10, cut=10)
    second.resume()
    write(second, stretch("market", 0, 10, 20))
    second.flush()
    for partition in (0, 1):
        write(first, stretch("market", partition, 10, 20))
    assert_raises(Retryable, "another process took the partition over", first.flush)
    assert_raises(Retryable, "rows before it are not stored", first.write, batch("trades", 0, 20, 30))
    store(first, end=20, cut=10)
    assert_stored(settings, 20)


def test_a_lost_answers_commit_is_known_and_a_lake_filled(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    sink = opened(settings)
    store(sink, end=10, cut=10)
    real, left = SqlCatalog.commit_table, [2]

    def lost(*arguments: Any) -> Any:
        answer = real(*arguments)
        if left[0]:
            left[0] -= 1
            raise OSError(errno.ECONNRESET, "the connection was reset")
        return answer

    write(sink, stretch("market", 0, 10, 20))
    with monkeypatch.context() as patched:
        patched.setattr(SqlCatalog, "commit_table", lost)
        for _ in range(2):
            assert_raises(Retryable, "nothing is lost", sink.flush)
        sink.flush()
    store(sink, end=20, cut=20)
    assert_stored(settings, 20)

    lake = open_lake(settings)
    for table in TABLES:
        lake._opened().drop_table((lake.namespace, table))
    write(sink, stretch("market", 0, 20, 30))
    assert_raises(Retryable, "reading again from where it stands", sink.flush)
    store(sink, end=30, cut=20)
    assert_stored(settings, 30)


def test_another_programs_commits_and_expiry_lose_no_offset(settings: Settings) -> None:
    store(opened(settings), end=10, cut=5)
    table = open_lake(settings).table("trades")
    assert table is not None
    table.delete("event_time < '2024-05-02T00:00:00+00:00'")
    assert opened(settings).resume()["market", 0] == 10  # type: ignore[index]
    ids = [snapshot.snapshot_id for snapshot in table.refresh().metadata.snapshots]
    ours = [one for one in ids if one != table.metadata.current_snapshot_id]
    table.maintenance.expire_snapshots().by_ids(ours).commit()
    assert opened(settings).resume()["market", 0] == 10  # type: ignore[index]
    store(opened(settings), end=20, cut=10)
    left = [row for row in expected("trades", (0, 1), 20) if json.loads(row)["event_time_ns"] >= START_NS + DAY_NS]
    assert as_text(history(settings, "trades")) == left


def held_up_to(settings: Settings, partition: int) -> int | None:
    lake = open_visible(settings)
    lake.read()
    return lake.held_up_to("market", partition)


def test_stretches_without_rows_move_the_position_at_most_once_a_minute(settings: Settings) -> None:
    clock = ManualClock(time.time_ns())
    sink = open_sink(settings, "lake", clock)
    sink.resume()
    for n in range(30):
        for one in stretch("market", 3, 0, 1):
            sink.write(SinkBatch(one.table, one.topic, 3, n, n + 1, one.rows[:0]))
        sink.flush()
        clock.sleep(10)
    assert len(snapshots(settings, "trades")) == 5
    assert snapshots(settings, "quotes") == []
    assert opened(settings).resume()["market", 3] == held_up_to(settings, 3) == 25  # type: ignore[index]


def test_a_table_without_rows_needs_no_commit_of_its_own(settings: Settings) -> None:
    sink = opened(settings)
    sink.resume()
    for begin in (0, 5, 10):
        for one in stretch("market", 0, begin, begin + 5):
            rows = one.rows if one.table == "trades" else one.rows[:0]
            sink.write(SinkBatch(one.table, one.topic, 0, begin, begin + 5, rows))
        sink.flush()
    assert len(snapshots(settings, "trades")) == 3
    assert open_lake(settings).table("quotes") is None
    assert opened(settings).resume() == {("market", 0): 15}
    assert held_up_to(settings, 0) == 15


def test_loaded_files_have_offsets_of_their_own_told_by_every_flush(settings: Settings) -> None:
    sink = opened(settings)
    store(sink, end=10, cut=10)
    sink.write(SinkBatch("bars", "/data/my bars.csv", 0, 0, 10, batch("bars", 0, 0, 10).rows))
    sink.flush()
    topic = "file:trades.csv@1.2"
    for begin, end in ((0, 10), (10, 20), (20, 10**15)):
        for one in stretch("market", 0, begin, min(end, 20)) + stretch("bars", 0, begin, min(end, 20)):
            sink.write(SinkBatch(one.table, topic, 0, begin, end, one.rows if one.table == "trades" else one.rows[:0]))
        sink.flush()
    known = {(name, partition): 10 for name in TOPICS for partition in (0, 1)}
    assert opened(settings).resume() == {**known, ("/data/my bars.csv", 0): 10, (topic, 0): 10**15}


def test_two_processes_that_write_the_same_tables_lose_and_double_nothing(settings: Settings, tmp_path: Path) -> None:
    children = [
        Forked(store_in, settings_at(tmp_path), "lake", 60, 5, (p,), environment=os.environ, cwd=tmp_path)
        for p in (0, 1)
    ]
    assert [child.wait(120) for child in children] == [0, 0]
    assert_stored(settings, 60)
    assert opened(settings).resume() == {(topic, p): 60 for topic in TOPICS for p in (0, 1)}


def test_a_fault_of_disk_or_catalogue_says_what_to_do(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    sink = opened(settings)
    store(sink, end=10, cut=10)
    full, broken = (errno.ENOSPC, Retryable, "free some space"), (errno.EIO, Retryable, "trying again")
    for end, number, kind, told in ((20, *full), (30, *broken), (40, errno.EACCES, Fatal, "access")):

        def fail(*_: object, number: int = number) -> None:
            raise OSError(number, os.strerror(number))

        write(sink, stretch("market", 0, end - 10, end))
        with monkeypatch.context() as patched:
            patched.setattr(os, "fsync", fail)
            assert_raises(kind, f"{told}.*nothing is lost|nothing is lost.*{told}", sink.flush)
        store(sink, end=end, cut=20)
        assert_stored(settings, end)

    (lake := settings.data_dir / "other").mkdir()
    (lake / "catalog.db").write_bytes(b"no database at all, but some text" * 100)
    assert_raises(Fatal, r"restore catalog\.db", opened(settings_at(settings.data_dir, url=str(lake))).resume)


def test_chores_change_no_row_and_no_offset(settings: Settings) -> None:
    store(opened(settings), end=100, cut=4)
    wanted, before = opened(settings).resume(), open_visible(settings).read(TABLES)
    for table in TABLES:
        chores(settings).compact(table)
        assert_stored(settings, 100)
    after = open_visible(settings).read(TABLES)
    assert len(after["trades"].files) < len(before["trades"].files)
    for table in TABLES:
        partitions = [file.partition for file in after[table].files]
        assert len(partitions) == len(set(partitions)) <= len(before[table].files)
        assert after[table].offsets == before[table].offsets
        assert after[table].committed_ms == before[table].committed_ms, "a chore brings nothing new"
    assert opened(settings).resume() == wanted
    for table in TABLES:
        assert chores(settings, hours_later=1).expire(table) > 0
        assert len(snapshots(settings, table)) <= 2  # the newest, and the newest that brought rows
    assert_stored(settings, 100)
    named = {Path(file.path) for table in TABLES for file in after[table].files}
    assert files_below(settings, "*.parquet") == named
    assert opened(settings).resume() == wanted
    for table in TABLES:
        assert chores(settings, hours_later=48).clean(table) >= 0
    assert_stored(settings, 100)
    assert files_below(settings, "*.parquet") == named
    store(opened(settings), end=120, cut=7)
    assert_stored(settings, 120)


def test_what_piles_up_in_days_of_flushes_is_removed_as_it_goes(settings: Settings) -> None:
    clock = ManualClock(time.time_ns())
    sink = open_sink(settings, "lake", clock)
    sink.resume()
    for n in range(120):
        sink.write(SinkBatch("trades", "market", 0, n, n + 1, batch("trades", 0, 0, 2).rows))
        sink.flush()
        clock.sleep(120)  # the snapshots' own times are the machine's: all are older soon
    assert len(open_visible(settings).read(["trades"])["trades"].files) < 24
    assert len(files_below(settings, "*.metadata.json")) <= 12
    assert len(snapshots(settings, "trades")) < 40
    assert len(history(settings, "trades")) == 240


def test_left_over_files_are_removed_when_they_are_old_and_not_before(settings: Settings) -> None:
    store(opened(settings), end=10, cut=5)
    table = Path(settings.lake_url()) / "marketpulse" / "trades"
    orphans = {table / "data" / "event_day=2024-05-01" / "left.parquet", table / "metadata" / "left-m0.avro"}
    named = files_below(settings)
    for path in orphans:
        path.write_bytes(b"left over")
    assert chores(settings, hours_later=5).clean("trades") == 0
    assert orphans <= files_below(settings)
    assert chores(settings, hours_later=7).clean("trades") == 2
    assert files_below(settings) == named
    assert_stored(settings, 10)


def test_retention_deletes_whole_days_and_says_which(tmp_path: Path) -> None:
    settings = settings_at(tmp_path, retention={"trades": "10d", "bars": "10d"})
    store(open_sink(settings, "lake", ManualClock(START_NS)), end=160, cut=40)  # 20 days
    work = Chores(open_lake(settings), settings, ManualClock(START_NS + 20 * DAY_NS + 3_600 * 10**9))
    for table in ("trades", "bars"):
        (gone,) = work.delete_old(table)
        assert (gone.what, gone.first_day, gone.last_day) == (table, "2024-05-01", "2024-05-10")
        time_of = "event_time_ns" if table == "trades" else "open_time_ns"
        kept = [row for row in expected(table, (0, 1), 160) if json.loads(row)[time_of] >= START_NS + 10 * DAY_NS]
        assert as_text(history(settings, table)) == kept
        assert gone.rows == len(expected(table, (0, 1), 160)) - len(kept)
        assert work.delete_old(table) == []
    assert work.delete_old("quotes") == []
    assert opened(settings).resume() == {(topic, p): 160 for topic in TOPICS for p in (0, 1)}


def test_bars_of_a_second_go_after_a_week_by_default_and_history_not_before_it_is_a_week_in_the_lake(
    settings: Settings,
) -> None:
    assert settings.sinks.lake.describe_retention() == "bars@1s 7 days, indicators@1s 7 days, all else for ever"
    head = {"symbol": "A", "revision": 0}
    rows = [
        {**head, "timeframe": frame, "open_time_ns": START_NS + day * DAY_NS, "close": float(day)}
        for frame in ("1m", "1s", "5m") for day in range(20)
    ]  # fmt: skip
    clock = ManualClock(START_NS + 30 * DAY_NS)
    sink = open_sink(settings, "lake", clock)
    for n, some in enumerate((rows[:50], rows[50:])):
        batch = pa.RecordBatch.from_pylist(some, schema=BAR)
        sink.write(SinkBatch("bars", "bars", 0, 50 * n, 50 * n + len(some), batch))
        sink.flush()
    work = Chores(open_lake(settings), settings, clock)
    clock.sleep(6 * 86_400)
    assert work.delete_old("bars") == []
    clock.sleep(2 * 86_400)
    (gone,) = work.delete_old("bars")
    assert gone == lake_chores.Deleted("bars@1s", 20, "2024-05-01", "2024-05-20")
    assert work.delete_old("bars") == []
    left = [(row["timeframe"], row["close"]) for row in history(settings, "bars")]
    assert sorted(left) == [(frame, float(day)) for frame in ("1m", "5m") for day in range(20)]


def test_merging_leaves_rows_of_other_indicators_apart_and_passes_a_removed_file_by(settings: Settings) -> None:
    lake = LakeRows(settings)
    for n in range(4):
        row = {"symbol": "A", "timeframe": "1m", "open_time_ns": START_NS + n, "close_time_ns": START_NS, "revision": 0}
        name = "sma_20" if n % 2 else "ema_12"
        lake.add("indicators", [{**row, name: float(n)}], [name])
    chores(settings).compact("indicators")
    files = open_visible(settings).read(["indicators"])["indicators"].files
    assert sorted(file.columns for file in files) == [("ema_12",), ("sma_20",)]
    assert indicators_schema(["ema_12"]).names[-1] == "receipt"
    lake = LakeRows(settings)
    trade = {"symbol": "A", "event_time_ns": START_NS, "price": 1.0, "size": 1.0}
    paths = [path for n in range(4) for path in lake.add("trades", [{**trade, "offset": n}])]
    Path(paths[1]).unlink()
    chores(settings).compact("trades")
    assert [row["offset"] for row in history(settings, "trades")] == [0, 2, 3]
    assert len(lake.files("trades")) == 1


@pytest.fixture
def children() -> Iterator[KilledChildren]:
    process = KilledChildren(__file__)
    yield process
    process.close()


@pytest.mark.chaos
def test_kill_9_at_any_changing_call_loses_and_doubles_nothing(tmp_path: Path, children: KilledChildren) -> None:
    kills = 0
    for kill_at in moments(every=17):
        here = settings_at(tmp_path / str(kill_at))
        ended = children.run(directory=here.data_dir, end=12, cut=4, kill_at=kill_at)
        store(opened(here), end=15, cut=5, partitions=(0,))
        assert_stored(here, 15, (0,))
        for table in TABLES:
            chores(here, hours_later=48).clean(table)
        named = {Path(f.path) for picture in open_visible(here).read(TABLES).values() for f in picture.files}
        assert named <= files_below(here, "*.parquet")
        if ended == 0:
            break
        assert ended == -signal.SIGKILL
        kills += 1
    assert kills * STRIDE > 10


@pytest.mark.chaos
def test_killed_again_and_again_it_gets_there(settings: Settings, children: KilledChildren) -> None:
    for n in range(1, 12):
        children.run(directory=settings.data_dir, end=5 * n, cut=1 + n % 4, kill_at=20 + (n * 37) % 150)
    assert children.run(directory=settings.data_dir, end=60, cut=9, kill_at=0) == 0
    assert_stored(settings, 60, (0,))


def _store_until_killed(order: dict[str, Any]) -> None:
    from sqlalchemy.engine.default import DefaultDialect

    from marketpulse.catalog.file_io import DurableLocalFiles

    changing = [(os, "fsync"), (os, "mkdir"), (DefaultDialect, "do_commit")]
    changing += [(DurableLocalFiles, name) for name in ("open_output_stream", "delete_file")]
    kill_at_call(order["kill_at"], changing)
    # Merge, expire and clean behind every flush, so that kills fall into these too.
    lake_chores._LOOK_EVERY = 1
    lake_compaction.FILES_MAX = 2
    lake_chores._EXPIRE_AT_LEAST = 1
    lake_module._POSITION_EVERY_S = 0.0
    clock = ManualClock(time.time_ns() + 10**13)  # every snapshot is old at once
    store(open_sink(settings_at(Path(order["directory"])), "lake", clock), order["end"], order["cut"], partitions=(0,))


if __name__ == "__main__":
    import pyiceberg.catalog.sql
    import pyiceberg.io.pyarrow  # noqa: F401  (once, not by every child)

    batch("trades", 0, 0, 1)
    serve_orders(_store_until_killed)
