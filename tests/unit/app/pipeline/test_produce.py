"""What a source that waits writes into the log, and how often; what a sender says while it works and at its end."""

import io

import pytest

from marketpulse.app.pipeline.produce import _Reminder
from marketpulse.app.pipeline.report import Fates, Refused, Report, summarise
from marketpulse.clock import ManualClock
from marketpulse.kafka.source_counts import SourceCount
from marketpulse.ports import Polled, RejectedInput


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


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("out", [io.StringIO(), Terminal()], ids=["pipe", "terminal"])
def test_a_sender_says_what_it_waits_for_after_a_second_and_how_far_it_is_seldom_on_a_pipe(out: io.StringIO) -> None:
    clock = ManualClock()
    report = Report("am", shown=True, out=out, clock=clock)

    def pass_s(seconds: float) -> None:
        for _ in range(round(4 * seconds)):
            clock.sleep(0.25)
            report.turn()

    report.waits_for("the broker")
    pass_s(0.75)
    assert out.getvalue() == ""
    pass_s(11.25)
    report.waits_for(None)
    report.take(Polled(rejected=[RejectedInput("bad_price", "price is -1", "am.csv", 7, b"AAA,-1")]))
    report.sent, report.total = 1_500, 2_000
    pass_s(5)
    assert not summarise(report, Fates(SourceCount("", 1_500, 3, 2, 4), 0, Refused(), 4))
    lines = out.getvalue().replace("\r\x1b[K", "\n" * out.isatty()).splitlines()
    first, second = "am: waiting for the broker (1 s)", "am: waiting for the broker (11 s)"
    progress = (
        "am: 1,500 of 2,000 rows sent, 1,500 rows/s" if not out.isatty() else "am: 1,500 of 2,000 rows sent, 300 rows/s"
    )
    assert [line for line in (first, second, progress) if line not in lines] == []
    assert len(lines) == 6 if not out.isatty() else len(lines) > 60
    assert lines[-3:] == [
        "am: 1,501 rows read, 1,500 sent; the engine has accepted 1,493, 2 came late and revised their bars; 3 duplicates, 1 dead letter",
        "  bad_price 1: price is -1; such as am.csv, row 7: AAA,-1",
        "  all of them: marketpulse tail dead-letters --from-beginning --no-follow",
    ]  # fmt: skip
