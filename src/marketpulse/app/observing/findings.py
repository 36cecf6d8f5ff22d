"""What is wrong with the pipeline, in words, the worst first. Pure."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal

from marketpulse.app.observing.picture import Look, Span, labelled, last_of
from marketpulse.app.observing.readings import Reading
from marketpulse.model.market import REASONS

_LAG_RECORDS = 50_000
_LAG_GROWS_S = 30.0
_LAG_S = 5.0  # a lag of fewer seconds' records comes and goes with the commits
_STALLED_S, _DOWN_S = 5.0, 30.0
_NOW_S, _MINUTE_S = 15.0, 60.0  # a fault of the last seconds still holds: what fails is tried again within them
_START_S = 60.0
_BEHIND_MS = 60_000
_LETTERS, _LETTERS_SHARE = 10, 0.01  # of a minute's records
_DISK_BAD_BYTES, _DISK_LOW_BYTES, _DISK_LOW_SHARE, _DISK_LEFT_S = 500_000_000, 5_000_000_000, 0.05, 3_600
_CLOCK_MS = 2_000

_SEVERITIES = ("down", "degraded", "note")
Severity = Literal["down", "degraded", "note"]


@dataclass(frozen=True, slots=True)
class Finding:
    """`what` is wrong, and what to `do` about it. `down`: rows do not reach their readers now; `degraded`: they do, but
    something does not do its work; `note`: it is over, or mends itself."""

    severity: Severity
    what: str
    do: str


def find(looks: Sequence[Look], drawn: dict[str, Any]) -> list[Finding]:
    """`drawn`: the picture of the newest look; past faults are told of the whole stretch of `looks`."""
    span = Span(looks[0], looks[-1])
    now, minute = last_of(looks, _NOW_S), last_of(looks, _MINUTE_S)
    found = [
        *_log(looks),
        *_processes(span, now),
        *_parity(drawn),
        *_sources(span, now, minute, drawn),
        *_failover(span),
        *_sinks(span, now, minute, drawn),
        *_dead_letters(span, minute),
        *_disk(minute),
        *_clock(looks),
    ]
    return sorted(found, key=lambda finding: _SEVERITIES.index(finding.severity))


def _log(looks: Sequence[Look]) -> Iterator[Finding]:
    stats = looks[-1].log.stats
    if stats is None or not stats.broker_reachable:
        yield Finding(
            "down",
            "The log (Kafka) does not answer.",
            "Everything goes on by itself when it is back; look at the broker's log.",
        )
        return
    lag = stats.engine_lag_records
    waiting = f"{lag:,} record{'' if lag == 1 else 's'} of the log"
    stalled = {partition: still_s for partition, still_s in stats.stalled.items() if still_s >= _STALLED_S}
    if stalled:
        still_s = max(stalled.values())
        severity: Severity = "down" if still_s >= _DOWN_S else "degraded"
        if len(stalled) == len(stats.stalled):
            what = f"The engine has taken in nothing for {still_s:,.0f} s, and {waiting} wait."
            do = "Look whether `process` runs and what its log says; it goes on from its last commit."
        else:
            which = ", ".join(map(str, sorted(stalled)))
            many = len(stalled) > 1
            what = f"Nobody takes in partition{'s' if many else ''} {which} of `market`: nothing for {still_s:,.0f} s."
            do = "A worker that hangs or has died gives its partitions to the others once it has left its group."
        yield Finding(severity, what, do)
    elif _grows(looks):
        yield Finding(
            "degraded",
            f"The engine falls behind: {waiting} wait, more every second.",
            "Start more workers (process.workers), or compute fewer indicators and timeframes.",
        )
    elif lag > _LAG_RECORDS:
        yield Finding("note", f"The engine catches up: it has {waiting} still to go through.", "Wait a little.")


def _grows(looks: Sequence[Look]) -> bool:
    """Whether the lag grew all the last half minute, and to more than what comes and goes with the commits."""
    then = last_of(looks, _LAG_GROWS_S + _NOW_S).first
    points = [look for look in looks if look.at_s >= looks[-1].at_s - _LAG_GROWS_S - _NOW_S]
    stats = [look.log.stats for look in points]
    if looks[-1].at_s - then.at_s < _LAG_GROWS_S or len(points) < 3:
        return False
    known = [s for s in stats if s is not None and s.broker_reachable]
    if len(known) < len(points):
        return False
    per_s = (known[-1].market_records - known[0].market_records) / (looks[-1].at_s - then.at_s)
    lags = [known[0].engine_lag_records, known[len(known) // 2].engine_lag_records, known[-1].engine_lag_records]
    return all(b - a > per_s for a, b in pairwise(lags)) and lags[-1] > _LAG_S * per_s


def _processes(span: Span, now: Span) -> Iterator[Finding]:
    for reading in span.last.readings:
        if reading.trouble:
            yield Finding(
                _severity_of(reading, now.last),
                f"The process {reading.name} does not do its work: {reading.trouble}.",
                "Its log in the data directory's `logs` says why.",
            )
    newest = labelled(now.counts("child_restarts"), "child")
    for child, times in labelled(span.counts("child_restarts"), "child").items():
        ends = ", ".join(sorted({dict(labels)["end"] for labels in span.counts("child_restarts", child=child)}))
        yield Finding(
            "degraded" if child in newest else "note",
            f"The process {child} died ({ends}) and was started again {_times(times)} in {_stretch(span)}.",
            "Its log in the data directory's `logs` says why.",
        )


def _severity_of(reading: Reading, last: Look) -> Severity:
    """Of a process in trouble. One that has just begun is only starting."""
    if (
        reading.trouble == "starting"
        and reading.started_s is not None
        and last.now_ms / 1e3 - reading.started_s < _START_S
    ):
        return "note"
    return "down" if reading.name == "broker" or reading.name.startswith("process-") else "degraded"


def _parity(drawn: dict[str, Any]) -> Iterator[Finding]:
    parity = drawn["parity"]
    if parity and parity["drift_rows"]:
        yield Finding(
            "degraded",
            f"{parity['drift_rows']:,.0f} stored rows are not what the log gives.",
            "`marketpulse verify` names each of them.",
        )


def _sources(span: Span, now: Span, minute: Span, drawn: dict[str, Any]) -> Iterator[Finding]:
    failing = labelled(now.counts("source_errors"), "source")
    for source, faults in labelled(span.counts("source_errors"), "source").items():
        yield Finding(
            "degraded" if source in failing and not now.count("rows_produced", source=source) else "note",
            f"The source {source} failed {_times(faults)} in {_stretch(span)}.",
            "It tries again by itself; its log says what the far end answered.",
        )
    for source, times in labelled(minute.counts("stream_reconnects", why="silence"), "source").items():
        if not sum(now.count("rows_produced", source=source, type=kind) for kind in ("trade", "quote", "bar")):
            yield Finding(
                "degraded",
                f"The feed {source} is silent while its market is open: connected anew {_times(times)} in the last minute.",
                "Look whether its far end is well; trades that it did not bring are asked for once it speaks.",
            )
    for source, silent_s in labelled(span.last.sums.by("rest_silent_seconds"), "source").items():
        yield Finding(
            "degraded",
            f"The source {source} brings nothing new while its market is open: its newest row is {silent_s / 60:,.0f} min old.",
            "Look whether the vendor has newer rows of its symbols; where it runs behind by plan, raise delay_s.",
        )
    lost = labelled(span.counts("stream_missing_trades", what="given up"), "source")
    for source, trades in lost.items():
        yield Finding(
            "note",
            f"The feed {source} did not bring {trades:,.0f} trade{'' if trades == 1 else 's'}, and its far end cannot give "
            "them any more.",
            "The log says which (`gap` records of the state `open`, table `events`).",
        )
    for source in drawn["sources"]:
        if source["rows_on_disk"]:
            yield Finding(
                "degraded",
                f"{source['rows_on_disk']:,.0f} rows of the source {source['source']} wait on the disk for the broker, the "
                f"oldest for {source['on_disk_s']:,.0f} s.",
                "Nothing is lost: they go to the log in their order once it answers.",
            )
        delay = source["watermark_delay_ms"]
        if delay is not None and delay > _BEHIND_MS:
            yield Finding(
                "degraded",
                f"The source {source['source']} is {delay / 1e3:,.0f} s behind the log's time: bars of its symbols close late.",
                "Look whether it still hears from its far end.",
            )


def _failover(span: Span) -> Iterator[Finding]:
    unfed = span.last.sums.total("failover_unfed_symbols")
    if unfed:
        yield Finding(
            "degraded",
            f"{unfed:,.0f} symbol{' has' if unfed == 1 else 's have'} lost {'its' if unfed == 1 else 'their'} source, and no "
            "other stands in.",
            "Start another source of its group, or look why none is heard: `marketpulse switch` lists who feeds what.",
        )
    for reason, times in labelled(span.counts("switches"), "reason").items():
        yield Finding(
            "note",
            f"Symbols went to another source {_times(times)} in {_stretch(span)} ({reason}).",
            "The log says which, when and why (`switch` records, table `events`).",
        )


def _sinks(span: Span, now: Span, minute: Span, drawn: dict[str, Any]) -> Iterator[Finding]:
    failing = labelled(now.counts("sink_errors"), "sink")
    for sink, faults in labelled(span.counts("sink_errors"), "sink").items():
        yield Finding(
            "degraded" if sink in failing else "note",
            f"The store {sink} failed {_times(faults)} in {_stretch(span)}.",
            "Nothing is lost: it waits and tries again. `marketpulse doctor` asks the store.",
        )
    for sink in drawn["sinks"]:
        name, lag = sink["sink"], sink["lag_records"]
        waited = minute.first.sums.total("sink_lag_records", sink=name)  # as many as it should have read since
        if lag and minute.seconds >= 0.8 * _MINUTE_S and minute.of(f"sink-{name}").count("records_consumed") < waited:
            yield Finding(
                "degraded",
                f"The store {name} is more than a minute behind: {lag:,.0f} records wait.",
                "Wait while it catches up; if they grow more, the store is too slow.",
            )


def _dead_letters(span: Span, minute: Span) -> Iterator[Finding]:
    newest = minute.count("dead_letters")
    many = newest >= _LETTERS and newest > _LETTERS_SHARE * minute.count("records_consumed", topic="market")
    reasons = labelled(span.counts("dead_letters"), "reason")
    if not reasons:
        return
    reason, most = next(iter(reasons.items()))
    what = f"{sum(reasons.values()):,.0f} records were set aside in {_stretch(span)}"
    why = REASONS.get(reason, reason.replace("_", " "))
    often = f", {most:,.0f} of them since {why}" if len(reasons) > 1 else f": {why}"
    yield Finding(
        "degraded" if many else "note",
        f"{what}{often}.",
        "They are listed below, whole, and can be sent again once the cause is mended.",
    )


def _disk(minute: Span) -> Iterator[Finding]:
    free, size = minute.last.free_bytes, minute.last.disk_bytes
    taken_per_s = (minute.first.free_bytes - free) / minute.seconds
    left_s = free / taken_per_s if taken_per_s > 0 and minute.seconds >= 0.8 * _MINUTE_S else float("inf")
    if free < _DISK_LOW_BYTES or free < _DISK_LOW_SHARE * size or left_s < _DISK_LEFT_S:
        soon = f", and at this rate they last {left_s / 60:,.0f} min" if left_s < _DISK_LEFT_S else ""
        yield Finding(
            "down" if free < _DISK_BAD_BYTES else "degraded",
            f"Only {free / 1e9:,.1f} GB are free where the data is{soon}.",
            "Free some space: the log and the lake grow, and wait when the disk is full.",
        )


def _clock(looks: Sequence[Look]) -> Iterator[Finding]:
    last = looks[-1]
    jump_ms = sum(_jump_ms(a, b) for a, b in pairwise(looks) if b.at_s > last.at_s - _MINUTE_S)
    if abs(jump_ms) > _CLOCK_MS:
        yield Finding(
            "degraded",
            f"The clock of this machine jumped by {jump_ms / 1e3:+,.0f} s.",
            "Let a time service set it (chrony, systemd-timesyncd): bars close by it where no row comes.",
        )
    newest = last.log.newest_row_ms
    if newest is not None and newest - last.log.now_ms > _CLOCK_MS:
        yield Finding(
            "degraded",
            f"The broker's clock is {(newest - last.log.now_ms) / 1e3:,.0f} s ahead of this machine's.",
            "Let a time service set both (chrony, systemd-timesyncd).",
        )


def _jump_ms(a: Look, b: Look) -> float:
    return (b.now_ms - a.now_ms) - 1e3 * (b.at_s - a.at_s)


def _stretch(span: Span) -> str:
    minutes = max(1, round(span.seconds / 60))
    return "the last minute" if minutes == 1 else f"the last {minutes} minutes"


def _times(count: float) -> str:
    return "once" if count == 1 else f"{count:,.0f} times"
