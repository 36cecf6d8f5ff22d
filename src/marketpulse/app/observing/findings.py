"""What is wrong with the pipeline, in words, the worst first. Pure."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

from marketpulse.app.observing.picture import Span, labelled
from marketpulse.model.market import REASONS

_LAG_RECORDS = 50_000
_WATERMARK_MS = 60_000
_DISK_BAD_BYTES, _DISK_LOW_BYTES = 500_000_000, 5_000_000_000

Severity = Literal["bad", "warn"]


@dataclass(frozen=True, slots=True)
class Finding:
    """`what` is wrong, and what to `do` about it."""

    severity: Severity
    what: str
    do: str


def find(span: Span, drawn: dict[str, Any], *, broker_reachable: bool | None, engine_lag: int | None) -> list[Finding]:
    """`drawn`: the picture as it stands; `span`: a longer stretch, of which faults are told."""
    found = [
        *_log(broker_reachable, engine_lag),
        *_processes(span, drawn),
        *_parity(drawn),
        *_sources(span, drawn),
        *_failover(span),
        *_sinks(span, drawn),
        *_dead_letters(span),
        *_disk(drawn),
    ]
    return sorted(found, key=lambda finding: finding.severity != "bad")


def _log(reachable: bool | None, lag: int | None) -> Iterator[Finding]:
    if reachable is False:
        yield Finding(
            "bad",
            "The log (Kafka) does not answer.",
            "Everything goes on by itself when it is back; look at the broker's log.",
        )
    if lag is not None and lag > _LAG_RECORDS:
        yield Finding(
            "warn",
            f"The engine has {lag:,} records of the log still to go through.",
            "Wait while it catches up, or start more workers: process.workers.",
        )


def _processes(span: Span, drawn: dict[str, Any]) -> Iterator[Finding]:
    for process in drawn["processes"]:
        if process["trouble"]:
            yield Finding(
                "bad",
                f"The process {process['name']} does not do its work: {process['trouble']}.",
                "Its log in the data directory's `logs` says why.",
            )
    for child, times in labelled(span.counts("child_restarts"), "child").items():
        yield Finding(
            "warn",
            f"The process {child} died and was started again {_times(times)} in {_stretch(span)}.",
            "Its log in the data directory's `logs` says why.",
        )


def _parity(drawn: dict[str, Any]) -> Iterator[Finding]:
    parity = drawn["parity"]
    if parity and parity["drift_rows"]:
        yield Finding(
            "bad",
            f"{parity['drift_rows']:,.0f} stored rows are not what the log gives.",
            "`marketpulse verify` names each of them.",
        )


def _sources(span: Span, drawn: dict[str, Any]) -> Iterator[Finding]:
    for source, faults in labelled(span.counts("source_errors"), "source").items():
        yield Finding(
            "warn",
            f"The source {source} failed {_times(faults)} in {_stretch(span)}.",
            "It tries again by itself; its log says what the far end answered.",
        )
    lost = labelled(span.counts("stream_missing_trades", what="given up"), "source")
    for source, trades in lost.items():
        yield Finding(
            "warn",
            f"The feed {source} did not bring {trades:,.0f} trade{'' if trades == 1 else 's'}, and its far end cannot give "
            "them any more.",
            "The log says which (`gap` records of the state `open`, table `events`).",
        )
    for source in drawn["sources"]:
        if source["rows_on_disk"]:
            yield Finding(
                "warn",
                f"{source['rows_on_disk']:,.0f} rows of the source {source['source']} wait on the disk for the broker, the "
                f"oldest for {source['on_disk_s']:,.0f} s.",
                "Nothing is lost: they go to the log in their order once it answers.",
            )
        delay = source["watermark_delay_ms"]
        if delay is not None and delay > _WATERMARK_MS:
            yield Finding(
                "warn",
                f"The source {source['source']} is {delay / 1e3:,.0f} s behind the log's time: bars of its symbols close late.",
                "Look whether it still hears from its far end.",
            )


def _failover(span: Span) -> Iterator[Finding]:
    unfed = span.last.sums.total("failover_unfed_symbols")
    if unfed:
        yield Finding(
            "bad",
            f"{unfed:,.0f} symbol{' has' if unfed == 1 else 's have'} lost {'its' if unfed == 1 else 'their'} source, and no "
            "other stands in.",
            "Start another source of its group, or look why none is heard: `marketpulse switch` lists who feeds what.",
        )
    for reason, times in labelled(span.counts("switches"), "reason").items():
        yield Finding(
            "warn",
            f"Symbols went to another source {_times(times)} in {_stretch(span)} ({reason}).",
            "The log says which, when and why (`switch` records, table `events`).",
        )


def _sinks(span: Span, drawn: dict[str, Any]) -> Iterator[Finding]:
    for sink, faults in labelled(span.counts("sink_errors"), "sink").items():
        yield Finding(
            "warn",
            f"The store {sink} failed {_times(faults)} in {_stretch(span)}.",
            "Nothing is lost: it waits and tries again. `marketpulse doctor` asks the store.",
        )
    for sink in drawn["sinks"]:
        if sink["lag_records"] > _LAG_RECORDS:
            yield Finding(
                "warn",
                f"The store {sink['sink']} has {sink['lag_records']:,.0f} records still to store.",
                "Wait while it catches up; if it grows, the store is too slow.",
            )


def _dead_letters(span: Span) -> Iterator[Finding]:
    reasons = labelled(span.counts("dead_letters"), "reason")
    if not reasons:
        return
    reason, most = next(iter(reasons.items()))
    what = f"{sum(reasons.values()):,.0f} records were set aside in {_stretch(span)}"
    why = REASONS.get(reason, reason.replace("_", " "))
    often = f", {most:,.0f} of them since {why}" if len(reasons) > 1 else f": {why}"
    yield Finding(
        "warn", f"{what}{often}.", "They are listed below, whole, and can be sent again once the cause is mended."
    )


def _disk(drawn: dict[str, Any]) -> Iterator[Finding]:
    free = drawn["free_bytes"]
    if free < _DISK_LOW_BYTES:
        severity: Severity = "bad" if free < _DISK_BAD_BYTES else "warn"
        yield Finding(
            severity,
            f"Only {free / 1e9:,.1f} GB are free where the data is.",
            "Free some space: the log and the lake grow, and wait when the disk is full.",
        )


def _stretch(span: Span) -> str:
    minutes = max(1, round(span.seconds / 60))
    return "the last minute" if minutes == 1 else f"the last {minutes} minutes"


def _times(count: float) -> str:
    return "once" if count == 1 else f"{count:,.0f} times"
