import numpy as np

from marketpulse.sources.arrivals import Arrivals

S = 10**9


def test_nothing_is_promised_before_the_first_row() -> None:
    assert Arrivals().promise_ns(100 * S, 2 * S) is None


def test_the_promise_is_behind_by_the_lateness_and_by_how_late_rows_come() -> None:
    arrivals = Arrivals()
    arrivals.note(np.array([3 * S, 3 * S], np.int64), 0.0)
    assert arrivals.promise_ns(100 * S, 2 * S) == 95 * S
    arrivals.note(np.array([-S], np.int64), 1.0)
    assert arrivals.promise_ns(100 * S, 2 * S) == 95 * S, "the latest of the last minutes counts"


def test_a_row_from_the_future_promises_nothing_of_it() -> None:
    arrivals = Arrivals()
    arrivals.note(np.array([-5 * S], np.int64), 0.0)
    assert arrivals.promise_ns(100 * S, 2 * S) == 98 * S


def test_delays_are_forgotten_after_five_minutes_but_not_the_last_one() -> None:
    arrivals = Arrivals()
    arrivals.note(np.array([30 * S], np.int64), 0.0)
    arrivals.note(np.empty(0, np.int64), 400.0)
    assert arrivals.promise_ns(500 * S, 0) == 470 * S
    arrivals.note(np.array([S], np.int64), 401.0)
    assert arrivals.promise_ns(500 * S, 0) == 499 * S
