"""What a page begins with of the stored alerts."""

from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from marketpulse.model.rows import ALERT
from marketpulse.ports import SinkBatch
from marketpulse.query.duck import LakeQuery
from marketpulse.query.newest_alerts import newest_alerts
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


def test_a_page_begins_with_the_newest_and_with_what_stands(query: LakeQuery) -> None:
    rows = [row for batch in newest_alerts(query, 3) for row in batch.to_pylist()]
    assert [(row["event_time_ns"], row["symbol"]) for row in rows] == [
        (1, "A"), (2, "A"), (3, "B"), (5, "B's"), (27, "C"), (28, "C"), (29, "C"),
    ]  # fmt: skip


def test_an_empty_lake_has_none(tmp_path: Path) -> None:
    query = LakeQuery(Settings(data_dir=tmp_path))
    assert list(newest_alerts(query, 3)) == []
