"""Every promise of ports.Sink, on every sink, on its real service (sink_stores.py says how one joins)."""

import contextlib
import os
import random
import signal
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

import storing_child
from lake_store import current, lake_store  # noqa: F401
from log_of_rows import HOUR_NS, START_NS, as_text, batch, indicators, rows_of_file, stretch
from marketpulse.errors import Fatal, Retryable
from marketpulse.model.rows import BAR
from marketpulse.model.tables import TABLES
from marketpulse.ports import Sink, SinkBatch
from marketpulse.sinks import SINKS, open_sink
from postgres_store import postgres_server, postgres_store  # noqa: F401  (fixtures)
from refused import assert_raises
from s3_server import Bucket
from sink_stores import KeepsNewest, OnServer, Row, Store, settings_for
from storing_child import FULL, KilledChildren, store, write
from valkey_store import valkey, valkey_store  # noqa: F401


class ArchiveStore(Store):
    """What both have in common: their files, read as any tool would, without the commit log."""

    name = "archive"

    def __init__(self, form: str, layout: str) -> None:
        self._form, self._layout = form, layout

    def section(self) -> Mapping[str, Any]:
        return {"url": self.url(), "format": self._form, "layout": self._layout}

    def url(self) -> str:
        raise NotImplementedError

    def files(self) -> dict[str, bytes]:
        """The data files' content, by their path."""
        raise NotImplementedError

    def rows(self, table: str) -> list[Row]:
        """The current rows: of those that come again the highest revision, and none that was withdrawn."""
        own = [(path, data) for path, data in self.files().items() if path.startswith(f"table={table}/")]
        return current(table, [row for file in own for row in rows_of_file(*file)])


class DirectoryStore(ArchiveStore):
    """A directory. It goes away as a mount does whose path leads nowhere."""

    def __init__(self, root: Path, form: str, layout: str) -> None:
        super().__init__(form, layout)
        self._root = root

    def url(self) -> str:
        return str(self._root)

    def files(self) -> dict[str, bytes]:
        found = self._root.glob("table=*/**/*.*")
        return {path.relative_to(self._root).as_posix(): path.read_bytes() for path in found}

    def stop(self) -> None:
        """A path that leads nowhere: every call fails, and what was stored stays."""
        self._root.rename(self._root.with_name("away"))
        self._root.symlink_to(self._root)

    def start(self) -> None:
        self._root.unlink()
        self._root.with_name("away").rename(self._root)


class BucketStore(ArchiveStore, OnServer):
    """A bucket, below a prefix."""

    _PREFIX = "market/archive/"

    def __init__(self, bucket: Bucket, form: str, layout: str, monkeypatch: pytest.MonkeyPatch) -> None:
        super().__init__(form, layout)
        self._bucket, self.server, self._monkeypatch = bucket, bucket.server, monkeypatch

    def url(self) -> str:
        return f"{self._bucket.url}/{self._PREFIX}"

    def files(self) -> dict[str, bytes]:
        keys = self._bucket.keys(f"{self._PREFIX}table=")
        return {key.removeprefix(self._PREFIX): self._bucket.read(key) for key in keys}

    def refused(self) -> Mapping[str, Any] | None:
        """The login is no setting: it stands in the environment."""
        self._monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "another-one")
        return self.section()


@pytest.fixture
def archive_by_date(tmp_path: Path) -> DirectoryStore:
    """JSON lines in a directory."""
    return DirectoryStore(tmp_path / "archive", "json-lines", "date")


@pytest.fixture
def archive_by_symbol(tmp_path: Path) -> DirectoryStore:
    """Parquet in a directory, a symbol's days together."""
    return DirectoryStore(tmp_path / "archive", "parquet", "symbol/date")


@pytest.fixture
def archive_in_a_bucket(s3_bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> BucketStore:
    """Parquet on S3, as Glue and Athena read it."""
    for name, value in s3_bucket.settings().items():
        monkeypatch.setenv(f"MARKETPULSE_S3__{name.upper()}", str(value))
    return BucketStore(s3_bucket, "parquet", "symbol/date", monkeypatch)


pytestmark = pytest.mark.integration

STORES: dict[str, tuple[str, ...]] = {
    "lake": ("lake_store",), "archive": ("archive_by_date", "archive_by_symbol", "archive_in_a_bucket"),
    "postgres": ("postgres_store",), "influx": ("influx_store",), "redis": ("valkey_store",),
}  # fmt: skip
"""Name of the sink -> the fixtures that give a Store."""
Open = Callable[[], Sink]


@pytest.fixture(params=sorted(fixture for fixtures in STORES.values() for fixture in fixtures))
def place(request: pytest.FixtureRequest) -> Store:
    found: Store = request.getfixturevalue(request.param)
    return found


@pytest.fixture(scope="module")
def children() -> Iterator[KilledChildren]:
    process = KilledChildren(storing_child.__file__)
    yield process
    process.close()


@pytest.fixture
def opened(place: Store, tmp_path: Path) -> Open:
    """Opens the sink at its place, each time anew, as another process would."""
    return lambda: open_sink(settings_for(place.name, place.section(), tmp_path), place.name)


def assert_stored(place: Store, tables: Iterable[str], end: int, partitions: Iterable[int] = (0, 1)) -> None:
    """The store holds the known topics up to `end`: every row, once, and nothing else."""
    for table in {"trades", "quotes", "events", "bars"} & set(tables):
        rows = [row for p in partitions for row in batch(table, p, 0, end).rows.to_pylist()]
        rows = place.expected(table, rows) if isinstance(place, KeepsNewest) else rows
        kept = [found for row in rows if (found := place.kept(table, row)) is not None]
        assert as_text(place.rows(table)) == as_text(kept), table


def test_every_sink_is_tried_here() -> None:
    assert set(STORES) == set(SINKS)


def test_what_is_written_and_flushed_is_stored_row_for_row(place: Store, opened: Open) -> None:
    sink = opened()
    store(sink, end=50, cut=50)
    assert_stored(place, sink.tables, 50)
    topics = {TABLES[table][0] for table in sink.tables} & {"market", "bars"}
    stands = {(topic, p): 50 for topic in topics for p in (0, 1)}
    assert opened().resume() == (stands if place.keeps_offsets else None)


def test_the_same_batch_twice_changes_nothing_and_gaps_and_unknown_tables_fail(place: Store, opened: Open) -> None:
    for sink in (opened(), opened()):
        for _ in range(2):
            write(sink, stretch("market", 0, 0, 20) + stretch("bars", 0, 0, 20))
            sink.flush()
    assert_stored(place, sink.tables, 20, [0])
    assert_raises(Retryable, "rows before it are not stored", sink.write, batch("bars", 0, 26, 120))
    rows = pa.RecordBatch.from_pylist([], schema=pa.schema([("a", pa.int64())]))
    with pytest.raises(Fatal, match="does not store the table 'secrets'"):
        opened().write(SinkBatch("secrets", "market", 0, 0, 1, rows))


@pytest.mark.parametrize(("first_cut", "second_cut"), [(7, 11), (40, 9)])
def test_a_restart_wants_lost_rows_and_cuts_anew(place: Store, opened: Open, first_cut: int, second_cut: int) -> None:
    sink = opened()
    store(sink, end=23, cut=first_cut)
    write(sink, stretch("market", 0, 23, 30))
    sink.close()
    assert_stored(place, sink.tables, 23)
    sink = opened()
    store(sink, end=40, cut=second_cut)
    assert_stored(place, sink.tables, 40)


def test_an_owner_that_was_replaced_doubles_nothing(place: Store, opened: Open) -> None:
    first, second = opened(), opened()
    store(first, end=10, cut=10, partitions=(0,))
    second.resume()
    for sink in (first, second):
        write(sink, stretch("market", 0, 10, 20) + stretch("bars", 0, 10, 20))
    second.flush()
    try:
        first.flush()
    except Retryable:
        store(first, end=20, cut=20, partitions=(0,))
    assert_stored(place, first.tables, 20, [0])


@pytest.mark.parametrize("seed", range(8 if FULL else 2))
def test_killed_at_any_moment_it_loses_and_doubles_nothing(
    place: Store, opened: Open, children: KilledChildren, tmp_path: Path, seed: int
) -> None:
    chance, end = random.Random(seed), 400
    order = {"name": place.name, "section": dict(place.section()), "data_dir": tmp_path, "end": end}
    for _ in range(4):
        child = children.start(**order, environment=dict(os.environ), cut=chance.choice((5, 20, 90)))
        if all(not children.read().startswith("ended") for _ in range(chance.randint(1, 3))):
            time.sleep(chance.random() * 0.1)  # any moment
            with contextlib.suppress(ProcessLookupError):  # it has just come to its end
                os.kill(child, signal.SIGKILL)
            children.wait()
    sink = opened()
    store(sink, end=end, cut=60)
    assert_stored(place, sink.tables, end)


def test_a_service_that_is_away_is_waited_for(place: Store, opened: Open) -> None:
    sink = opened()
    store(sink, end=10, cut=10)
    place.stop()
    try:
        write(sink, stretch("market", 0, 10, 20) + stretch("bars", 0, 10, 20))
        assert_raises(Retryable, "nothing is lost", sink.flush)
        assert_raises(Retryable, "nothing is lost", opened().resume)
    finally:
        place.start()
    with contextlib.suppress(Retryable):  # a connection may take a moment to notice
        sink.flush()  # the rows were kept
    store(sink, end=20, cut=20)
    assert_stored(place, sink.tables, 20)


def test_a_refused_login_says_so_and_shows_no_secret(place: Store, tmp_path: Path) -> None:
    section = place.refused()
    if section is None:
        assert place.name in {"lake", "archive"}, "only a directory has no login"
        return
    with pytest.raises(Fatal) as caught:
        store(open_sink(settings_for(place.name, section, tmp_path), place.name), end=10, cut=10)
    assert "nothing is lost" in str(caught.value)
    for secret in (v for k, v in section.items() if k in ("password", "token", "secret")):
        assert str(secret) not in str(caught.value)


def test_a_new_indicator_is_a_new_column_and_old_rows_stay(place: Store, opened: Open) -> None:
    sink = opened()
    if "indicators" not in sink.tables:
        return
    sink.write(indicators(0, {"sma_20": 0.5}))
    sink.write(indicators(1, {"sma_20": 1.5, "ema_12": 2.5}))
    sink.flush()
    again = opened()
    again.resume()
    again.write(indicators(2, {"ema_12": None, "rsi_14": 3.5}))
    again.flush()
    found = [tuple(row.get(name) for name in ("sma_20", "ema_12", "rsi_14")) for row in place.rows("indicators")]
    told = [(0.5, None, None), (1.5, 2.5, None), (None, None, 3.5)]
    assert sorted(found, key=str) == (told[2:] if place.name == "redis" else told)  # it keeps the newest


def bar(offset: int, revision: int, close: float | None) -> SinkBatch:
    head = {"symbol": "A", "timeframe": "1h", "open_time_ns": START_NS, "close_time_ns": START_NS + HOUR_NS}
    prices = dict.fromkeys(("open", "high", "low", "close"), close)
    receipt = {"topic": "market", "partition": 0, "first_offset": 0, "last_offset": offset}
    row = {**head, **prices, "volume": 1.0, "trade_count": 1, "revision": revision, "receipt": receipt}
    return SinkBatch("bars", "bars", 0, offset, offset + 1, pa.RecordBatch.from_pylist([row], schema=BAR))


@pytest.mark.parametrize("together", [True, False])
def test_a_reader_sees_the_last_revision_and_no_withdrawn_bar(place: Store, opened: Open, together: bool) -> None:
    sink = opened()
    for offset in range(3):
        sink.write(bar(offset, revision=offset, close=float(offset)))
        if not together:
            sink.flush()
    sink.flush()
    assert [row["close"] for row in place.rows("bars")] == [2.0]
    sink.write(bar(3, revision=3, close=None))
    sink.flush()
    assert place.rows("bars") == []
