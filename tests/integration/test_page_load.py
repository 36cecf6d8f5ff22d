"""Two hundred pages at once, ten of which never read: all others see everything, and the ten are let go; what the first
picture of `serve` holds after a restart; and the scorecard, from the command line and beside a page that serves."""

import asyncio
import json
import re
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import httpx
import pyarrow as pa
import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import InvalidStatus

from bare_clients import BareTopic
from board_rows import NeverReads, PageReader, live, row
from given_settings import changed, child, command
from marketpulse.app.observing.readings import Samples
from marketpulse.app.pipeline.serve import run
from marketpulse.app.scoring.hearing import Hearing
from marketpulse.app.scoring.watch import ScoreWatch
from marketpulse.clock import SystemClock
from marketpulse.errors import Retryable
from marketpulse.kafka import feed
from marketpulse.kafka.codec import encode_rows
from marketpulse.kafka.consumer import TableReader
from marketpulse.model.rows import BAR, indicators_schema
from marketpulse.settings import ServeSettings, Settings
from marketpulse.sinks import open_sink
from marketpulse.telemetry import REGISTRY
from marketpulse.web import stream
from marketpulse.web.api import create_app
from marketpulse.web.board import Board
from marketpulse.web.page_socket import WAITING_BYTES_MAX
from marketpulse.web.server import WebServer
from stored_pipeline import Working
from valkey_store import ValkeyServer
from waiting import wait_until

pytestmark = [pytest.mark.integration, pytest.mark.timeout(200), pytest.mark.usefixtures("kernels")]

PAGES, NEVER_READ, SYMBOLS = 200, 10, 500
FRAME_BYTES_MAX = 400_000  # the first one of 500 symbols
PLACE = re.compile(r'{"seq":(?P<seq>[0-9]+),"after":(?P<after>[0-9]+|null)')


def count(name: str) -> float:
    return REGISTRY.get_sample_value(f"marketpulse_{name}") or 0.0


@contextmanager
def moving(board: Board) -> Iterator[None]:
    stop = threading.Event()

    def trade() -> None:
        step = 0
        while not stop.wait(0.1):
            step += 1
            rows = (row(f"S{i:04d}", "1m", 60, step + i / 7, bid=step / 3, ask=step / 7) for i in range(SYMBOLS))
            board.take(live([], *rows))

    thread = threading.Thread(target=trade)
    thread.start()
    yield
    stop.set()
    thread.join()


class Visitor:
    """A page that reads on and on. `watched`: it keeps what it read, else only where it stands."""

    def __init__(self, page: ClientConnection, *, watched: bool) -> None:
        self.page, self.watched = page, watched
        self.texts: list[str] = []
        self.seq: int | None = None
        self.task = asyncio.create_task(self._read())

    async def _read(self) -> None:
        async for text in self.page:
            place = PLACE.match(str(text))
            assert place is not None
            assert json.loads(place["after"]) == self.seq
            self.seq = int(place["seq"])
            if self.watched:
                self.texts.append(str(text))


def test_two_hundred_pages_of_which_ten_never_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream, "PAGES_MAX", PAGES)
    monkeypatch.setattr(stream, "SEND_TIMEOUT_S", 4.0)
    serve, board = ServeSettings(port=0), Board()
    board.take(live([], *(row(f"S{i:04d}", "1m", 60, 1.0) for i in range(SYMBOLS))))
    server = WebServer(create_app(board, serve, {}), serve)
    server.start()
    let_go = count("pages_let_go_total")
    held: list[int] = []

    async def visit() -> list[list[str]]:
        address = f"ws://127.0.0.1:{server.port}/ws"
        pages = [await connect(address, max_size=None) for _ in range(PAGES - NEVER_READ)]
        with pytest.raises(InvalidStatus) as refused:
            await connect(address)
        assert refused.value.response.status_code == 503
        visitors = [Visitor(page, watched=i % 30 == 0) for i, page in enumerate(pages)]
        async with asyncio.timeout(120):
            with moving(board):
                while count("pages_let_go_total") < let_go + NEVER_READ:
                    connections = list(server._server.server_state.connections)
                    held.extend(one.transport.get_write_buffer_size() for one in connections)  # what no page has taken
                    await asyncio.sleep(0.2)
            while any(visitor.seq != board.seq for visitor in visitors):
                await asyncio.sleep(0.1)
        assert not any(visitor.task.done() for visitor in visitors)
        for page in pages:
            await page.close()
        return [visitor.texts for visitor in visitors if visitor.watched]

    with ExitStack() as silent:
        for _ in range(NEVER_READ):
            silent.enter_context(NeverReads(server.port))
        wait_until(lambda: count("pages_connected") >= NEVER_READ, "they are connected")
        watched = asyncio.run(visit())
        server.stop()
    assert count("pages_let_go_total") == let_go + NEVER_READ
    assert max(held) <= WAITING_BYTES_MAX + FRAME_BYTES_MAX
    told = {symbol: last for symbol, last, *_ in board.quote_rows()}
    assert len(told) == SYMBOLS
    for texts in watched:
        reader = PageReader()
        for text in texts:
            reader.take(text)
        assert {symbol: quote[0] for symbol, quote in reader.quotes.items()} == told


def trade(symbol: str, price: float, source: str, back_s: float = 0.0) -> dict[str, Any]:
    at = time.time_ns() - int(back_s * 1e9)
    return {"type": "trade", "symbol": symbol, "source": source, "event_time_ns": at, "price": price, "size": 1.0}


def heard(settings: Settings) -> Hearing:
    def begun() -> Hearing | None:
        try:
            return Hearing(settings, 1, SystemClock())
        except Retryable:  # new topics settle
            return None

    hearing = wait_until(begun)
    assert hearing is not None
    try:
        hearing.hear(hearing.follower.to_the_end())
    finally:
        hearing.close()
    return hearing


def source_row(hearing: Hearing, source: str) -> dict[str, Any]:
    return next(one for one in hearing.card().sources() if one["source"] == source)


def test_every_record_of_every_partition_is_heard_with_its_delay_if_not_too_far_back(kafka_settings: Settings) -> None:
    market = BareTopic.of(kafka_settings)
    for partition in range(kafka_settings.kafka.partitions):
        market.write([trade(f"S{partition}", 1.0, "feed", 2.0) for _ in range(50)], partition)
    letter = {"reason": "bad_price", "value": json.dumps(trade("S0", -1.0, "feed"))}
    BareTopic.of(kafka_settings, "dead-letters").write([letter])
    found = source_row(heard(kafka_settings), "feed")
    assert found["rows"]["trade"] == 50 * kafka_settings.kafka.partitions
    assert (found["symbols"], found["dead_letters"]) == (kafka_settings.kafka.partitions, {"bad_price": 1})
    assert found["lag_p50_ms"] >= 1_900
    few = changed(kafka_settings, scorecard={"catch_up_records": 10 * kafka_settings.kafka.partitions})
    assert source_row(heard(few), "feed")["rows"]["trade"] == 10 * kafka_settings.kafka.partitions


def test_where_sources_compete_their_own_topic_is_heard_and_without_topics_it_waits(kafka_settings: Settings) -> None:
    with pytest.raises(Retryable, match="exists yet"):
        Hearing(changed(kafka_settings, kafka={"topic_prefix": "not-made-"}), 1, SystemClock())
    feeds, market = BareTopic.of(kafka_settings, "feeds"), BareTopic.of(kafka_settings)
    feeds.make(2, **{"message.timestamp.type": "LogAppendTime"})
    try:
        pairs = [trade("BTC-USD", 100.0, "left", 70.0), trade("BTC-USD", 101.0, "right", 70.0)]
        feeds.write(pairs, 1)
        market.write([pairs[0]])  # what was chosen
        hearing = heard(kafka_settings)
        assert source_row(hearing, "left")["rows"]["trade"] == 1
        [apart] = hearing.card().symbols("left", 5)["disagreements"]
        assert (apart["other_source"], round(apart["p50_bps"], 2)) == ("right", 99.5)
    finally:
        feeds.delete()


def test_the_watch_tells_what_comes_while_it_runs(kafka_settings: Settings) -> None:
    watch = ScoreWatch(kafka_settings, SystemClock(), lambda: Samples())
    assert watch.sources() is None
    assert watch.symbols("feed", 5) is None
    watch.start()

    def trades() -> int:
        found = watch.sources()
        return sum(one["rows"]["trade"] for one in found["sources"]) if found else 0

    try:
        market = BareTopic.of(kafka_settings)
        wait_until(lambda: watch.sources() is not None)
        for expected in (3, 6):
            market.write([trade("AAA", 1.0, "feed") for _ in range(3)])
            wait_until(lambda expected=expected: trades() == expected)  # type: ignore[misc]
        symbols = watch.symbols("feed", 5)
        assert symbols is not None
        assert [one["symbol"] for one in symbols["symbols"]] == ["AAA"]
    finally:
        watch.close()


def test_the_command_prints_a_line_for_each_source(kafka_settings: Settings) -> None:
    now = time.time_ns()
    gap = {"type": "gap", "symbol": "AAA", "source": "feed", "event_time_ns": now, "from_ns": now - 9, "to_ns": now}
    gap |= {"from_id": "5", "to_id": "9", "trades": 5, "state": "found", "reason": "5 trades did not come"}
    BareTopic.of(kafka_settings).write([trade("AAA", 1.0, "feed"), gap, {**gap, "state": "healed"}])
    done = child(kafka_settings, "sources", "--hours", "1")
    assert done.returncode == 0, done.stderr
    heads, line = done.stdout.splitlines()
    assert [heads.split()[0], line.split()[0]] == ["source", "feed"]
    assert "5: 5 healed" in line
    both = (["--json"], ["--source", "feed"])
    whole, one = (json.loads(command(kafka_settings, "sources", "--hours", "1", *words).stdout) for words in both)
    assert whole["sources"][0]["gaps"]["healed"] == {"gaps": 1, "trades": 5}
    assert one["gaps"][0]["state"] == "healed"


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
