"""The key of a trade's id: exact up to 15 bytes, and a hash that tells long ones apart."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from marketpulse.engine.trade_ids import key_of


def key(name: bytes, before: bytes = b"") -> tuple[int, int]:
    high, low = key_of(np.frombuffer(before + name, np.uint8), len(before), len(name))
    return int(high), int(low)


@given(st.binary(min_size=1, max_size=15), st.binary(min_size=1, max_size=15))
def test_short_ids_have_the_same_key_only_when_they_are_the_same(left: bytes, right: bytes) -> None:
    assert (key(left) == key(right)) == (left == right)


def test_ids_that_end_in_zeros_and_a_hundred_thousand_long_ones_and_short_ones_all_differ() -> None:
    assert len({key(b"a"), key(b"a\0"), key(b"a\0\0")}) == 3
    names = [f"3f2504e0-4f89-11d3-9a0c-{number:012x}".encode() for number in range(100_000)]
    assert len({key(name) for name in names} | {key(name[:15]) for name in names[:1]}) == 100_001


@given(st.binary(min_size=1, max_size=40), st.binary(max_size=9))
def test_a_key_hangs_on_the_id_and_not_on_where_it_lies(name: bytes, before: bytes) -> None:
    assert key(name, before) == key(name)
