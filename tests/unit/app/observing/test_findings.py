"""What is wrong is said in words, the worst first."""

from typing import Any

import pytest

from marketpulse.app.observing.findings import Finding, find
from marketpulse.app.observing.picture import Look, Span, picture
from process_readings import look, reading

LOST: dict[str, Any] = {"stream_missing_trades__source_x__what_given up": 12}


def found(first: Look, last: Look, *, reachable: bool | None = True, lag: int | None = 0) -> list[Finding]:
    span = Span(first, last)
    return find(span, picture(span, span), broker_reachable=reachable, engine_lag=lag)


def test_nothing_is_said_when_nothing_is_wrong() -> None:
    well = look(0, reading("serve")), look(60, reading("serve"))
    assert found(*well) == []
    assert found(*well, reachable=None, lag=None) == []


@pytest.mark.parametrize(
    ("last", "words"),
    [
        (look(60, reading("serve", trouble="starting")), "serve does not do its work: starting"),
        (look(60, reading("up", child_restarts__child_serve=1)), "serve died and was started again once in the last minute"),
        (look(600, reading("up", child_restarts__child_serve=3)), "3 times in the last 10 minutes"),
        (look(60, reading("verify", parity_rows_checked=9, parity_drift_rows=2)), "2 stored rows are not what the log gives"),
        (look(60, reading("produce-x", source_errors__source_x=4)), "The source x failed 4 times"),
        (look(60, reading("produce-x", spool_rows__source_x=1_234, spool_age_seconds__source_x=70)), "1,234 rows of the source x wait on the disk for the broker, the oldest for 70 s"),
        (look(60, reading("process-0", watermark_delay_seconds__source_x=90)), "x is 90 s behind the log's time"),
        (look(60, reading("sink-lake", sink_errors__sink_lake=1)), "The store lake failed once"),
        (look(60, reading("sink-lake", sink_lag_records__sink_lake=60_000)), "lake has 60,000 records still to store"),
        (look(60, reading("produce-x", **LOST)), "did not bring 12 trades, and its far end cannot give them any more"),
        (look(60, free=2 * 10**9), "Only 2.0 GB are free"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named(last: Look, words: str) -> None:
    names = [(r.name, r.pid) for r in last.readings]
    (finding,) = found(look(0, *(reading(name, pid) for name, pid in names)), last)
    assert words in finding.what
    assert finding.do.endswith(".")


def test_dead_letters_are_told_with_their_most_frequent_reason() -> None:
    before, one = look(0, reading("process-0")), reading("process-0", dead_letters__reason_bad_price=2)
    (single,) = found(before, look(60, one))
    assert (
        single.what == "2 records were set aside in the last minute: a price is not above 0 and finite, or above 1e18."
    )
    both = reading("process-0", dead_letters__reason_bad_price=2, dead_letters__reason_not_json=5)
    (most,) = found(before, look(60, both))
    assert most.what.startswith(
        "7 records were set aside in the last minute, 5 of them since the value is not a JSON object"
    )


def test_the_worst_comes_first() -> None:
    last = look(60, reading("sink-lake", sink_errors__sink_lake=1), free=10**8)
    told = found(look(0, reading("sink-lake")), last, reachable=False, lag=90_000)
    assert [finding.severity for finding in told] == ["bad", "bad", "warn", "warn"]
    assert "Kafka" in told[0].what
