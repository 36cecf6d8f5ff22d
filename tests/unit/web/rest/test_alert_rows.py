import pyarrow as pa

from board_rows import bars, row
from marketpulse.model.rows import ALERT
from marketpulse.ports import AlertSpan, FeedBatch
from marketpulse.web.rest.alert_rows import RecentAlerts


def told(*events: tuple[int, int, str]) -> FeedBatch:
    """Alerts of AAA as (event time, revision, state)."""
    rows = [
        {
            "symbol": "AAA",
            "rule": "high",
            "event_time_ns": time,
            "revision": revision,
            "state": state,
            "severity": "info",
        }
        for time, revision, state in events
    ]
    return FeedBatch("alerts", pa.RecordBatch.from_pylist(rows, ALERT), 1)


def states(recent: RecentAlerts) -> list[tuple[int, str]]:
    return [(row["event_time_ns"], row["state"]) for row in recent.within(AlertSpan()).values()]


def test_the_highest_revision_stays_however_often_and_in_whichever_order_rows_come() -> None:
    recent = RecentAlerts()
    assert not recent.take(told((1, 1, "withdrawn"), (1, 0, "raised"), (2, 0, "raised"), (1, 1, "withdrawn")), 1)
    assert states(recent) == [(1, "withdrawn"), (2, "raised")]


def test_only_so_many_are_kept_the_newest() -> None:
    recent = RecentAlerts(most=2)
    recent.take(told((1, 0, "raised"), (2, 0, "raised")), 1)
    recent.take(told((1, 1, "cleared"), (3, 0, "raised")), 2)
    assert states(recent) == [(1, "cleared"), (3, "raised")]


def test_other_topics_are_none_of_its_business() -> None:
    recent = RecentAlerts()
    assert not recent.take(bars(row("AAA", "1m", 0, 1.0)), 1)
    assert states(recent) == []
