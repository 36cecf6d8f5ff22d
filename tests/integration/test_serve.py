"""`serve` after a restart, on the real broker and a real lake: what its first picture holds."""

import time
from typing import Any

import httpx
import pyarrow as pa
import pytest

from bare_clients import BareTopic
from board_rows import live, row
from given_settings import changed
from marketpulse.app.pipeline.serve import run
from marketpulse.kafka import feed
from marketpulse.kafka.codec import encode_rows
from marketpulse.kafka.consumer import TableReader
from marketpulse.model.rows import BAR, indicators_schema
from marketpulse.settings import Settings
from marketpulse.sinks import open_sink
from stored_pipeline import Working
from valkey_store import ValkeyServer
from waiting import wait_until

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
    topics = (BareTopic.of(settings, name) for name in ("bars", "indicators"))
    ends = {(topic.name, partition): end for topic in topics for partition, end in topic.ends().items() if end}
    stored: dict[tuple[str, int], int] = {}

    def polled() -> bool:
        for batch in reader.poll(0.2):
            sink.write(batch)
            stored[batch.topic, batch.partition] = batch.next_offset
        return all(stored.get(place, 0) >= end for place, end in ends.items())

    wait_until(polled, "everything is stored")
    sink.flush()
    reader.close()
    sink.close()


def shown(url: str, timeframe: str, newest_s: int) -> list[dict[str, Any]]:
    """The rows of a chart, once it holds a bar that opens at `newest_s`."""
    asked: dict[str, Any] = {"symbol": "AAA", "timeframe": timeframe, "limit": HISTORY}
    rows: list[dict[str, Any]] = []

    def is_there() -> bool:
        answer = httpx.get(url + "api/bars", params=asked, timeout=60).json()
        rows[:] = [dict(zip(answer["columns"], r, strict=True)) for r in answer.get("rows", ())]
        newest = rows[-1] if rows else {"open_time_ms": 0}
        return newest["open_time_ms"] == (T0_S + newest_s) * 1_000 and newest["sma_2"] is not None

    wait_until(is_there)
    return rows


@pytest.mark.parametrize("held_by", ["lake", "redis", None])
def test_after_a_restart_the_page_has_hundreds_of_bars_of_every_timeframe(
    kafka_settings: Settings, monkeypatch: pytest.MonkeyPatch, valkey: ValkeyServer, held_by: str | None
) -> None:
    """As far as the lake, Redis or the topic holds them; and trades of before the restart count for no latency."""
    monkeypatch.setattr(feed, "_BACK_PER_BAR", 2)
    monkeypatch.setattr(feed, "_BACK_MAX", 4 * 9_000)
    picture = {"port": 0, "history_bars": HISTORY, "first_picture": held_by or "lake"}
    settings = changed(kafka_settings, serve=picture, sinks={"redis": valkey.settings(recent_bars=HISTORY)})
    minutes = 250 if held_by else 130
    write(settings, 0, 60 * minutes)
    if held_by:
        store(settings, held_by)
        write(settings, 60 * minutes, 1_200)  # more than the feed goes back by itself: no hole may stay
        minutes += 20
    old = live(["sma_2"], row("AAA", "1m", T0_S, 1.0, ingest_time_ns=time.time_ns() - 5 * 10**9)).rows
    BareTopic.of(settings, "live").write([value for _, value in encode_rows(old)])
    with Working(settings, run, name="serve") as working:
        url = working.facts()["url"]
        for timeframe, length_s in (("1s", 1), ("1m", 60)):
            rows = shown(url, timeframe, 60 * minutes - length_s)
            count = min(HISTORY, 60 * minutes // length_s)
            opened = [r["open_time_ms"] // 1_000 - T0_S for r in rows]
            assert opened == [60 * minutes - length_s * i for i in range(count, 0, -1)]
            assert all(r["sma_2"] is not None for r in rows)
        assert httpx.get(url + "api/health").json()["latency_p50_ms"] is None


def test_a_first_picture_that_cannot_be_read_is_gone_without(kafka_settings: Settings) -> None:
    picture = {"port": 0, "first_picture": "redis"}
    settings = changed(kafka_settings, serve=picture, sinks={"redis": {"url": "redis://127.0.0.1:1/0"}})
    write(settings, 0, 60)
    with Working(settings, run, name="serve") as working:
        assert len(shown(working.facts()["url"], "1s", 59)) == 60
