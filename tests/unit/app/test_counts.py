"""What a worker counts."""

import pyarrow as pa

from market_rows import Engine, batch_of, config_of, hello, trade
from marketpulse.app.counts import count_alerts, count_findings
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


def test_findings_are_counted_by_rule_severity_and_source() -> None:
    engine = Engine(config_of(["1m"], quality={"price_unit": "drop"}, quality_limits={"warm_trades": 1.0}))
    rows = [hello(mode="historical", lateness_ns=0)]
    rows += [trade("A", i, price, 1) for i, price in enumerate((100, 10_000, 100, 1, 130))]

    def found(rule: str, severity: str) -> float:
        labels = {"rule": rule, "severity": severity, "source": "feed"}
        return REGISTRY.get_sample_value("marketpulse_quality_found_total", labels) or 0.0

    before = found("price_unit", "drop"), found("price_band", "mark")
    result = engine.step(rows)
    count_findings(result, batch_of(rows, 0, engine.strings))
    assert (found("price_unit", "drop") - before[0], found("price_band", "mark") - before[1]) == (2, 1)
