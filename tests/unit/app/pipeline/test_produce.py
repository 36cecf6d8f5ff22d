"""What a source that waits writes into the log, and how often."""

from marketpulse.app.pipeline.produce import _Reminder
from marketpulse.clock import ManualClock


def test_a_reason_is_logged_when_it_is_new_and_then_at_growing_intervals() -> None:
    clock = ManualClock()
    reminder = _Reminder(clock)
    logged: list[int] = []
    for second in range(2_000):
        if reminder.is_due("no topic"):
            logged.append(second)
        clock.sleep(1)
    assert logged == [0, 5, 15, 35, 75, 155, 315, 635, 1235, 1835]  # 5, 10, 20 … 600 seconds between them
    assert reminder.is_due("the broker is away")
    assert not reminder.is_due("the broker is away")
