"""`serve` after a restart, on the real broker and a real lake: what its first picture holds."""

import json
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, Literal

import httpx
import pyarrow as pa
import pytest

from bare_clients import BareTopic
from board_rows import live, row
from marketpulse.app.lifecycle import Lifecycle
from marketpulse.app.pipeline.serve import run
from marketpulse.kafka import feed
from marketpulse.kafka.codec import encode_rows
from marketpulse.kafka.consumer import TableReader
from marketpulse.model.rows import BAR, indicators_schema
from marketpulse.settings import Settings
from marketpulse.sinks import open_sink
from marketpulse.telemetry import Health
from valkey_store import ValkeyServer, valkey  # noqa: F401

pytestmark = pytest.mark.integration

HISTORY = 200
T0_S = 1_700_000_000 // 60 * 60


def write(settings: Settings, first_s: int, seconds: int) -> None:
    """A bar a second, and one a minute behind its last second, with their values, as an engine writes them."""
    rows = []
    for second in range(first_s, first_s + seconds):
        rows.append(row("AAA", "1s", T0_S + second, float(second), sma_2=second - 0.5))
        if second % 60 == 59:
            rows.append(row("AAA", "1m", T0_S + second - 59, float(second), sma_2=second - 30.5))
    for topic, schema in (("bars", BAR), ("indicators", indicators_schema(["sma_2"]))):
        encoded = encode_rows(pa.RecordBatch.from_pylist(rows, schema))
        BareTopic.of(settings, topic).write([value for _, value in encoded], partition=1)


def store(settings: Settings, which: str) -> None:
    """What `sink WHICH` does with everything that stands in the topics."""
    sink = open_sink(settings, which)
    reader = TableReader(settings, ["bars", "indicators"], f"sink-{which}", sink.resume)
    ends = {(t.name, p): end for t in topics(settings) for p, end in t.ends().items() if end}
    stored: dict[tuple[str, int], int] = {}
    deadline = time.monotonic() + 30
    while any(stored.get(place, 0) < end for place, end in ends.items()):
        assert time.monotonic() < deadline
        for batch in reader.poll(0.2):
            sink.write(batch)
            stored[batch.topic, batch.partition] = batch.next_offset
    sink.flush()
    reader.close()
    sink.close()


def topics(settings: Settings) -> list[BareTopic]:
    return [BareTopic.of(settings, name) for name in ("bars", "indicators")]


@contextmanager
def served(settings: Settings) -> Iterator[str]:
    """The page's address while `serve` runs."""
    life = Lifecycle("serve", threading.Event(), Health(), settings.data_dir / "run" / "serve.json", 0)
    with ThreadPoolExecutor(1) as pool:
        done = pool.submit(run, settings, life)
        deadline = time.monotonic() + 20
        while not life.run_file.exists():
            assert time.monotonic() < deadline
            assert not done.done()
            time.sleep(0.02)
        try:
            yield str(json.loads(life.run_file.read_text())["url"])
        finally:
            life.stop.set()
            assert done.result(20) == 0


def shown(url: str, timeframe: str, newest_s: int) -> list[dict[str, Any]]:
    """The rows of a chart, once it holds a bar that opens at `newest_s`."""
    deadline = time.monotonic() + 20
    while True:
        answer = httpx.get(
            url + "api/bars", params={"symbol": "AAA", "timeframe": timeframe, "limit": HISTORY}, timeout=60
        ).json()
        rows = [dict(zip(answer["columns"], r, strict=True)) for r in answer.get("rows", ())]
        if rows and rows[-1]["open_time_ms"] == (T0_S + newest_s) * 1_000 and rows[-1]["sma_2"] is not None:
            return rows
        assert time.monotonic() < deadline, rows[-3:]
        time.sleep(0.05)


@pytest.mark.parametrize("held_by", ["lake", "redis", None])
def test_after_a_restart_the_page_has_hundreds_of_bars_of_every_timeframe(
    kafka_settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
    valkey: ValkeyServer,  # noqa: F811
    held_by: Literal["lake", "redis"] | None,
) -> None:
    """As far as the lake, Redis or the topic holds them; and trades of before the restart count for no latency."""
    monkeypatch.setattr(feed, "_BACK_PER_BAR", 2)
    monkeypatch.setattr(feed, "_BACK_MAX", 4 * 9_000)
    picture = {"port": 0, "history_bars": HISTORY, "first_picture": held_by or "lake"}
    serve = kafka_settings.serve.model_copy(update=picture)
    sinks = kafka_settings.sinks.model_copy(update={"redis": valkey.settings(recent_bars=HISTORY)})
    settings = kafka_settings.model_copy(update={"serve": serve, "sinks": sinks})
    minutes = 250 if held_by else 130
    write(settings, 0, 60 * minutes)
    if held_by:
        store(settings, held_by)
        write(settings, 60 * minutes, 1_200)  # more than the feed goes back by itself: no hole may stay
        minutes += 20
    old = live(["sma_2"], row("AAA", "1m", T0_S, 1.0, ingest_time_ns=time.time_ns() - 5 * 10**9)).rows
    BareTopic.of(settings, "live").write([value for _, value in encode_rows(old)])
    with served(settings) as url:
        for timeframe, length_s in (("1s", 1), ("1m", 60)):
            rows = shown(url, timeframe, 60 * minutes - length_s)
            count = min(HISTORY, 60 * minutes // length_s)
            assert [r["open_time_ms"] // 1_000 - T0_S for r in rows] == [
                60 * minutes - length_s * i for i in range(count, 0, -1)
            ]
            assert all(r["sma_2"] is not None for r in rows)
        assert httpx.get(url + "api/health").json()["latency_p50_ms"] is None


def test_a_first_picture_that_cannot_be_read_is_gone_without(kafka_settings: Settings) -> None:
    serve = kafka_settings.serve.model_copy(update={"port": 0, "first_picture": "redis"})
    away = kafka_settings.sinks.redis.model_copy(update={"url": "redis://127.0.0.1:1/0"})
    sinks = kafka_settings.sinks.model_copy(update={"redis": away})
    settings = kafka_settings.model_copy(update={"serve": serve, "sinks": sinks})
    write(settings, 0, 60)
    with served(settings) as url:
        assert len(shown(url, "1s", 59)) == 60
