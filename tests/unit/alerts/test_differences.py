"""What is told after a revision: what is no longer true, what came true, and nothing of the rest."""

import numpy as np

from marketpulse.alerts.differences import differences
from marketpulse.alerts.events import CLEARED, EVENT, RAISED, WITHDRAWN, no_events

NULL = float("nan")


def events(*rows: tuple[int, int, int, int, float]) -> np.ndarray:
    """EVENT rows of (time, symbol, rule, state, value)."""
    made = np.zeros(len(rows), EVENT)
    for i, (time, symbol, rule, state, value) in enumerate(rows):
        made[i] = (symbol, rule, i, time - 1, time, state, 0, 0, value)
    return made


def brief(rows: np.ndarray) -> list[tuple[int, ...]]:
    """(time, symbol, rule, state, was, late) of each."""
    names = ["event_time_ns", "symbol", "rule", "state", "was", "late"]
    return [tuple(int(row[name]) for name in names) for row in rows]


def test_equal_events_tell_nothing() -> None:
    same = events((1, 0, 1, RAISED, 5.0), (2, 0, 1, CLEARED, NULL))
    told, known = differences(same, same)
    assert len(told) == 0
    assert known.tobytes() == same.tobytes()


def test_what_is_no_longer_true_is_withdrawn() -> None:
    told, known = differences(events((1, 0, 1, RAISED, 5.0)), no_events())
    assert brief(told) == [(1, 0, 1, WITHDRAWN, RAISED, 0)]
    assert (told["row"][0], told["open_ns"][0], told["value"][0]) == (-1, 0, 5.0)
    assert len(known) == 0


def test_what_came_true_is_late() -> None:
    told, known = differences(no_events(), events((1, 0, 1, RAISED, 5.0), (3, 0, 1, CLEARED, 4.0)))
    assert brief(told) == [(1, 0, 1, RAISED, 0, 1), (3, 0, 1, CLEARED, 0, 1)]
    assert brief(known) == brief(told)


def test_a_raise_that_moves_is_withdrawn_and_raised_late() -> None:
    told, _ = differences(events((2, 0, 1, RAISED, 5.0)), events((1, 0, 1, RAISED, 5.0)))
    assert brief(told) == [(1, 0, 1, RAISED, 0, 1), (2, 0, 1, WITHDRAWN, RAISED, 0)]


def test_a_raise_that_becomes_a_clear_is_withdrawn_first() -> None:
    told, _ = differences(events((2, 0, 1, RAISED, 5.0)), events((2, 0, 1, CLEARED, 5.0)))
    assert brief(told) == [(2, 0, 1, WITHDRAWN, RAISED, 0), (2, 0, 1, CLEARED, 0, 1)]
    told, _ = differences(events((2, 0, 1, CLEARED, 5.0)), events((2, 0, 1, RAISED, 5.0)))
    assert brief(told) == [(2, 0, 1, WITHDRAWN, CLEARED, 0), (2, 0, 1, RAISED, 0, 1)]


def test_another_value_alone_is_told_as_such() -> None:
    told, known = differences(events((2, 0, 1, RAISED, 5.0)), events((2, 0, 1, RAISED, 6.0)))
    assert brief(told) == [(2, 0, 1, RAISED, RAISED, 0)]
    assert told["value"].tolist() == known["value"].tolist() == [6.0]
    assert known["was"].tolist() == [0]


def test_the_sign_of_zero_is_a_bit_too() -> None:
    told, _ = differences(events((2, 0, 1, RAISED, 0.0)), events((2, 0, 1, RAISED, -0.0)))
    assert brief(told) == [(2, 0, 1, RAISED, RAISED, 0)]


def test_what_was_late_stays_late() -> None:
    _, known = differences(no_events(), events((2, 0, 1, RAISED, 5.0)))
    told, known = differences(known, events((2, 0, 1, RAISED, 6.0)))
    assert brief(told) == [(2, 0, 1, RAISED, RAISED, 1)]
    told, known = differences(known, events((2, 0, 1, RAISED, 6.0)))
    assert (len(told), known["late"].tolist()) == (0, [1])


def test_rules_and_symbols_are_told_apart_and_told_in_order_of_time() -> None:
    old = events((5, 0, 2, RAISED, 1.0), (5, 1, 1, RAISED, 1.0), (7, 0, 1, RAISED, 1.0))
    new = events((4, 1, 9, RAISED, 1.0), (5, 0, 1, RAISED, 1.0), (5, 1, 1, RAISED, 1.0))
    told, _ = differences(old, new)
    assert brief(told) == [
        (4, 1, 9, RAISED, 0, 1),
        (5, 0, 1, RAISED, 0, 1),
        (5, 0, 2, WITHDRAWN, RAISED, 0),
        (7, 0, 1, WITHDRAWN, RAISED, 0),
    ]


def test_the_events_given_stay_as_they_are() -> None:
    old, new = events((1, 0, 1, RAISED, 5.0)), events((2, 0, 1, RAISED, 5.0))
    before = old.tobytes(), new.tobytes()
    differences(old, new)
    assert (old.tobytes(), new.tobytes()) == before
    assert len(differences(no_events(), no_events()).told) == 0
