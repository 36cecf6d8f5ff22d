"""Processes are found by their run files and read as numbers; two looks make a picture, and words, by hand sums."""

import contextlib
import json
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest

from marketpulse.app.observing import Observer
from marketpulse.app.observing.findings import Finding, find
from marketpulse.app.observing.picture import Look, Span, labelled, picture
from marketpulse.app.observing.readings import DIED, Labels, Reading, Samples, parse, quantile, read_processes, together
from marketpulse.clock import ManualClock, SystemClock
from marketpulse.ports import LogView, PipelineStats
from marketpulse.telemetry import Health, TelemetryServer
from waiting import wait_until

NOW_MS = 60_000


def samples(**counts: float) -> Samples:
    """`rows_stored__sink_lake=3` is rows_stored{sink="lake"}."""
    found: dict[tuple[str, tuple[tuple[str, str], ...]], float] = {}
    for text, value in counts.items():
        name, *labels = text.split("__")
        found[name, tuple(sorted(tuple(label.split("_", 1)) for label in labels))] = value  # type: ignore[misc]
    return Samples(found)


def reading(name: str, pid: int = 1, trouble: str | None = None, cpu_s: float = 0.0, **counts: float) -> Reading:
    return Reading(name, pid, trouble, samples(**counts), cpu_s=cpu_s, memory_bytes=1_000, started_s=5.0)


def look(at_s: float, *readings: Reading, free: int = 10**12) -> Look:
    return Look(at_s, int(1_000 * at_s), readings, free)


def write_run_file(run: Path, name: str, pid: int, port: int) -> None:
    run.mkdir(exist_ok=True)
    (run / f"{name}.json").write_text(json.dumps({"name": name, "pid": pid, "metrics_port": port}))


def test_metrics_keep_their_labels_and_lose_their_frame() -> None:
    registry = CollectorRegistry()
    rows = Counter("marketpulse_rows_stored", "?", ["sink", "table"], registry=registry)
    for labels, count in ((("lake", "bars"), 3), (("lake", "trades"), 4), (("redis", "bars"), 5)):
        rows.labels(*labels).inc(count)
    samples = parse(generate_latest(registry).decode())
    assert samples.total("rows_stored") == 12
    assert samples.total("rows_stored", sink="lake") == 7
    assert samples.labels("rows_stored", "table") == {"bars", "trades"}
    assert samples.total("unheard_of") == 0
    assert together([samples, samples]).total("rows_stored", table="trades") == 8


@given(st.lists(st.floats(0.0001, 40), min_size=1, max_size=60), st.sampled_from([0.5, 0.99]))
def test_a_quantile_lies_in_the_true_ones_bucket_and_no_sample_has_none(values: list[float], share: float) -> None:
    registry = CollectorRegistry()
    bounds = (0.001, 0.01, 0.1, 1, 10)
    histogram = Histogram("marketpulse_some_seconds", "?", buckets=bounds, registry=registry)
    for value in values:
        histogram.observe(value)
    samples = parse(generate_latest(registry).decode())
    buckets = {float(dict(labels)["le"]): count for labels, count in samples.by("some_seconds_bucket").items()}
    found = quantile(buckets, share)
    assert found is not None
    rank = next(i for i in range(1, len(values) + 1) if i >= share * len(values))
    true = sorted(values)[rank - 1]
    below = max((b for b in bounds if b < true), default=0)
    above = min((b for b in bounds if b >= true), default=bounds[-1])
    assert below <= found <= above
    assert quantile({}, share) is quantile({1.0: 0.0, float("inf"): 0.0}, share) is None


@pytest.fixture
def port() -> Iterator[int]:
    health = Health()
    health.set_ready()
    with contextlib.closing(TelemetryServer(health)) as server:
        yield server.port


def test_a_process_is_read_one_that_died_is_told_and_one_that_is_not_ready_says_why(tmp_path: Path, port: int) -> None:
    running = tmp_path / "run"
    assert read_processes(running) == []
    write_run_file(running, "serve", os.getpid(), port)
    write_run_file(running, "sink-lake", 2**22 + 12_345, port)
    (running / "half.json").write_text('{"name": "ha')
    serve, sink = read_processes(running)
    assert (serve.name, serve.trouble, serve.pid) == ("serve", None, os.getpid())
    assert (serve.memory_bytes or 0) > 1e6
    assert serve.cpu_s is not None
    assert any(name == "pages_connected" for name, _ in serve.samples.values)
    assert (sink.name, sink.trouble, sink.samples) == ("sink-lake", DIED, Samples())
    health = Health()
    health.set_not_ready("the store is away")
    with contextlib.closing(TelemetryServer(health)) as server:
        write_run_file(tmp_path, "sink-lake", os.getpid(), server.port)
        (found,) = read_processes(tmp_path)
    assert found.trouble == "the store is away"
    assert found.samples.values
    (deaf,) = read_processes(tmp_path)
    assert "does not answer" in str(deaf.trouble)


def test_nothing_is_known_before_the_first_look_and_it_looks_again_while_watched(tmp_path: Path, port: int) -> None:
    clock, seen = ManualClock(), [LogView(NOW_MS)]
    observer = Observer(tmp_path, clock, lambda: seen[0])
    assert (observer.picture(), observer.samples(), observer.health()["status"]) == (None, None, "starting")
    observer.look()
    assert observer.samples() is not None
    for view in (LogView(NOW_MS), log(reachable=False)):  # its topics are not there yet
        clock.sleep(5)
        seen[0] = view
        assert observer.health()["status"] == "starting"
    for at_s, view, status in (
        (25, LogView(NOW_MS), "down"),
        (1, log(), "ok"),
        (1, log(9, p0=5), "degraded"),
        (1, log(reachable=False), "down"),
    ):
        clock.sleep(at_s)
        observer.look()
        seen[0] = view
        health, drawn = observer.health(), observer.picture()
        assert drawn is not None
        assert (health["status"], health["reasons"]) == (status, drawn["findings"])
    write_run_file(tmp_path / "run", "serve", os.getpid(), port)
    times: set[int] = set()

    def looked_thrice() -> bool:
        if drawn := observer.picture():
            times.add(drawn["now_ms"])
            assert [p["name"] for p in drawn["processes"]] == ["serve"]
        return len(times) >= 3

    with contextlib.closing(Observer(tmp_path, SystemClock(), lambda: LogView(NOW_MS))) as observer:
        observer.start()
        wait_until(looked_thrice)


LOST: Any = {"stream_missing_trades__source_x__what_given up": 12}


def drawn(first: Look, last: Look) -> dict[str, Any]:
    return picture(Span(first, last), Span(first, last))


def test_rates_are_what_grew_in_the_time_also_after_a_new_start_beside_what_a_feed_did_not_bring() -> None:
    def feed(at_s: float, trades: int, quotes: int) -> Look:
        rows: Any = {f"rows_produced__source_feed__type_{t}": n for t, n in (("trade", trades), ("quote", quotes))}
        return look(at_s, reading("produce-feed", **rows))

    (source,) = drawn(feed(0, 100, 10), feed(10, 600, 60))["sources"]
    assert (source["rows_per_s"], source["rows"], source["types"]) == (55, 660, {"trade": 600, "quote": 60})
    lossy = reading(
        "produce-coinbase", rows_produced__source_coinbase__type_trade=5, stream_gaps__source_coinbase=2,
        stream_missing_trades__source_coinbase__what_found=46, stream_missing_trades__source_coinbase__what_healed=40,
        source_rows__fate_rows__source_coinbase=5, source_rows__fate_duplicates__source_coinbase=2,
        stream_reconnects__source_coinbase__why_closed=3, stream_reconnects__source_coinbase__why_silence=1,
    )  # fmt: skip
    (source,) = drawn(look(0, lossy), look(1, lossy))["sources"]
    assert (source["gaps"], source["reconnects"]) == (2, 4)
    assert (source["missing"], source["engine"]) == ({"found": 46, "healed": 40}, {"rows": 5, "duplicates": 2})
    first = look(0, reading("sink-lake", 1, rows_stored__sink_lake__table_bars=1_000))
    last = look(5, reading("sink-lake", 2, rows_stored__sink_lake__table_bars=20))
    (sink,) = drawn(first, last)["sinks"]
    assert sink["rows_per_s"] == 4
    assert drawn(first, last)["processes"][0]["cpu_cores"] is None
    first = look(0, reading("serve", cpu_s=1.0), reading("up", 2))
    last = look(4, reading("serve", trouble="starting", cpu_s=3.0), reading("up", 2, child_restarts__child_serve=2))
    serve = drawn(first, last)["processes"][0]
    assert (serve["cpu_cores"], serve["trouble"], serve["restarts"], serve["started_ms"]) == (0.5, "starting", 2, 5_000)


def test_only_the_engine_counts_as_such_latencies_are_of_between_the_looks_and_delays_of_the_worst() -> None:
    first = look(0, reading("process-0"), reading("verify", 2))
    last = look(
        2, reading("process-0", records_consumed__topic_market=80, bars_closed__timeframe_1m=3, bars_revised=1),
        reading("verify", 2, records_consumed__topic_market=9_000),
    )  # fmt: skip
    engine = drawn(first, last)["engine"]
    assert (engine["records_per_s"], engine["workers"]) == (40, 1)
    assert engine["rows_out_per_s"] == {"bars": 2, "alerts": 0}

    def flushed(at_s: float, fast: float, slow: float) -> Look:
        counts = (("0.1", fast), ("1.0", slow), ("+Inf", slow))
        buckets: Any = {f"flush_seconds_bucket__sink_lake__le_{le}": count for le, count in counts}
        return look(at_s, reading("sink-lake", rows_stored__sink_lake__table_bars=1, **buckets))

    (sink,) = drawn(flushed(0, 1_000, 1_000), flushed(1, 1_000, 1_100))["sinks"]
    assert sink["p50_ms"] == pytest.approx(100 + 0.5 * 900)  # a hundred flushes between 0.1 and 1 s
    assert sink["p99_ms"] == pytest.approx(100 + 0.99 * 900)
    assert drawn(flushed(0, 5, 5), flushed(1, 5, 5))["sinks"][0]["p50_ms"] is None
    workers = (reading(f"process-{i}", i + 1, watermark_delay_seconds__source_feed=s) for i, s in enumerate((2, 7)))
    assert [s["watermark_delay_ms"] for s in drawn(look(0), look(1, *workers))["sources"]] == [7_000]
    assert drawn(look(0), look(1, reading("serve")))["parity"] is None
    found = drawn(look(0), look(1, reading("verify", parity_rows_checked=50, parity_drift_rows=1)))["parity"]
    assert (found["rows_checked"], found["drift_rows"]) == (50, 1)


def test_suspect_rows_are_counted_by_rule_over_sources_and_counts_come_the_largest_first() -> None:
    engine = reading(
        "process-1", quality_found__rule_split__severity_mark__source_a=2, quality_found__rule_split__severity_mark__source_b=3,
        quality_found__rule_stale__severity_count__source_a=0,
    )  # fmt: skip
    assert drawn(look(0, engine), look(10, engine))["engine"]["quality"] == {"split": 5}
    by_why: dict[Labels, float] = {(("why", "a"),): 1.0, (("why", "b"),): 0.0, (("why", "c"),): 9.0}
    assert list(labelled(by_why, "why").items()) == [("c", 9), ("a", 1)]


def log(lag: int = 0, *, reachable: bool = True, newest_row_ms: int | None = None, **stalled: float) -> LogView:
    """`p3=7.0`: the engine has taken in nothing of partition 3 for 7 s."""
    still = {int(name[1:]): seconds for name, seconds in stalled.items()}
    return LogView(NOW_MS, PipelineStats(0, lag, 0, 0, reachable, still), newest_row_ms)


def findings(*looks: Look, log: LogView = log()) -> list[Finding]:  # noqa: B008
    seen = [*looks[:-1], replace(looks[-1], log=log)]
    return find(seen, picture(Span(seen[0], seen[-1]), Span(seen[0], seen[-1])))


RESTARTED: Any = {"child_restarts__child_serve__end_SIGKILL": 1}


@pytest.mark.parametrize(("last", "severity", "words"), [
    (look(60, reading("serve", trouble="starting")), "note", "serve does not do its work: starting"),
    (look(90, reading("serve", trouble="starting")), "degraded", "serve does not do its work: starting"),
    (look(60, reading("process-0", trouble="it has died")), "down", "process-0 does not do its work: it has died"),
    (look(10, reading("up", **RESTARTED)), "degraded", "serve died (SIGKILL) and was started again once in the last minute"),
    (look(60, reading("verify", parity_rows_checked=9, parity_drift_rows=2)), "degraded", "2 stored rows are not what the log gives"),
    (look(10, reading("produce-x", source_errors__source_x=4)), "degraded", "The source x failed 4 times"),
    (look(10, reading("produce-x", source_errors__source_x=4, rows_produced__source_x__type_trade=1)), "note", "The source x failed 4 times"),
    (look(60, reading("produce-x", stream_reconnects__source_x__why_silence=2)), "degraded", "x is silent while its market is open: connected anew 2 times"),
    (look(60, reading("produce-x", rest_silent_seconds__source_x=2_700)), "degraded", "x brings nothing new while its market is open: its newest row is 45 min old"),
    (look(60, reading("produce-x", spool_rows__source_x=1_234, spool_age_seconds__source_x=70)), "degraded", "1,234 rows of the source x wait on the disk for the broker, the oldest for 70 s"),
    (look(60, reading("process-0", watermark_delay_seconds__source_x=90)), "degraded", "x is 90 s behind the log's time"),
    (look(10, reading("sink-lake", sink_errors__sink_lake=1)), "degraded", "The store lake failed once"),
    (look(60, reading("produce-x", **LOST)), "note", "did not bring 12 trades, and its far end cannot give them any more"),
    (look(60, free=2 * 10**9), "degraded", "Only 2.0 GB are free"),
    (look(60, free=10**8), "down", "Only 0.1 GB are free"),
])  # fmt: skip
def test_what_is_wrong_is_named(last: Look, severity: str, words: str) -> None:
    names = [(r.name, r.pid) for r in last.readings]
    (finding,) = findings(look(0, *(reading(name, pid) for name, pid in names)), last)
    assert words in finding.what
    assert (finding.severity, finding.do[-1]) == (severity, ".")


@pytest.mark.parametrize(("now", "severity", "words"), [
    (LogView(NOW_MS), "down", "The log (Kafka) does not answer."),
    (log(9, reachable=False, p0=90), "down", "The log (Kafka) does not answer."),
    (log(1, p0=4.9), None, ""),
    (log(1, p0=5.1), "degraded", "The engine has taken in nothing for 5 s, and 1 record of the log wait"),
    (log(70_000, p0=31, p1=31), "down", "nothing for 31 s, and 70,000 records of the log wait"),
    (log(9, p0=0, p3=7, p4=8), "degraded", "Nobody takes in partitions 3, 4 of `market`: nothing for 8 s."),
    (log(70_000, p0=0), "note", "catches up: it has 70,000 records"),
    (log(newest_row_ms=62_001), "degraded", "The broker's clock is 2 s ahead of this machine's."),
])  # fmt: skip
def test_the_log_and_how_far_the_engine_is_are_judged_apart(now: LogView, severity: str | None, words: str) -> None:
    found = findings(look(0), look(60), log=now)
    assert [f.severity for f in found] == ([severity] if severity else [])
    assert all(words in f.what for f in found)


def test_a_lag_that_grows_for_half_a_minute_a_store_a_minute_behind_and_many_letters_degrade_it_meanwhile() -> None:
    def seen(lags: list[int]) -> list[Look]:
        """A look every 10 s, 100 records a second come."""
        return [
            replace(look(10.0 * i), log=LogView(NOW_MS, PipelineStats(1_000 * i, lag, 0, 0, broker_reachable=True)))
            for i, lag in enumerate(lags)
        ]

    for lags, words in (
        ([0, 500, 1_000, 1_500, 2_000], ["The engine falls behind: 2,000 records of the log wait, more every second."]),
        ([0, 500, 1_000, 1_500], ["The engine falls behind: 1,500 records of the log wait, more every second."]),
        ([0, 500, 1_000], []), ([0, 100, 200, 300, 400], []), ([0, 900, 1_000, 1_000, 1_000], []), ([2_000, 1_500, 1_000, 700, 650], []),
    ):  # fmt: skip
        *before, last = seen(lags)
        assert [f.what for f in findings(*before, last, log=last.log)] == words, lags

    def store(at_s: float, lag: int, read: int) -> Look:
        return look(at_s, reading("sink-lake", sink_lag_records__sink_lake=lag, records_consumed__topic_bars=read))

    (slow,) = findings(store(0, 600, 0), store(60, 900, 599))
    assert (slow.severity, slow.what) == ("degraded", "The store lake is more than a minute behind: 900 records wait.")
    assert findings(store(0, 600, 0), store(60, 900, 600)) == findings(store(0, 600, 0), store(60, 0, 599)) == []

    def letters(at_s: float, letters: int, records: int) -> Look:
        return look(
            at_s, reading("process-0", dead_letters__reason_bad_price=letters, records_consumed__topic_market=records)
        )

    for later, severity in (
        (letters(60, 10, 999), "degraded"),
        (letters(60, 10, 1_000), "note"),
        (letters(60, 9, 9), "note"),
    ):
        assert [f.severity for f in findings(letters(0, 0, 0), later)] == [severity]
    assert [f.severity for f in findings(letters(0, 0, 0), letters(60, 50, 99), letters(130, 50, 99))] == ["note"]


def test_a_disk_that_is_full_within_the_hour_and_a_clock_that_jumps_degrade_it() -> None:
    full, free = 10**13, 6 * 10**11
    assert findings(look(0, free=free), replace(look(60, free=free - 10**8), disk_bytes=full)) == []
    (small,) = findings(look(0), replace(look(60, free=4 * 10**11), disk_bytes=full))
    assert small.what == "Only 400.0 GB are free where the data is, and at this rate they last 1 min."
    (soon,) = findings(look(0, free=free), replace(look(60, free=free - 2 * 10**10), disk_bytes=full))
    assert soon.what == "Only 580.0 GB are free where the data is, and at this rate they last 29 min."
    (jump,) = findings(look(0), replace(look(60), now_ms=53_000))
    assert (jump.severity, jump.what) == ("degraded", "The clock of this machine jumped by -7 s.")
    assert findings(look(0), replace(look(60), now_ms=61_900)) == []
    assert findings(look(0), replace(look(60), now_ms=53_000), replace(look(121), now_ms=114_000)) == []


def test_a_fault_that_is_over_is_a_note_dead_letters_have_their_reason_and_the_worst_comes_first() -> None:
    failed = (
        ("up", RESTARTED),
        ("sink-lake", {"sink_errors__sink_lake": 1}),
        ("produce-x", {"source_errors__source_x": 1}),
    )
    for name, counts in failed:
        before, after = look(0, reading(name)), look(10, reading(name, **counts))
        assert [f.severity for f in findings(before, after)] == ["degraded"]
        assert [f.severity for f in findings(before, after, replace(after, at_s=26, now_ms=26_000))] == ["note"]
    for said, letters in (
        ("2 records were set aside in the last minute: a price is not above 0 and finite, or above 1e18.", {"bad_price": 2}),
        ("7 records were set aside in the last minute, 5 of them since the value is not a JSON object", {"bad_price": 2, "not_json": 5}),
    ):  # fmt: skip
        counts = {f"dead_letters__reason_{reason}": count for reason, count in letters.items()}
        (finding,) = findings(look(0, reading("process-0")), look(60, reading("process-0", **counts)))
        assert finding.what.startswith(said)
    assert findings(look(0, reading("serve")), look(60, reading("serve"))) == []
    last = look(10, reading("sink-lake", sink_errors__sink_lake=1), free=10**8)
    told = findings(look(0, reading("sink-lake")), last, log=log(90_000, reachable=False))
    assert [finding.severity for finding in told] == ["down", "down", "degraded"]
    assert "Kafka" in told[0].what
