"""Reading a lake's commit logs."""

from pathlib import Path

import pytest

from marketpulse.errors import EnvironmentProblem, Fatal, Retryable
from marketpulse.model.commit_log import (
    COMMITS_DIRECTORY,
    COMPLETE_EVERY,
    PartitionState,
    StoredFile,
    commit_name,
    encode_commit,
)
from marketpulse.query.committed import CommittedFiles, open_committed


def data(name: str) -> StoredFile:
    return StoredFile(name, "trades", "2024-05-01", 0, 1, 1, 1)


class Writer:
    """Keeps one partition's log as a sink does."""

    def __init__(self, root: Path, name: str) -> None:
        self.directory = root / COMMITS_DIRECTORY / name
        self.directory.mkdir(parents=True)
        self.state = PartitionState()

    def commit(self, *added: str, removed: tuple[str, ...] = ()) -> None:
        commit = self.state.next_commit({"trades": 1}, [data(name) for name in added], removed, "me")
        self.state = self.state.after(commit)
        (self.directory / commit_name(commit.number)).write_bytes(encode_commit(commit))


def names(committed: CommittedFiles) -> list[str]:
    return [file.path for file in committed.read().get("trades", [])]


def test_a_lake_that_is_not_there_yet_has_no_files(tmp_path: Path) -> None:
    assert open_committed(tmp_path / "lake").read() == {}


def test_the_files_of_all_partitions_are_seen_and_each_read_sees_more(tmp_path: Path) -> None:
    committed, first, second = (
        open_committed(tmp_path),
        Writer(tmp_path, "market-00"),
        Writer(tmp_path, "market-01"),
    )
    first.commit("a")
    second.commit("b")
    assert names(committed) == ["a", "b"]
    first.commit("c", removed=("a",))
    assert sorted(names(committed)) == ["b", "c"]


def test_a_reader_that_was_away_while_the_log_was_restated_catches_up(tmp_path: Path) -> None:
    committed, writer = open_committed(tmp_path), Writer(tmp_path, "market-00")
    writer.commit("0")
    assert names(committed) == ["0"]
    for n in range(1, 3 * COMPLETE_EVERY):
        writer.commit(str(n), removed=(str(n - 1),))
    for number in range(2 * COMPLETE_EVERY):
        (writer.directory / commit_name(number)).unlink()
    assert names(committed) == names(open_committed(tmp_path)) == [str(3 * COMPLETE_EVERY - 1)]


def test_a_log_with_a_gap_asks_to_try_again(tmp_path: Path) -> None:
    writer = Writer(tmp_path, "market-00")
    for n in range(4):
        writer.commit(str(n))
    (writer.directory / commit_name(2)).unlink()
    with pytest.raises(Retryable, match="have gaps"):
        open_committed(tmp_path).read()


def test_a_damaged_commit_is_fatal(tmp_path: Path) -> None:
    writer = Writer(tmp_path, "market-00")
    writer.commit("a")
    (writer.directory / commit_name(0)).write_bytes(b"")
    with pytest.raises(Fatal, match="damaged"):
        open_committed(tmp_path).read()


@pytest.mark.parametrize(("fault", "kind"), [(PermissionError("no"), Fatal), (OSError("away"), Retryable)])
def test_a_fault_of_the_store_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: OSError, kind: type[Exception]
) -> None:
    committed = open_committed(f"memory:/{tmp_path}")

    def fail(*args: object, **more: object) -> None:
        raise fault

    monkeypatch.setattr(committed.fs, "ls", fail)
    with pytest.raises(kind, match=r"access|try again"):
        committed.read()


def test_a_store_without_a_driver_says_what_to_install() -> None:
    with pytest.raises(EnvironmentProblem, match="fsspec"):
        open_committed("nosuchstore://x")
