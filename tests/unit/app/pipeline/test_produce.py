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


@pytest.mark.parametrize(("out", "rate"), [(io.StringIO(), 1_500), (Terminal(), 300)], ids=["pipe", "terminal"])
def test_a_sender_says_what_it_waits_for_after_a_second_and_how_far_it_is_seldom_on_a_pipe(
    out: io.StringIO, rate: int
) -> None:
    clock = ManualClock()
    report = Report("am", shown=True, out=out, clock=clock)
    report.waits_for("the broker")
    for quarter in range(1, 69):
        clock.sleep(0.25)
        report.turn()
        assert (quarter < 4) == (out.getvalue() == ""), "nothing for a second"
        if quarter == 48:
            report.waits_for(None)
            report.take(Polled(rejected=[RejectedInput("bad_price", "price is -1", "am.csv", 7, b"AAA,-1")]))
            report.sent, report.total = 1_500, 2_000
    engine_refused = Refused()
    for offset in range(4):
        engine_refused.take("too_late", "the bar has closed", f"market/0@{offset}", "{}")
    assert not summarise(report, Fates(SourceCount("", 1_500, 3, 2, 4, 9), 0, engine_refused))
    lines = out.getvalue().replace("\r\x1b[K", "\n" * out.isatty()).splitlines()
    waited = {f"am: waiting for the broker ({seconds} s)" for seconds in (1, 11)}
    assert {*waited, f"am: 1,500 of 2,000 rows sent, {rate:,} rows/s"} <= set(lines)
    assert len(lines) == 9 if not out.isatty() else len(lines) > 60
    assert lines[-6:] == [
        "am: 1,501 rows read, 1,500 sent; the engine has accepted 1,493, 2 came late and revised their bars; 3 duplicates, 5 dead letters",
        "  too_late 4: the bar has closed; such as market/0@0: {}",
        "  bad_price 1: price is -1; such as am.csv, row 7: AAA,-1",
        "  `marketpulse heal` brings trades that came too late into their bars",
        "  all of them: marketpulse tail dead-letters --from-beginning --no-follow",
        "  9 rows came behind the correction window: `marketpulse up` brings them in by itself within a minute",
    ]  # fmt: skip
