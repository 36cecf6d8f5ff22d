"""What a worker counts of the engine's steps: late, doubled and odd rows, and alerts."""

from collections import Counter
from collections.abc import Iterable

import pyarrow as pa

from marketpulse.engine.findings import RULE_NAMES
from marketpulse.engine.state import PartitionState, watermark_delays
from marketpulse.engine.step import StepResult
from marketpulse.model.market import MarketBatch
from marketpulse.model.quality import SEVERITIES
from marketpulse.telemetry import (
    ALERTS_CLEARED,
    ALERTS_RAISED,
    ALERTS_WITHDRAWN,
    CROSSED_QUOTES,
    DROPPED_QUOTES,
    DUPLICATE_TRADES,
    LATE_QUOTES,
    LATE_TRADES,
    OUT_OF_SESSION,
    QUALITY_FOUND,
    WATERMARK_DELAY_SECONDS,
)

_ALERTS = {"raised": ALERTS_RAISED, "cleared": ALERTS_CLEARED, "withdrawn": ALERTS_WITHDRAWN}


def count_rows(result: StepResult) -> None:
    """Trades and quotes that did not just enter their bars."""
    if result.late or result.out_of_session or result.duplicates:
        LATE_TRADES.inc(result.late)
        OUT_OF_SESSION.inc(result.out_of_session)
        DUPLICATE_TRADES.inc(result.duplicates)
    if any(counts := result.quotes):
        CROSSED_QUOTES.labels("crossed").inc(counts.crossed)
        CROSSED_QUOTES.labels("locked").inc(counts.locked)
        LATE_QUOTES.inc(counts.late)
        DROPPED_QUOTES.labels("too_late").inc(counts.too_late)
        DROPPED_QUOTES.labels("out_of_session").inc(counts.out_of_session)


def count_findings(result: StepResult, batch: MarketBatch) -> None:
    """What the rules of data quality found in the batch's rows, by rule, severity and source."""
    if not len(result.found):
        return
    sources = batch.source[result.found["row"]].tolist()
    rules, severities = result.found["rule"].tolist(), result.found["severity"].tolist()
    for (rule, severity, source), count in Counter(zip(rules, severities, sources, strict=True)).items():
        name = batch.strings[source] if source >= 0 else ""
        QUALITY_FOUND.labels(RULE_NAMES[rule], SEVERITIES[severity], name).inc(count)


def count_alerts(rows: pa.RecordBatch) -> None:
    """Rows of ALERT, but for those that tell another value and no other state."""
    columns = (rows.column(name).to_pylist() for name in ("state", "was", "severity"))
    for state, was, severity in zip(*columns, strict=True):
        if state != was:
            _ALERTS[state].labels(severity).inc()


def measure_watermarks(states: Iterable[PartitionState]) -> None:
    """Of each live source, in the partition where its watermark is furthest behind."""
    furthest: dict[str, int] = {}
    for state in states:
        for source, delay_ns in watermark_delays(state).items():
            furthest[source] = max(delay_ns, furthest.get(source, 0))
    WATERMARK_DELAY_SECONDS.clear()  # a source that has left has none
    for source, delay_ns in furthest.items():
        WATERMARK_DELAY_SECONDS.labels(source).set(delay_ns / 1e9)
