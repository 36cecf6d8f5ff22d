"""A partition's commit log, from the writer's side."""

from pathlib import Path

import pytest

from marketpulse.errors import Fatal, Retryable
from marketpulse.model.commit_log import COMPLETE_EVERY, StoredFile
from marketpulse.sinks.commits import PartitionLog, read_state, read_states
from marketpulse.sinks.storage import LocalStorage


@pytest.fixture
def storage(tmp_path: Path) -> LocalStorage:
    return LocalStorage(tmp_path)


def claimed(storage: LocalStorage, topic: str = "market", partition: int = 3) -> PartitionLog:
    log = PartitionLog(storage, topic, partition)
    log.claim()
    return log


def data(n: int) -> StoredFile:
    path = f"table=trades/date=2024-05-01/market-03-{n:012d}-{n + 1:012d}.parquet"
    return StoredFile(path, "trades", "2024-05-01", n, n + 1, 1, 10)


def test_what_was_committed_is_read_by_everyone(storage: LocalStorage) -> None:
    log = claimed(storage)
    log.commit({"trades": 5}, [data(0)])
    log.commit({"trades": 9}, [data(5)], [data(0).path])
    state = read_states(storage)["market", 3]
    assert (state.next_offsets, list(state.files)) == ({"trades": 9}, [data(5).path])


def test_a_claim_moves_nothing(storage: LocalStorage) -> None:
    claimed(storage).commit({"trades": 5}, [data(0)])
    before = read_state(storage, "market-03")
    claimed(storage)
    after = read_state(storage, "market-03")
    assert (after.next_offsets, after.files) == (before.next_offsets, before.files)


def test_after_a_claim_the_earlier_owner_cannot_commit(storage: LocalStorage) -> None:
    first = claimed(storage)
    claimed(storage)
    with pytest.raises(Retryable, match="took market-03 over"):
        first.commit({"trades": 5}, [data(0)])
    assert read_state(storage, "market-03").files == {}


def test_an_owner_that_slept_through_a_hundred_commits_cannot_reuse_a_number(storage: LocalStorage) -> None:
    sleeper, worker = claimed(storage), claimed(storage)
    for n in range(4 * COMPLETE_EVERY):
        worker.commit({"trades": n + 1}, [data(n)])
    assert len(storage.names("_commits/market-03")) <= 2 * COMPLETE_EVERY + 2  # the oldest are gone
    with pytest.raises(Retryable, match="took market-03 over"):
        sleeper.commit({"trades": 1}, [data(0)])
    state = read_state(storage, "market-03")
    assert (state.next_offsets, len(state.files)) == ({"trades": 4 * COMPLETE_EVERY}, 4 * COMPLETE_EVERY)


def test_only_this_partitions_files_without_a_commit_are_left_over(storage: LocalStorage) -> None:
    log = claimed(storage)
    log.commit({"trades": 1}, [data(0)])
    others = ["table=trades/date=2024-05-01/market-04-000000000007-000000000008.parquet", "table=trades/mine.csv"]
    storage.put(dict.fromkeys((data(0).path, data(7).path, *others), b""), "market-03")
    again = claimed(storage)
    assert again.left_over(storage.find()) == [data(7).path]
    again.clean(storage.find())
    assert sorted(storage.find()) == sorted([data(0).path, *others])


def test_a_log_with_a_gap_is_not_read_as_less(storage: LocalStorage) -> None:
    log = claimed(storage)
    for n in range(4):
        log.commit({"trades": n + 1}, [data(n)])
    storage.delete(["_commits/market-03/000000000002.json"])
    with pytest.raises(Retryable, match="have gaps"):
        read_state(storage, "market-03")


def test_a_damaged_commit_is_fatal(storage: LocalStorage) -> None:
    claimed(storage)
    storage.put({"_commits/market-03/000000000000.json": b"{"}, "market-03")
    with pytest.raises(Fatal, match="damaged"):
        read_states(storage)


def test_an_answer_that_got_lost_on_the_way_is_still_our_commit(storage: LocalStorage) -> None:
    class Forgetful(LocalStorage):
        def create(self, path: str, data: bytes, owner: str) -> bool:
            super().create(path, data, owner)
            return False  # as after a PUT that was sent twice because its first answer was lost

    log = PartitionLog(Forgetful(storage.root), "market", 3)
    log.claim()
    log.commit({"trades": 5}, [data(0)])
    assert read_state(storage, "market-03").next_offsets == {"trades": 5}


def test_other_directories_among_the_commits_are_passed_over(storage: LocalStorage) -> None:
    storage.put({"_commits/notes/readme.txt": b""}, "x")
    claimed(storage)
    assert list(read_states(storage)) == [("market", 3)]
