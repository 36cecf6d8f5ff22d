import random

import pytest
from hypothesis import given
from hypothesis.strategies import dictionaries, integers, text

from marketpulse.errors import Fatal
from marketpulse.kafka.source_position import POSITION_BYTES_MAX
from marketpulse.sources.rest.place import read_place, write_place

SYMBOL = text(alphabet=[chr(c) for c in range(33, 127)], min_size=1, max_size=32)


@given(until=dictionaries(SYMBOL, integers(1, 4_000_000_000).map(lambda s: s * 10**9), max_size=50))
def test_a_place_is_read_as_it_was_written(until: dict[str, int]) -> None:
    assert read_place(write_place(until)) == until


def test_the_most_symbols_fit_into_one_commit_even_when_each_stands_elsewhere() -> None:
    rng = random.Random(5)
    letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
    names = {"".join(rng.choices(letters, k=5)) for _ in range(1_000)}
    until = {name: (1_790_000_000 + rng.randrange(10_000) * 60) * 10**9 for name in sorted(names)[:400]}
    assert len(until) == 400
    assert len(write_place(until).encode()) <= POSITION_BYTES_MAX


def test_there_is_no_place_before_the_first_row() -> None:
    assert read_place(None) == {}


@pytest.mark.parametrize("other", ['{"files": "x"}', "1:", "1:zzzz", "2:abc", ""])
def test_another_sources_position_is_refused(other: str) -> None:
    with pytest.raises(Fatal, match="not one of a polled source"):
        read_place(other)
