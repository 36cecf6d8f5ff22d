"""Two looks at the processes, some time apart, as one picture: rates, latencies, health. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from marketpulse.app.observing.readings import Labels, Reading, Samples, quantile, together
from marketpulse.kafka.source_counts import SHARED
from marketpulse.ports import LogView

_ENGINE = "process-"
_ROWS_OUT = {"bars": ("bars_closed", "bars_revised"), "alerts": ("alerts_raised", "alerts_cleared", "alerts_withdrawn")}


@dataclass(frozen=True, slots=True)
class Look:
    """All processes at one moment (`at_s`: of a clock that never goes back)."""

    at_s: float
    now_ms: int
    readings: Sequence[Reading]
    free_bytes: int
    disk_bytes: int = 0  # free and used; 0: not known
    log: LogView = field(default_factory=lambda: LogView(0))

    @property
    def sums(self) -> Samples:
        return together(reading.samples for reading in self.readings)


@dataclass(frozen=True, slots=True)
class Span:
    """What was counted between two looks. A process that began anew in between counts from its start."""

    first: Look
    last: Look

    @property
    def seconds(self) -> float:
        return max(self.last.at_s - self.first.at_s, 1e-9)

    def of(self, process: str) -> "Span":
        """Only the processes whose names begin so."""
        looks = (
            replace(look, readings=[r for r in look.readings if r.name.startswith(process)])
            for look in (self.first, self.last)
        )
        return Span(*looks)

    def counts(self, name: str, **labels: str) -> dict[Labels, float]:
        """How much each sample of the name grew, over all processes."""
        before = {(r.name, r.pid): r.samples for r in self.first.readings}
        grown: dict[Labels, float] = {}
        for reading in self.last.readings:
            then = before.get((reading.name, reading.pid), Samples()).values
            for found, value in reading.samples.by(name, **labels).items():
                grown[found] = grown.get(found, 0.0) + max(0.0, value - then.get((name, found), 0.0))
        return grown

    def count(self, name: str, **labels: str) -> float:
        return sum(self.counts(name, **labels).values())

    def rate(self, name: str, **labels: str) -> float:
        return self.count(name, **labels) / self.seconds

    def latency(self, name: str, **labels: str) -> dict[str, float | None]:
        """The median and the 99th percentile of a histogram in seconds, as milliseconds; None: nothing was observed."""
        buckets: dict[float, float] = {}
        for found, count in self.counts(f"{name}_bucket", **labels).items():
            bound = float(dict(found)["le"])
            buckets[bound] = buckets.get(bound, 0.0) + count
        p50, p99 = (quantile(buckets, share) for share in (0.5, 0.99))
        return {"p50_ms": None if p50 is None else 1e3 * p50, "p99_ms": None if p99 is None else 1e3 * p99}


def last_of(looks: Sequence[Look], seconds: float) -> Span:
    """The looks of the last so many seconds, as far as there are so many."""
    wanted = looks[-1].at_s - seconds
    return Span(next(look for look in looks if look.at_s >= wanted or look is looks[-1]), looks[-1])


def picture(span: Span, longer: Span) -> dict[str, Any]:
    """Everything that the page draws. Rates are a second, latencies and times milliseconds. `longer`: a stretch for what
    comes in waves, as flushes do."""
    sums = span.last.sums
    return {
        "now_ms": span.last.now_ms,
        "span_s": round(span.seconds, 1),
        "processes": [_process(span, reading) for reading in span.last.readings],
        "sources": _sources(span, sums),
        "engine": _engine(span, sums),
        "sinks": _sinks(longer, sums),
        "page": {"connected": sums.total("pages_connected"), "frames_per_s": span.rate("page_frames")},
        "hops": _hops(longer, sums),
        "parity": _parity(span, sums),
        "free_bytes": span.last.free_bytes,
    }


def _process(span: Span, reading: Reading) -> dict[str, Any]:
    before = next((r for r in span.first.readings if (r.name, r.pid) == (reading.name, reading.pid)), None)
    cpu = None
    if before is not None and before is not reading and reading.cpu_s is not None and before.cpu_s is not None:
        cpu = (reading.cpu_s - before.cpu_s) / span.seconds
    return {
        "name": reading.name,
        "pid": reading.pid,
        "trouble": reading.trouble,
        "cpu_cores": cpu,
        "memory_bytes": reading.memory_bytes,
        "started_ms": None if reading.started_s is None else int(1e3 * reading.started_s),
        "restarts": span.last.sums.total("child_restarts", child=reading.name),
        "where": reading.url,
    }


def _sources(span: Span, sums: Samples) -> list[dict[str, Any]]:
    names = sums.labels("rows_produced", "source") | sums.labels("watermark_delay_seconds", "source")
    names |= sums.labels("spool_rows", "source") | (sums.labels("source_rows", "source") - {SHARED})
    delays = {
        dict(found)["source"]: max(
            r.samples.values.get(("watermark_delay_seconds", found), 0.0) for r in span.last.readings
        )
        for found in sums.by("watermark_delay_seconds")
    }
    return [
        {
            "source": name,
            "rows_per_s": span.rate("rows_produced", source=name),
            "rows": sums.total("rows_produced", source=name),
            "types": {dict(found)["type"]: value for found, value in sums.by("rows_produced", source=name).items()},
            "rejected": {
                dict(found)["reason"]: value for found, value in sums.by("input_rejected", source=name).items()
            },
            "engine": {dict(found)["fate"]: value for found, value in sums.by("source_rows", source=name).items()},
            "faults": sums.total("source_errors", source=name),
            "reconnects": sums.total("stream_reconnects", source=name),
            "gaps": sums.total("stream_gaps", source=name) + sums.total("source_gaps", source=name),
            "missing": {
                dict(found)["what"].replace(" ", "_"): value
                for found, value in sums.by("stream_missing_trades", source=name).items()
            },
            "rows_on_disk": sums.total("spool_rows", source=name),
            "on_disk_s": sums.total("spool_age_seconds", source=name),
            "watermark_delay_ms": None if name not in delays else 1e3 * delays[name],
        }
        for name in sorted(names)
    ]


def _engine(span: Span, sums: Samples) -> dict[str, Any]:
    return {
        "records_per_s": span.of(_ENGINE).rate("records_consumed", topic="market"),
        "rows_out_per_s": {topic: sum(span.rate(name) for name in names) for topic, names in _ROWS_OUT.items()},
        "workers": sum(r.name.startswith(_ENGINE) for r in span.last.readings),
        "symbols": sums.total("symbols"),
        "state_bytes": sums.total("state_bytes"),
        "late_trades": sums.total("late_trades"),
        "duplicate_trades": sums.total("duplicate_trades"),
        "out_of_session": sums.total("out_of_session"),
        "crossed_quotes": sums.total("crossed_quotes"),
        "quality": labelled_sum(sums.by("quality_found"), "rule"),
        "bars_revised": sums.total("bars_revised"),
        "dead_letters": {dict(f)["reason"]: value for f, value in sums.by("dead_letters").items() if value},
    }


def _sinks(span: Span, sums: Samples) -> list[dict[str, Any]]:
    return [
        {
            "sink": name,
            "rows_per_s": span.rate("rows_stored", sink=name),
            "rows": sums.total("rows_stored", sink=name),
            "lag_records": sums.total("sink_lag_records", sink=name),
            "faults": sums.total("sink_errors", sink=name),
            **span.latency("flush_seconds", sink=name),
        }
        for name in sorted(sums.labels("sink_lag_records", "sink") | sums.labels("rows_stored", "sink"))
    ]


def _hops(span: Span, sums: Samples) -> list[dict[str, Any]]:
    """The way of a row, each stretch with its latencies."""
    engine = span.of(_ENGINE)
    hops = [
        _hop("From a trade's arrival to its row from the engine", engine, "event_latency_seconds"),
        _hop("One step of the engine", engine, "step_seconds"),
        _hop("One commit of the engine", engine, "commit_seconds"),
    ]
    sinks = sorted(sums.labels("flush_seconds_bucket", "sink"))
    hops += [_hop(f"One flush into {name}", span, "flush_seconds", sink=name) for name in sinks]
    return [*hops, _hop("One query of the Ask page", span, "sql_seconds")]


def _hop(said: str, span: Span, name: str, **labels: str) -> dict[str, Any]:
    return {"hop": said, "per_s": span.rate(f"{name}_count", **labels), **span.latency(name, **labels)}


def _parity(span: Span, sums: Samples) -> dict[str, Any] | None:
    """None: nobody compares what is stored with the log."""
    if not any(name == "parity_rows_checked" and value for (name, _), value in sums.values.items()) and not any(
        r.name.startswith("verify") for r in span.last.readings
    ):
        return None
    return {
        "rows_checked": sums.total("parity_rows_checked"),
        "rows_per_s": span.rate("parity_rows_checked"),
        "drift_rows": sums.total("parity_drift_rows"),
        "skipped_records": sums.total("parity_skipped_records"),
    }


def labelled_sum(counts: Mapping[Labels, float], label: str) -> dict[str, float]:
    """The counts summed by the value of one label, those above 0."""
    found: dict[str, float] = {}
    for labels, count in counts.items():
        if count > 0:
            found[dict(labels)[label]] = found.get(dict(labels)[label], 0.0) + count
    return found


def labelled(counts: Mapping[Labels, float], label: str) -> dict[str, float]:
    """The counts by the value of one label, those above 0, the largest first."""
    found = {dict(labels)[label]: count for labels, count in counts.items() if count > 0}
    return dict(sorted(found.items(), key=lambda pair: (-pair[1], pair[0])))
