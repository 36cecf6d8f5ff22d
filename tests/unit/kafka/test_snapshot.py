"""Keys of snapshots: those of a load are never compacted away by later ones."""

import pytest

from marketpulse.kafka.snapshot import chunk_of, chunks_of, load_of


@pytest.mark.parametrize("load", [None, "file:a.csv@1.2"])
def test_a_chunk_says_whose_it_is(load: str | None) -> None:
    chunks = chunks_of("g", 3, 7, b"x" * 2_000_000, load)
    assert [load_of(key, "g", 3) for key, _ in chunks] == [load or ""] * 3
    assert {load_of(key, "g", 30) for key, _ in chunks} == {None}
    assert b"".join(chunk_of(value).content for _, value in chunks) == b"x" * 2_000_000


def test_a_later_snapshot_takes_no_place_of_a_loads() -> None:
    later, end = chunks_of("g", 0, 9, b"later"), chunks_of("g", 0, 7, b"end", "file:a@1.2")
    assert {key for key, _ in later}.isdisjoint(key for key, _ in end)
