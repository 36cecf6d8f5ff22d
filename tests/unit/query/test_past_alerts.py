"""Stored alerts from the newest back, page by page, and what a page begins with."""

from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from marketpulse.model.rows import ALERT
from marketpulse.ports import PastAlerts, SinkBatch
from marketpulse.query.duck import LakeQuery
from marketpulse.query.past_alerts import newest_alerts, past_alerts
from marketpulse.settings import Settings
from marketpulse.sinks import open_sink


def alert(second: int, state: str, symbol: str = "A", rule: str = "high", **more: Any) -> dict[str, Any]:
    return {
        "symbol": symbol, "rule": rule, "severity": "warning", "timeframe": "1s", "open_time_ns": second - 1,
        "event_time_ns": second, "state": state, "was": None, "late": False, "value": 1.0, "message": "it's", "revision": 0,
    } | more  # fmt: skip


ROWS = [
    alert(1, "raised"),
    alert(2, "cleared"),
    alert(3, "raised", "B", "low", severity="critical"),
    alert(4, "raised"),
    alert(4, "withdrawn", revision=1, was="raised"),
    alert(5, "raised", "B's", "odd"),
    alert(5, "raised", "B's", "odd", revision=1, value=2.0, was="raised"),
    *(alert(10 + i, "raised" if i % 2 == 0 else "cleared", "C") for i in range(20)),
]


@pytest.fixture
def query(tmp_path: Path) -> LakeQuery:
    settings = Settings(data_dir=tmp_path)
    sink = open_sink(settings, "lake")
    sink.resume()
    sink.write(SinkBatch("alerts", "alerts", 0, 0, len(ROWS), pa.RecordBatch.from_pylist(ROWS, ALERT)))
    sink.flush()
    sink.close()
    return LakeQuery(settings)


def found(query: LakeQuery, limit: int = 100, **wanted: Any) -> list[tuple[int, str, str]]:
    rows = past_alerts(query, PastAlerts(limit, **wanted)).to_pylist()
    return [(row["event_time_ns"], row["symbol"], row["state"]) for row in rows]


def test_every_alert_stands_once_as_its_last_revision_says_newest_first(query: LakeQuery) -> None:
    rows = found(query)
    assert rows[-5:] == [(5, "B's", "raised"), (4, "A", "withdrawn"), (3, "B", "raised"), (2, "A", "cleared"), (1, "A", "raised")]  # fmt: skip
    assert [row[0] for row in rows[:20]] == list(range(29, 9, -1))
    assert past_alerts(query, PastAlerts(1, rules=("odd",))).to_pylist()[0]["value"] == 2.0


def test_page_by_page_nothing_is_missed_and_nothing_comes_twice(query: LakeQuery) -> None:
    pages: list[tuple[int, str, str]] = []
    before = None
    while rows := past_alerts(query, PastAlerts(4, before)).to_pylist():
        pages += [(row["event_time_ns"], row["symbol"], row["state"]) for row in rows]
        before = (rows[-1]["event_time_ns"], rows[-1]["symbol"], rows[-1]["rule"])
    assert pages == found(query)


def test_only_what_is_wanted_comes(query: LakeQuery) -> None:
    assert found(query, severities=("critical",)) == [(3, "B", "raised")]
    assert found(query, symbols=("A",), states=("withdrawn", "raised")) == [
        (4, "A", "withdrawn"),
        (1, "A", "raised"),
    ]
    assert found(query, symbols=("B's", "B"), rules=("odd",)) == [(5, "B's", "raised")]
    assert found(query, symbols=("nobody",)) == []


def test_a_page_begins_with_the_newest_and_with_what_stands(query: LakeQuery) -> None:
    rows = [row for batch in newest_alerts(query, 3) for row in batch.to_pylist()]
    assert [(row["event_time_ns"], row["symbol"]) for row in rows] == [
        (1, "A"), (2, "A"), (3, "B"), (5, "B's"), (27, "C"), (28, "C"), (29, "C"),
    ]  # fmt: skip


def test_an_empty_lake_has_none(tmp_path: Path) -> None:
    query = LakeQuery(Settings(data_dir=tmp_path))
    assert found(query) == []
    assert list(newest_alerts(query, 3)) == []
