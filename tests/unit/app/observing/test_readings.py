"""Processes are found by their run files, their metrics read as numbers, and an observer looks by itself."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest

from marketpulse.app.observing import Observer
from marketpulse.app.observing.readings import DIED, Samples, parse, quantile, read_processes, together
from marketpulse.clock import SystemClock
from marketpulse.telemetry import Health, TelemetryServer
from process_readings import write_run_file
from waiting import wait_until


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
def test_a_quantile_lies_in_the_bucket_of_the_true_one_and_nothing_observed_has_none(
    values: list[float], share: float
) -> None:
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
    observer = Observer(tmp_path, SystemClock())
    assert observer.picture(broker_reachable=True, engine_lag=0) is None
    assert observer.samples() is None
    observer.look()
    assert observer.samples() is not None
    drawn = observer.picture(broker_reachable=False, engine_lag=0)
    assert drawn is not None
    assert [finding["severity"] for finding in drawn["findings"]] == ["bad"]
    write_run_file(tmp_path / "run", "serve", os.getpid(), port)
    times: set[int] = set()

    def looked_thrice() -> bool:
        if drawn := observer.picture(broker_reachable=True, engine_lag=0):
            times.add(drawn["now_ms"])
            assert [p["name"] for p in drawn["processes"]] == ["serve"]
        return len(times) >= 3

    with contextlib.closing(Observer(tmp_path, SystemClock())) as observer:
        observer.start()
        wait_until(looked_thrice)
