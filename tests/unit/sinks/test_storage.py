"""Stores of files: whole or not at all, and one winner; a partition's commit log, from the writer's side."""

import errno
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from marketpulse.errors import EnvironmentProblem, Fatal, Retryable
from marketpulse.model.commit_log import COMPLETE_EVERY, StoredFile
from marketpulse.settings import S3Settings
from marketpulse.sinks.commits import PartitionLog, read_state, read_states
from marketpulse.sinks.storage import LocalStorage, RemoteStorage, Storage, open_storage
from refused import assert_raises


@pytest.fixture(params=["local", "memory", "bucket"])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> Storage:
    if request.param == "bucket":
        bucket = request.getfixturevalue("s3_bucket")
        return open_storage(f"{bucket.url}/a/b/", S3Settings(**bucket.settings()))
    return open_storage(tmp_path if request.param == "local" else f"memory:/{tmp_path}")


def test_what_was_put_is_read_found_and_deleted_and_commits_are_no_data(storage: Storage) -> None:
    assert (storage.find(), storage.names("_commits")) == ([], []), "an empty or missing place holds nothing"
    for directory in "ab":
        storage.create(f"_commits/{directory}/1.json", b"{}", "a")
    assert storage.find() == []
    storage.put({"table=a/x": b"1", "table=b/y": b"2"}, "a-00")
    storage.put({"table=a/x": b"3"}, "a-00")
    assert (storage.read("table=a/x"), sorted(storage.find())) == (b"3", ["table=a/x", "table=b/y"])
    assert (sorted(storage.names("_commits")), storage.names("_commits/a")) == (["a", "b"], ["1.json"])
    storage.delete(["table=a/x", "table=a/never"])
    assert storage.find() == ["table=b/y"]
    assert_raises(FileNotFoundError, "", storage.read, "table=a/x")


def test_of_many_writers_of_one_name_one_wins(storage: Storage) -> None:
    with ThreadPoolExecutor(8) as pool:
        won = list(pool.map(lambda n: storage.create("_commits/a/1.json", str(n).encode(), "a"), range(8)))
    if not isinstance(storage, RemoteStorage):  # the store in memory is for tests: it looks, then writes
        assert (won.count(True), storage.read("_commits/a/1.json")) == (1, str(won.index(True)).encode())
    assert storage.create("_commits/a/1.json", b"late", "a") is False


def test_only_an_owners_interrupted_writes_are_cleared(tmp_path: Path) -> None:
    storage = LocalStorage(tmp_path)
    for owner in ("market-00", "market-01"):
        (tmp_path / "_tmp" / owner).mkdir(parents=True)
        (tmp_path / "_tmp" / owner / "half").write_bytes(b"half")
    storage.clear_interrupted("market-00")
    assert not list((tmp_path / "_tmp" / "market-00").iterdir())
    assert (tmp_path / "_tmp" / "market-01" / "half").exists()


def failing(number: int) -> Callable[..., None]:
    def fail(*args: object, **more: object) -> None:
        raise OSError(number, os.strerror(number))

    return fail


def test_a_failed_write_leaves_none_and_names_are_given_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    storage = LocalStorage(tmp_path)
    with monkeypatch.context() as full:
        full.setattr(os, "fsync", failing(errno.ENOSPC))
        assert_raises(Retryable, "is full", storage.put, {"table=a/x": b"1"}, "a")
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []
    monkeypatch.setattr(os, "link", failing(errno.ENOTSUP))  # a file system without hard links
    assert storage.create("_commits/a/1.json", b"first", "a") is True
    assert storage.create("_commits/a/1.json", b"second", "a") is False
    assert storage.read("_commits/a/1.json") == b"first"


@pytest.mark.parametrize(("number", "kind", "said"), [
    (errno.EACCES, Fatal, "nothing is lost"), (errno.EROFS, Fatal, "nothing is lost"), (errno.EDQUOT, Retryable, "nothing is lost"),
    (errno.EIO, Retryable, "nothing is lost"), (errno.ESTALE, Retryable, "nothing is lost"),
    (errno.ENOENT, Fatal, "create the bucket"),  # OSError makes it a FileNotFoundError
])  # fmt: skip
def test_a_fault_says_what_to_do_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, kind: type[Exception], said: str
) -> None:
    storage = RemoteStorage(f"memory:/{tmp_path}")
    monkeypatch.setattr(storage._fs, "pipe_file", failing(number))
    for write in (lambda: storage.put({"x": b""}, "a"), lambda: storage.create("x", b"", "a")):
        assert_raises(kind, said, write)


def test_a_url_needs_its_driver_and_file_and_home_are_local(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for url in ("nosuchstore://x", "gs://bucket/x"):
        assert_raises(EnvironmentProblem, "fsspec", open_storage, url)
    monkeypatch.setenv("HOME", str(tmp_path))
    for place in (f"file://{tmp_path}/lake", "~/lake", tmp_path / "lake"):
        storage = open_storage(place)
        assert isinstance(storage, LocalStorage)
        assert storage.root == tmp_path / "lake"


@pytest.fixture
def local(tmp_path: Path) -> LocalStorage:
    return LocalStorage(tmp_path)


def claimed(local: LocalStorage, topic: str = "market", partition: int = 3) -> PartitionLog:
    log = PartitionLog(local, topic, partition)
    log.claim()
    return log


def data(n: int) -> StoredFile:
    path = f"table=trades/date=2024-05-01/market-03-{n:012d}-{n + 1:012d}.parquet"
    return StoredFile(path, "trades", "2024-05-01", n, n + 1, 1, 10)


def test_what_was_committed_is_read_by_all_and_after_a_claim_only_the_new_owner_commits(local: LocalStorage) -> None:
    first = claimed(local)
    first.commit({"trades": 5}, [data(0)])
    first.commit({"trades": 9}, [data(5)], [data(0).path])
    state = read_states(local)["market", 3]
    assert (state.next_offsets, list(state.files)) == ({"trades": 9}, [data(5).path])
    claimed(local)
    after = read_state(local, "market-03")
    assert (after.next_offsets, after.files) == (state.next_offsets, state.files), "a claim moves nothing"
    assert_raises(Retryable, "took market-03 over", first.commit, {"trades": 12}, [data(9)])
    assert read_state(local, "market-03").files == state.files


def test_an_owner_that_slept_through_a_hundred_commits_cannot_reuse_a_number(local: LocalStorage) -> None:
    sleeper, worker = claimed(local), claimed(local)
    for n in range(4 * COMPLETE_EVERY):
        worker.commit({"trades": n + 1}, [data(n)])
    assert len(local.names("_commits/market-03")) <= 2 * COMPLETE_EVERY + 2  # the oldest are gone
    assert_raises(Retryable, "took market-03 over", sleeper.commit, {"trades": 1}, [data(0)])
    state = read_state(local, "market-03")
    assert (state.next_offsets, len(state.files)) == ({"trades": 4 * COMPLETE_EVERY}, 4 * COMPLETE_EVERY)


def test_only_this_partitions_files_without_a_commit_are_left_over(local: LocalStorage) -> None:
    claimed(local).commit({"trades": 1}, [data(0)])
    others = ["table=trades/date=2024-05-01/market-04-000000000007-000000000008.parquet", "table=trades/mine.csv"]
    local.put(dict.fromkeys((data(0).path, data(7).path, *others), b""), "market-03")
    again = claimed(local)
    assert again.left_over(local.find()) == [data(7).path]
    again.clean(local.find())
    assert sorted(local.find()) == sorted([data(0).path, *others])


def test_a_log_with_a_gap_or_a_damaged_commit_is_not_read_as_less(local: LocalStorage) -> None:
    local.put({"_commits/notes/readme.txt": b""}, "x")
    log = claimed(local)
    assert list(read_states(local)) == [("market", 3)], "other directories are passed over"
    for n in range(4):
        log.commit({"trades": n + 1}, [data(n)])
    local.delete(["_commits/market-03/000000000002.json"])
    assert_raises(Retryable, "have gaps", read_state, local, "market-03")
    local.delete([f"_commits/market-03/{name}" for name in local.names("_commits/market-03")])
    local.put({"_commits/market-03/000000000000.json": b"{"}, "market-03")
    assert_raises(Fatal, "damaged", read_states, local)


def test_an_answer_that_got_lost_on_the_way_is_still_our_commit(local: LocalStorage) -> None:
    class Forgetful(LocalStorage):
        def create(self, path: str, data: bytes, owner: str) -> bool:
            super().create(path, data, owner)
            return False  # as after a PUT that was sent twice because its first answer was lost

    log = PartitionLog(Forgetful(local.root), "market", 3)
    log.claim()
    log.commit({"trades": 5}, [data(0)])
    assert read_state(local, "market-03").next_offsets == {"trades": 5}


def test_content_is_forced_to_disk_before_a_file_gets_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    forced: set[int] = set()
    named: dict[str, bool] = {}
    fsync, link, replace = os.fsync, os.link, Path.replace

    def forcing(descriptor: int) -> None:
        fsync(descriptor)
        forced.add(os.fstat(descriptor).st_ino)

    def linking(source: Any, target: Any) -> None:
        named[Path(target).name] = Path(source).stat().st_ino in forced
        link(source, target)

    def replacing(source: Path, target: Any) -> Path:
        named[Path(target).name] = source.stat().st_ino in forced
        return replace(source, target)

    monkeypatch.setattr(os, "fsync", forcing)
    monkeypatch.setattr(os, "link", linking)
    monkeypatch.setattr(Path, "replace", replacing)
    storage = LocalStorage(tmp_path)
    storage.put({"table=trades/a": b"rows", "table=trades/b": b"more rows"}, "market-00")
    assert storage.create("_commits/market-00/0.json", b"commit", "market-00")
    assert named == {"a": True, "b": True, "0.json": True}
