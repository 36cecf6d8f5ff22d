"""The part `alerts`: what changed, what stands, and no more than fits."""

import pyarrow as pa

from alert_desk import alert
from board_rows import bars, row
from marketpulse.model.rows import ALERT
from marketpulse.ports import FeedBatch
from marketpulse.web.alerts_feed import WHOLE, AlertsFeed


def batch(*rows: dict[str, object]) -> FeedBatch:
    return FeedBatch("alerts", pa.RecordBatch.from_pylist(list(rows), ALERT), 1_000)


def test_a_row_is_told_once_and_whole_to_who_has_nothing() -> None:
    feed = AlertsFeed()
    assert feed.changes(-1) == [WHOLE]
    assert feed.take(batch(alert(10, "raised")), 1)
    assert feed.take(batch(alert(12, "cleared", value=None)), 2)
    raised = [
        "A", "high", "10000000000", "warning", "1s", 9000.0, "raised", None, False, 1.5, "A: high is raised at 1.5", 0, 0, 10,
    ]  # fmt: skip
    (second,) = feed.changes(1) or []
    assert feed.changes(0) == [raised, second]
    assert (second[6], second[9]) == ("cleared", None)
    assert feed.changes(2) is None
    assert feed.changes(-1) == [WHOLE, raised, second]


def test_what_came_already_changes_nothing_and_a_revision_takes_its_place() -> None:
    feed = AlertsFeed()
    feed.take(batch(alert(10, "raised"), alert(11, "raised", "B")), 1)
    assert not feed.take(batch(alert(10, "raised")), 2)
    assert feed.take(batch(alert(10, "withdrawn", revision=1, was="raised")), 3)
    assert not feed.take(batch(alert(10, "raised")), 4)
    assert [(r[0], r[6], r[11]) for r in feed.changes(2) or []] == [("A", "withdrawn", 1)]
    assert [(r[0], r[6]) for r in (feed.changes(-1) or [])[1:]] == [("B", "raised"), ("A", "withdrawn")]


def test_rows_of_other_topics_are_not_its_own() -> None:
    feed = AlertsFeed()
    assert not feed.take(bars(row("A", "1m", 0, 1.0)), 1)
    assert feed.changes(0) is None


def test_the_oldest_go_but_never_what_tells_that_something_stands() -> None:
    feed = AlertsFeed(kept=10)
    feed.take(batch(alert(1, "raised", "OLD"), alert(2, "raised", "GONE"), alert(3, "cleared", "GONE")), 1)
    for i in range(60):
        feed.take(batch(alert(10 + i, "raised" if i % 2 == 0 else "cleared", "BUSY")), 2 + i)
    rows = [(r[0], r[6]) for r in (feed.changes(-1) or [])[1:]]
    assert ("OLD", "raised") in rows
    assert ("GONE", "cleared") in rows
    assert len(rows) <= 10 * 1.25 + 4
    assert sum(symbol == "BUSY" for symbol, _ in rows) >= 10


def test_a_row_without_a_receipt_names_no_place() -> None:
    feed = AlertsFeed()
    feed.take(batch(alert(10, "raised", receipt=None)), 1)
    assert (feed.changes(0) or [])[0][12:] == [None, None]
