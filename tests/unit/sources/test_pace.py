"""Which rows are due at which speed, on a clock that stands still until it is told."""

import numpy as np
import pytest

from marketpulse.clock import ManualClock
from marketpulse.errors import SettingsError
from marketpulse.sources.pace import LONGEST_WAIT_S, ROWS_MAX, Pacer, Speed

SECOND = 10**9
TIMES = np.array([0, 1, 2, 60, 3_600], np.int64) * SECOND + 1_600_000_000 * SECOND


@pytest.mark.parametrize(
    ("text", "speed"),
    [
        ("recorded", Speed(factor=1.0)),
        ("20x", Speed(factor=20.0)),
        ("0.5x", Speed(factor=0.5)),
        ("500/s", Speed(rate=500.0)),
        (" MAX ", Speed()),
    ],
)
def test_a_speed_is_a_word_a_factor_or_a_rate(text: str, speed: Speed) -> None:
    assert Speed.parse(text) == speed


@pytest.mark.parametrize("text", ["fast", "0x", "-1/s", "20", ""])
def test_another_speed_is_refused_with_the_ones_there_are(text: str) -> None:
    with pytest.raises(SettingsError, match="500/s"):
        Speed.parse(text)


def due_after(speed: str, seconds: float, row: int = 0) -> int:
    clock = ManualClock(5 * SECOND)
    pacer = Pacer(Speed.parse(speed), clock)
    pacer.begin(TIMES, row)
    clock.sleep(seconds)
    return pacer.due(TIMES, row)


def test_recorded_is_as_recorded() -> None:
    assert [due_after("recorded", s) for s in (0, 0.9, 1, 2.5, 59, 60, 3_599, 3_600)] == [1, 1, 2, 3, 3, 4, 4, 5]


def test_a_factor_is_that_much_faster() -> None:
    assert [due_after("60x", s) for s in (0, 0.9, 1.0, 60.0)] == [1, 3, 4, 5]


def test_a_rate_counts_rows_and_looks_at_no_time() -> None:
    assert [due_after("2/s", s) for s in (0, 0.4, 0.5, 1.0, 100)] == [1, 1, 2, 3, 5]


def test_max_gives_what_one_poll_may_carry() -> None:
    assert due_after("max", 0) == 5
    many = np.zeros(3 * ROWS_MAX, np.int64)
    pacer = Pacer(Speed.parse("max"), ManualClock())
    assert pacer.due(many, 7) == 7 + ROWS_MAX


def test_a_replay_that_resumes_goes_on_from_its_row() -> None:
    assert due_after("recorded", 0, row=3) == 4
    assert due_after("2/s", 0.5, row=3) == 5


def test_waiting_is_until_the_next_row() -> None:
    clock = ManualClock()
    pacer = Pacer(Speed.parse("recorded"), clock)
    pacer.begin(TIMES, 2)
    assert pacer.wait_s(TIMES, 3) == pytest.approx(58)
    assert pacer.wait_s(TIMES, 2) == 0


def test_a_faster_replay_cuts_closed_hours_short() -> None:
    clock = ManualClock()
    pacer = Pacer(Speed.parse("2x"), clock)
    pacer.begin(TIMES, 3)
    assert pacer.wait_s(TIMES, 4) == LONGEST_WAIT_S  # 3,540 s of market would be 1,770 s
    clock.sleep(LONGEST_WAIT_S)
    assert pacer.due(TIMES, 4) == 5
