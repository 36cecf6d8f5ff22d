"""What a worker counts."""

import pyarrow as pa

from marketpulse.app.counts import count_alerts
from marketpulse.model.rows import ALERT
from marketpulse.telemetry import REGISTRY


def counted(name: str, severity: str) -> float:
    return REGISTRY.get_sample_value(f"marketpulse_alerts_{name}_total", {"severity": severity}) or 0.0


def test_alerts_are_counted_by_severity_but_not_where_only_the_value_is_another() -> None:
    names = [("raised", "info"), ("raised", "critical"), ("cleared", "info"), ("withdrawn", "info")]
    before = [counted(*name) for name in names]
    changes = [
        ("raised", None, "info"), ("raised", None, "critical"), ("raised", "raised", "critical"),
        ("cleared", None, "info"), ("withdrawn", "cleared", "info"), ("withdrawn", "raised", "info"),
    ]  # fmt: skip
    rows = [dict(zip(("state", "was", "severity"), change, strict=True)) for change in changes]
    count_alerts(pa.RecordBatch.from_pylist(rows, schema=ALERT))
    assert [counted(*name) - b for name, b in zip(names, before, strict=True)] == [1, 1, 1, 2]
