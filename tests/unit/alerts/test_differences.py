"""What is told after a revision: what is no longer true, what came true, and nothing of the rest."""

from typing import Any

import numpy as np
import pytest

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


UP, DOWN = (2, 0, 1, RAISED, 5.0), (2, 0, 1, CLEARED, 5.0)


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        pytest.param([(1, 0, 1, RAISED, 5.0), (2, 0, 1, CLEARED, NULL)], [(1, 0, 1, RAISED, 5.0), (2, 0, 1, CLEARED, NULL)],
                     [], id="equal events tell nothing"),
        pytest.param([], [], [], id="no events tell nothing"),
        pytest.param([(1, 0, 1, RAISED, 5.0)], [], [(1, 0, 1, WITHDRAWN, RAISED, 0)], id="no longer true: withdrawn"),
        pytest.param([], [(1, 0, 1, RAISED, 5.0), (3, 0, 1, CLEARED, 4.0)],
                     [(1, 0, 1, RAISED, 0, 1), (3, 0, 1, CLEARED, 0, 1)], id="came true: late"),
        pytest.param([UP], [(1, 0, 1, RAISED, 5.0)], [(1, 0, 1, RAISED, 0, 1), (2, 0, 1, WITHDRAWN, RAISED, 0)],
                     id="a raise that moves is withdrawn and raised late"),
        pytest.param([UP], [DOWN], [(2, 0, 1, WITHDRAWN, RAISED, 0), (2, 0, 1, CLEARED, 0, 1)],
                     id="a raise that becomes a clear is withdrawn first"),
        pytest.param([DOWN], [UP], [(2, 0, 1, WITHDRAWN, CLEARED, 0), (2, 0, 1, RAISED, 0, 1)],
                     id="a clear that becomes a raise is withdrawn first"),
        pytest.param([UP], [(2, 0, 1, RAISED, 6.0)], [(2, 0, 1, RAISED, RAISED, 0)], id="another value alone"),
        pytest.param([(2, 0, 1, RAISED, 0.0)], [(2, 0, 1, RAISED, -0.0)], [(2, 0, 1, RAISED, RAISED, 0)],
                     id="the sign of zero is a bit too"),
        pytest.param([(5, 0, 2, RAISED, 1.0), (5, 1, 1, RAISED, 1.0), (7, 0, 1, RAISED, 1.0)],
                     [(4, 1, 9, RAISED, 1.0), (5, 0, 1, RAISED, 1.0), (5, 1, 1, RAISED, 1.0)],
                     [(4, 1, 9, RAISED, 0, 1), (5, 0, 1, RAISED, 0, 1), (5, 0, 2, WITHDRAWN, RAISED, 0),
                      (7, 0, 1, WITHDRAWN, RAISED, 0)], id="rules and symbols are told apart, in order of time"),
    ],
)  # fmt: skip
def test_what_differs_is_told_and_the_events_given_stay_as_they_are(old: Any, new: Any, expected: list[Any]) -> None:
    before, after = events(*old), events(*new)
    bits = before.tobytes(), after.tobytes()
    told, stands = differences(before, after)
    assert (before.tobytes(), after.tobytes()) == bits
    assert brief(told) == expected
    assert stands[["event_time_ns", "symbol", "rule", "state"]].tolist() == [row[:4] for row in new]
    np.testing.assert_array_equal(stands["value"], [row[4] for row in new])


def test_equal_events_stay_to_the_bit_and_what_is_withdrawn_keeps_its_value_alone() -> None:
    same = events((1, 0, 1, RAISED, 5.0), (2, 0, 1, CLEARED, NULL))
    assert differences(same, same)[1].tobytes() == same.tobytes()
    told, _ = differences(same[:1], no_events())
    assert (told["row"][0], told["open_ns"][0], told["value"][0]) == (-1, 0, 5.0)
    told, stands = differences(events(UP), events((2, 0, 1, RAISED, 6.0)))
    assert (told["value"].tolist(), stands["was"].tolist()) == ([6.0], [0])


def test_what_was_late_stays_late() -> None:
    told, stands = differences(no_events(), events(UP))
    assert brief(stands) == brief(told)
    told, stands = differences(stands, events((2, 0, 1, RAISED, 6.0)))
    assert brief(told) == [(2, 0, 1, RAISED, RAISED, 1)]
    told, stands = differences(stands, events((2, 0, 1, RAISED, 6.0)))
    assert (len(told), stands["late"].tolist()) == (0, [1])
