"""Trade ids that count: in whatever order they come, each is new once, and what is missing is known."""

import json

from hypothesis import given
from hypothesis import strategies as st

from marketpulse.sources.streaming.continuity import GRACE_NS, JUMP_MAX, Came, Series

S = 10**9


def test_a_gap_is_declared_after_a_while_and_healed_by_its_last_id() -> None:
    series = Series()
    assert series.take(10, 5 * S, 100 * S) is Came.NEW
    assert series.take(14, 6 * S, 101 * S) is Came.NEW
    assert series.settle(101 * S) == ([], [])
    declared, healed = series.settle(101 * S + GRACE_NS)
    assert [(g.first, g.last, g.left(), g.from_ns, g.to_ns) for g in declared] == [(11, 13, 3, 5 * S, 6 * S)]
    assert healed == []
    assert [series.take(n, 5 * S, 103 * S) for n in (12, 13, 12, 11)] == [Came.NEW, Came.NEW, Came.AGAIN, Came.NEW]
    assert [g.first for g in series.settle(103 * S)[1]] == [11]
    assert series.gaps == []


def test_order_that_is_restored_at_once_is_no_gap() -> None:
    series = Series()
    for number in (1, 3, 2, 5, 4):
        assert series.take(number, S, S) is Came.NEW
    assert series.settle(100 * S) == ([], [])


def test_the_vendor_s_newest_id_shows_what_was_lost_before_a_silence() -> None:
    series = Series()
    series.take(7, S, S)
    series.claim(9, 2 * S)
    assert series.settle(2 * S) == ([], [])
    series.settle(2 * S + GRACE_NS)
    declared, _ = series.settle(2 * S + GRACE_NS)
    assert [(g.first, g.last) for g in (declared or series.gaps)] == [(8, 9)]
    assert series.take(9, S, 4 * S) is Came.NEW


def test_one_spoilt_id_moves_nothing_and_ids_that_begin_anew_are_followed() -> None:
    series = Series()
    series.take(100, S, S)
    assert series.take(100 + 2 * JUMP_MAX, S, S) is Came.STRANGE
    assert series.take(101, S, S) is Came.NEW
    assert series.take(5 * JUMP_MAX, S, S) is Came.STRANGE
    assert series.take(5 * JUMP_MAX + 1, S, S) is Came.NEW
    assert series.gaps == []


@given(st.lists(st.integers(0, 60), max_size=120), st.lists(st.integers(0, 119), max_size=5))
def test_each_id_is_new_once_however_they_come_and_whenever_it_is_restored(ids: list[int], cuts: list[int]) -> None:
    series = Series()
    new: list[int] = []
    for i, number in enumerate(ids):
        if i in cuts and series.last is not None and series.begins == min(new):
            series.settle(i * S)
            kept = json.loads(json.dumps(series.kept()))
            begins, series = series.begins, Series.restored(kept)
            series.begins = begins
        if series.take(number, S, i * S) is Came.NEW:
            new.append(number)
        series.settle(i * S)
    assert sorted(new) == sorted(set(ids))
    missing = {n for gap in series.gaps for a, b in gap.missing for n in range(a, b + 1)}
    assert missing == (set(range(min(ids), max(ids) + 1)) - set(ids) if ids else set())
