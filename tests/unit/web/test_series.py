import math
from array import array

import pytest

from marketpulse.web.series import BAR_COLUMNS, FORMING, Series

S = 10**9


def bar(open_s: float, close: float, revision: int = 0) -> "array[float]":
    return array("d", [open_s * 1e3, (open_s + 60) * 1e3, 1, 2, 0.5, close, 10, close, 3, revision])


def closed(series: Series, open_s: int, close: float, seq: int, revision: int = 0, history: int = 100) -> bool:
    return series.take_bar(open_s * S, bar(open_s, close, revision), 0, seq, history)


def forming(series: Series, open_s: int, close: float, seq: int, history: int = 100) -> bool:
    return series.take_forming(open_s * S, bar(open_s, close), array("d"), seq, history)


def shown(series: Series) -> list[tuple[float, float, float]]:
    return [(row[0] / 1e3, row[5], row[9]) for row in series.rows(0)]


def test_a_higher_revision_replaces_its_bar_and_a_lower_one_does_not() -> None:
    series = Series()
    closed(series, 0, 5.0, 1)
    assert closed(series, 0, 6.0, 2, revision=2)
    assert not closed(series, 0, 7.0, 3, revision=1)
    assert shown(series) == [(0, 6.0, 2)]


def test_a_row_that_is_known_already_changes_nothing() -> None:
    series = Series()
    closed(series, 0, 5.0, 1, revision=1)
    assert not closed(series, 0, 5.0, 2, revision=1)
    assert not series.rows_since(1, 0)


def test_a_bar_that_comes_between_older_ones_goes_there() -> None:
    series = Series()
    for seq, open_s in enumerate((0, 120, 180), start=1):
        closed(series, open_s, 1.0, seq)
    closed(series, 60, 2.0, 4)
    assert [row[0] for row in shown(series)] == [0, 60, 120, 180]
    assert [row[5] for row in series.rows_since(3, 0)] == [2.0]


def test_a_withdrawn_bar_goes_and_only_a_higher_revision_brings_it_back() -> None:
    series = Series()
    for seq, open_s in enumerate((0, 60, 120), start=1):
        closed(series, open_s, 1.0, seq)
    series.take_values(60 * S, 1, array("d", [9.0]), 0, 3, 100)
    assert closed(series, 60, math.nan, 4, revision=2)
    assert [row[0] for row in shown(series)] == [0, 120]
    assert series.whole_seq == 4
    assert not closed(series, 60, 1.0, 5), "the first row again"
    assert not series.take_values(60 * S, 0, array("d", [8.0]), 0, 5, 100)
    assert not forming(series, 60, 1.0, 5)
    assert closed(series, 60, 3.0, 6, revision=3)
    assert shown(series) == [(0, 1.0, 0), (60, 3.0, 3), (120, 1.0, 0)]


def test_withdrawn_bars_do_not_pile_up() -> None:
    series = Series()
    for i in range(100):
        closed(series, 60 * i, math.nan, i, revision=1, history=10)
    assert len(series) == 0
    assert len(series._withdrawn) <= 10


def test_a_forming_bar_whose_trades_were_all_cancelled_goes() -> None:
    series = Series()
    forming(series, 60, 5.0, 1)
    assert not forming(series, 60, math.nan, 2)
    assert shown(series) == []


def test_bars_stand_in_order_of_open_time_however_they_come() -> None:
    series = Series()
    for open_s in (120, 0, 60):
        closed(series, open_s, open_s, 1)
    assert [row[0] for row in shown(series)] == [0, 60, 120]


def test_a_forming_bar_turns_into_the_closed_one_in_its_place() -> None:
    series = Series()
    forming(series, 60, 5.0, 1)
    assert shown(series) == [(60, 5.0, FORMING)]
    closed(series, 60, 5.5, 2)
    assert shown(series) == [(60, 5.5, 0)]
    assert not forming(series, 60, 9.0, 3)
    assert shown(series) == [(60, 5.5, 0)]


def test_several_bars_may_be_open_at_once_while_late_trades_are_waited_for() -> None:
    series = Series()
    for seq, open_s in enumerate((60, 120, 180), start=1):
        forming(series, open_s, 1.0, seq)
    closed(series, 60, 2.0, 4)
    assert shown(series) == [(60, 2.0, 0), (120, 1.0, FORMING), (180, 1.0, FORMING)]


def test_a_forming_bar_that_was_overtaken_goes_and_readers_start_over() -> None:
    series = Series()
    forming(series, 60, 1.0, 1)
    closed(series, 120, 2.0, 5)
    assert shown(series) == [(120, 2.0, 0)]
    assert series.whole_seq == 5


def test_a_reader_gets_what_changed_after_it_looked() -> None:
    series = Series()
    for i in range(5):
        closed(series, 60 * i, i, seq=i + 1)
    closed(series, 60, 99.0, seq=9, revision=1)
    assert [row[5] for row in series.rows_since(4, 0)] == [99.0, 4.0]
    assert series.rows_since(9, 0) == []


def test_old_bars_go_and_only_who_had_not_seen_them_starts_over() -> None:
    series = Series()
    for i in range(10):
        closed(series, 60 * i, i, seq=i + 1, history=4)
    assert [row[5] for row in series.rows(0)] == [6, 7, 8, 9]
    assert series.whole_seq == 6  # the change of the newest bar that is gone
    assert not closed(series, 0, 1.0, seq=11, history=4), "a bar older than all that is kept"


@pytest.mark.parametrize("values_first", [True, False])
def test_indicator_values_find_their_bar_in_either_order(values_first: bool) -> None:
    series = Series()
    if values_first:
        series.take_values(60 * S, 0, array("d", [1.5]), 0, 1, 100)
        closed(series, 60, 5.0, 2)
    else:
        closed(series, 60, 5.0, 1)
        series.take_values(60 * S, 0, array("d", [1.5]), 0, 2, 100)
    assert series.rows_since(1, 1)[0][len(BAR_COLUMNS) :] == [1.5]


def test_a_forming_row_read_between_a_bars_values_and_the_bar_leaves_the_values() -> None:
    """Topics are read in no order between them: the bar has closed, although its own row is not here yet."""
    series = Series()
    forming(series, 60, 4.0, 1)
    series.take_values(60 * S, 0, array("d", [1.5]), 0, 2, 100)
    assert not forming(series, 60, 4.5, 3)
    closed(series, 60, 5.0, 4)
    assert series.rows(1)[0][5] == 5.0
    assert series.rows(1)[0][-1] == 1.5


def test_older_indicator_values_do_not_replace_newer_ones() -> None:
    series = Series()
    closed(series, 60, 5.0, 1)
    series.take_values(60 * S, 3, array("d", [3.0]), 0, 2, 100)
    assert not series.take_values(60 * S, 2, array("d", [2.0]), 0, 3, 100)
    assert series.rows(1)[0][-1] == 3.0


def test_a_row_without_values_is_padded() -> None:
    series = Series()
    closed(series, 60, 5.0, 1)
    assert [math.isnan(v) for v in series.rows(3)[0][len(BAR_COLUMNS) :]] == [True] * 3


def test_values_whose_bars_never_come_do_not_pile_up() -> None:
    series = Series()
    for i in range(1_000):
        series.take_values(60 * i * S, 0, array("d", [1.0]), 0, i, 10)
    assert len(series._values) <= 21


def test_tick_bars_that_open_together_are_all_kept_and_a_repeat_changes_nothing() -> None:
    series = Series(ticks=True)
    for tie, close in ((11, 1.0), (12, 2.0), (13, 3.0), (12, 2.0)):
        series.take_bar(60 * S, bar(60, close), tie, tie, 100)
        series.take_values(60 * S, 0, array("d", [close * 10]), tie, tie, 100)
    rows = series.rows(1)
    assert [(row[5], row[-1]) for row in rows] == [(1.0, 10.0), (2.0, 20.0), (3.0, 30.0)]
    assert [row[0] for row in rows] == pytest.approx([60_000, 60_000.001, 60_000.002], abs=3e-4)


def test_a_forming_tick_bar_turns_into_the_closed_one() -> None:
    series = Series(ticks=True)
    forming(series, 60, 1.0, 1)
    series.take_bar(60 * S, bar(60, 2.0), 77, 2, 100)
    assert shown(series) == [(60, 2.0, 0)]


def test_the_newest_closes_leave_forming_bars_out() -> None:
    series = Series()
    for i in range(4):
        closed(series, 60 * i, i, 1)
    forming(series, 300, 50.0, 2)
    assert series.closes(3) == [1, 2, 3]
    assert series.closes(60) == [0, 1, 2, 3]
