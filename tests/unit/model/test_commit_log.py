"""The format of a store's commit log."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from marketpulse.errors import Fatal
from marketpulse.model.commit_log import (
    COMPLETE_EVERY,
    Commit,
    PartitionState,
    StoredFile,
    commit_name,
    commit_numbers,
    decode_commit,
    encode_commit,
    parse_partition_name,
    partition_name,
    wanted,
)


def stored(path: str, *columns: str) -> StoredFile:
    return StoredFile(path, "indicators", "2024-05-01", 0, 10, 7, 1_000, columns)


def test_a_commit_reads_back_as_it_was_written() -> None:
    commit = Commit(7, {"trades": 10}, (stored("a"), stored("b", "sma_20", "rsi_14")), ("c",), "me")
    assert decode_commit(encode_commit(commit), "here") == commit


def test_a_file_says_how_many_of_its_rows_are_revised_and_one_of_before_has_none() -> None:
    file = StoredFile("a", "bars", "2024-05-01", 0, 10, 7, 1_000, revised=3)
    data = encode_commit(Commit(7, {"bars": 10}, (file, stored("b")), (), "me"))
    assert [found.revised for found in decode_commit(data, "here").added] == [3, 0]
    assert data.count(b"revised") == 1


def test_a_commit_is_json_that_other_programs_can_read() -> None:
    body = json.loads(encode_commit(Commit(7, {"trades": 10}, (stored("a"),), ("c",), "me")))
    assert body == {
        "version": 1, "number": 7, "next_offsets": {"trades": 10}, "removed": ["c"], "writer": "me",
        "added": [{
            "path": "a", "table": "indicators", "period": "2024-05-01", "first_offset": 0, "next_offset": 10,
            "rows": 7, "size_bytes": 1000,
        }],
    }  # fmt: skip


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b"{}", b'{"version": 1}', b'{"version": 1, "added": [{}]}'])
def test_a_damaged_commit_is_fatal_and_names_its_place(data: bytes) -> None:
    with pytest.raises(Fatal, match=r"_commits/market-03/000000000007\.json is damaged.*restore"):
        decode_commit(data, "_commits/market-03/000000000007.json")


def test_a_commit_of_a_later_version_asks_for_an_upgrade() -> None:
    with pytest.raises(Fatal, match=r"version 2.*upgrade"):
        decode_commit(b'{"version": 2}', "x")


def test_partition_names_go_there_and_back() -> None:
    assert partition_name("dead-letters", 3) == "dead-letters-03"
    assert parse_partition_name("dev.dead-letters-03") == ("dev.dead-letters", 3)
    assert parse_partition_name(partition_name("market", 117)) == ("market", 117)


def test_only_commits_are_counted_in_a_directory() -> None:
    names = [commit_name(10), commit_name(9), "readme.txt", "x.json", ".hidden"]
    assert commit_numbers(names) == [9, 10]


def test_reading_begins_at_the_last_complete_commit() -> None:
    assert list(wanted([])) == []
    assert list(wanted([0, 1, 2])) == [0, 1, 2]
    numbers = list(range(COMPLETE_EVERY + 3))
    assert list(wanted(numbers)) == [COMPLETE_EVERY, COMPLETE_EVERY + 1, COMPLETE_EVERY + 2]


@given(steps=st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=3 * COMPLETE_EVERY))
def test_reading_from_the_last_complete_commit_gives_what_reading_all_gives(steps: list[tuple[int, int]]) -> None:
    state, commits = PartitionState(), []
    visible: set[str] = set()  # kept by hand
    for number, (add, remove) in enumerate(steps):
        gone = sorted(visible)[:remove]
        new = [stored(f"{number}-{i}") for i in range(add)]
        commit = state.next_commit({"trades": number}, new, gone, "me")
        commits.append(commit)
        state = state.after(commit)
        visible = visible - set(gone) | {file.path for file in new}
        assert set(state.files) == visible
    read = PartitionState()
    for number in wanted(list(range(len(commits)))):
        read = read.after(decode_commit(encode_commit(commits[number]), "x"))
    assert read == state
