"""Stores of files: whole or not at all, and one winner."""

import errno
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from marketpulse.errors import EnvironmentProblem, Fatal, Retryable
from marketpulse.sinks.storage import LocalStorage, RemoteStorage, Storage, open_storage


@pytest.fixture(params=["local", "memory"])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> Storage:
    return open_storage(tmp_path if request.param == "local" else f"memory:/{tmp_path}")


def test_what_was_put_is_read_found_and_deleted(storage: Storage) -> None:
    storage.put({"table=a/x": b"1", "table=b/y": b"2"}, "a-00")
    storage.put({"table=a/x": b"3"}, "a-00")
    assert storage.read("table=a/x") == b"3"
    assert sorted(storage.find()) == ["table=a/x", "table=b/y"]
    storage.delete(["table=a/x", "table=a/never"])
    assert storage.find() == ["table=b/y"]
    with pytest.raises(FileNotFoundError):
        storage.read("table=a/x")


def test_of_many_writers_of_one_name_one_wins(storage: Storage) -> None:
    with ThreadPoolExecutor(8) as pool:
        won = list(pool.map(lambda n: storage.create("_commits/a/1.json", str(n).encode(), "a"), range(8)))
    if isinstance(storage, LocalStorage):  # the store in memory is for tests: it looks, then writes
        assert won.count(True) == 1
        assert storage.read("_commits/a/1.json") == str(won.index(True)).encode()
    assert storage.create("_commits/a/1.json", b"late", "a") is False


def test_an_empty_or_missing_place_holds_nothing(storage: Storage) -> None:
    assert storage.find() == []
    assert storage.names("_commits") == []


def test_commits_and_temporary_files_are_no_data(storage: Storage) -> None:
    storage.create("_commits/a/1.json", b"{}", "a")
    storage.put({"table=a/x": b"1"}, "a")
    assert storage.find() == ["table=a/x"]
    assert storage.names("_commits/a") == ["1.json"]


def test_only_an_owners_interrupted_writes_are_cleared(tmp_path: Path) -> None:
    storage = LocalStorage(tmp_path)
    for owner in ("market-00", "market-01"):
        (tmp_path / "_tmp" / owner).mkdir(parents=True)
        (tmp_path / "_tmp" / owner / "half").write_bytes(b"half")
    storage.clear_interrupted("market-00")
    assert not list((tmp_path / "_tmp" / "market-00").iterdir())
    assert (tmp_path / "_tmp" / "market-01" / "half").exists()


def test_a_failed_write_leaves_neither_the_file_nor_its_beginning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(Retryable, match="is full"):
        LocalStorage(tmp_path).put({"table=a/x": b"1"}, "a")
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_without_hard_links_a_name_is_still_given_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def none(*paths: object) -> None:
        raise OSError(errno.ENOTSUP, os.strerror(errno.ENOTSUP))

    monkeypatch.setattr(os, "link", none)
    storage = LocalStorage(tmp_path)
    assert storage.create("_commits/a/1.json", b"first", "a") is True
    assert storage.create("_commits/a/1.json", b"second", "a") is False
    assert storage.read("_commits/a/1.json") == b"first"


@pytest.mark.parametrize(
    ("number", "kind"),
    [
        (errno.EACCES, Fatal),
        (errno.EROFS, Fatal),
        (errno.EDQUOT, Retryable),
        (errno.EIO, Retryable),
        (errno.ESTALE, Retryable),
    ],
)
def test_a_fault_says_what_to_do_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, kind: type[Exception]
) -> None:
    def fail(*args: object, **more: object) -> None:
        raise OSError(number, os.strerror(number))

    storage = RemoteStorage(f"memory:/{tmp_path}")
    monkeypatch.setattr(storage._fs, "pipe_file", fail)
    with pytest.raises(kind, match="nothing is lost"):
        storage.put({"x": b""}, "a")


def test_a_bucket_that_is_not_there_asks_for_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(*args: object, **more: object) -> None:
        raise FileNotFoundError("The specified bucket does not exist")

    storage = RemoteStorage(f"memory:/{tmp_path}")
    monkeypatch.setattr(storage._fs, "pipe_file", missing)
    for write in (lambda: storage.put({"x": b""}, "a"), lambda: storage.create("x", b"", "a")):
        with pytest.raises(Fatal, match="create the bucket"):
            write()


@pytest.mark.parametrize("url", ["nosuchstore://x", "gs://bucket/x"])
def test_a_url_without_a_driver_says_what_to_install(url: str) -> None:
    with pytest.raises(EnvironmentProblem, match="fsspec"):
        open_storage(url)


def test_a_file_url_and_a_home_directory_are_local(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    for url in (f"file://{tmp_path}/lake", "~/lake", tmp_path / "lake"):
        storage = open_storage(url)
        assert isinstance(storage, LocalStorage)
        assert storage.root == tmp_path / "lake"
