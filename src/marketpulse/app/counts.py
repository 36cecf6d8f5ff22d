"""What a worker counts of the engine's steps: late, doubled and odd rows, and alerts."""

from collections import Counter
from collections.abc import Iterable
from itertools import pairwise

import numpy as np
import pyarrow as pa

from marketpulse.engine.announcements import is_history
from marketpulse.engine.findings import RULE_NAMES
from marketpulse.engine.state import PartitionState, kept_trades, watermark_delays
from marketpulse.engine.step import StepResult
from marketpulse.kafka.source_counts import SHARED, Fate, SourceCounts
from marketpulse.model.late import position_keys
from marketpulse.model.market import OF_ENGINE, WITHOUT_SYMBOL, Ints, Kind, MarketBatch
from marketpulse.model.quality import SEVERITIES
from marketpulse.telemetry import (
    ALERTS_CLEARED,
    ALERTS_RAISED,
    ALERTS_WITHDRAWN,
    CROSSED_QUOTES,
    DROPPED_QUOTES,
    DUPLICATE_TRADES,
    HISTORIES_ENDED,
    LATE_QUOTES,
    LATE_TRADES,
    OUT_OF_SESSION,
    QUALITY_FOUND,
    SOURCE_ROWS,
    WATERMARK_DELAY_SECONDS,
)

_OF_SOURCES = np.array([k not in WITHOUT_SYMBOL | OF_ENGINE for k in Kind])
"""By kind: whether such a row is one that a source has sent."""

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


def count_sources(
    counts: SourceCounts, state: PartitionState, batch: MarketBatch, first: int, result: StepResult
) -> None:
    """What a step did with each source's rows, from row `first` of the batch on; `state` is the one behind it."""
    last = result.next_row
    sent = first + np.flatnonzero(_OF_SOURCES[batch.kind[first:last]])
    refused = np.unique(np.array([refusal.row for refusal in result.refused], np.int64))
    behind: Ints = result.behind["row"]
    fates: dict[Fate, Ints] = {"rows": sent, "refused": refused[_OF_SOURCES[batch.kind[refused]]], "behind": behind}
    if result.duplicates or result.late:
        set_aside = np.concatenate([refused, behind])
        fates["duplicates"], fates["late"] = _repeated_and_late(state, batch, sent, set_aside, result)
    hellos = (first + np.flatnonzero(batch.kind[first:last] == Kind.HELLO)).tolist()
    for begin, end in pairwise([first, *hellos, last]):
        if begin in hellos:  # a source's process begins here: its counts do
            counts.begin(batch.strings[batch.source[begin]], str(batch.rare[begin].get("sender", "")))
        for fate, rows in fates.items():
            some = rows[np.searchsorted(rows, begin) : np.searchsorted(rows, end)]
            for source, count in _by_source(batch, some).items():
                _add(counts, source, fate, count)
    for row in (first + np.flatnonzero(batch.kind[first:last] == Kind.GOODBYE)).tolist():
        if is_history(state, batch.strings[batch.source[row]]):
            HISTORIES_ENDED.inc()
    named = _by_source(batch, sent)
    for fate, count in (("duplicates", result.duplicates), ("late", result.late - _too_late(batch, result))):
        if fate in fates and (rest := count - len(fates[fate])) > 0:  # of bars, and of trades that have left the window
            _add(counts, next(iter(named)) if len(named) == 1 else SHARED, fate, rest)


def _add(counts: SourceCounts, source: str, fate: Fate, count: int) -> None:
    counts.add(source, fate, count)
    SOURCE_ROWS.labels(source, fate).inc(count)


def _by_source(batch: MarketBatch, rows: Ints) -> dict[str, int]:
    ids = batch.source[rows]
    counted = np.bincount(ids[ids >= 0])
    return {batch.strings[source]: int(counted[source]) for source in np.flatnonzero(counted).tolist()}


def _too_late(batch: MarketBatch, result: StepResult) -> int:
    behind = int(np.count_nonzero(batch.kind[result.behind["row"]] == Kind.TRADE))
    return behind + sum(refusal.reason == "too_late" for refusal in result.refused)


def _repeated_and_late(
    state: PartitionState, batch: MarketBatch, sent: Ints, set_aside: Ints, result: StepResult
) -> tuple[Ints, Ints]:
    """The trades of a step that were dropped as duplicates, and those whose bar had closed: what was neither kept nor
    refused was one that had come before. The first is empty where that does not come to the step's own count."""
    trades = sent[batch.kind[sent] == Kind.TRADE]
    keys = position_keys(batch.offset[trades], batch.row[trades])
    newest = kept_trades(state)[-len(trades) :] if len(trades) else kept_trades(state)[:0]
    kept = position_keys(newest["offset"], newest["row"])
    is_kept, is_late = (
        np.isin(keys, kept),
        np.isin(keys, kept[(newest["late_frames"] != 0) & (newest["changed_offset"] < 0)]),
    )
    with_id = batch.trade_id_length[trades] > 0
    repeated = np.setdiff1d(trades[~is_kept & with_id], set_aside)
    return repeated if len(repeated) == result.duplicates else repeated[:0], trades[is_late]


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
