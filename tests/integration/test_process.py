"""The engine's process on the real broker: a bare client writes, a bare client reads what was committed."""

import json
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import pytest

import market_rows
from bare_clients import BareTopic, rows
from market_rows import at
from marketpulse.app import worker as worker_module
from marketpulse.app.lifecycle import Lifecycle
from marketpulse.app.pipeline.process import run
from marketpulse.engine.step import Stepper
from marketpulse.kafka.transaction import AbortedTransaction, TransactionalLog
from marketpulse.settings import Settings
from marketpulse.telemetry import REGISTRY, Health

pytestmark = [pytest.mark.integration, pytest.mark.usefixtures("kernels")]

HELLO = {"type": "hello", "source": "test", "mode": "historical", "run_id": "1", "event_time_ns": at(0)}


trade = partial(market_rows.trade, source="test")
quote = partial(market_rows.quote, source="test")


def heartbeat(seconds: float) -> dict[str, Any]:
    return {"type": "heartbeat", "source": "test", "event_time_ns": at(seconds)}


COUNTED: dict[str, dict[str, str]] = {
    "crossed_quotes": {"book": "crossed"}, "late_quotes": {}, "dropped_quotes": {"why": "too_late"},
}  # fmt: skip


def counted(metric: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(f"marketpulse_{metric}_total", labels) or 0.0


def write(settings: Settings, records: list[dict[str, Any] | bytes]) -> None:
    BareTopic.of(settings).write(records)


def read(settings: Settings, topic: str, wanted: int) -> list[dict[str, Any]]:
    """At least `wanted` committed rows of a topic, or what came in time, partition after partition."""
    return rows(BareTopic.of(settings, topic).wait_for(wanted))


class Running:
    """The process's work in a thread of its own."""

    def __init__(self, settings: Settings) -> None:
        self._life = Lifecycle("process", threading.Event(), Health(), settings.data_dir / "run" / "process.json", 0)
        self._done = ThreadPoolExecutor(1).submit(run, settings, self._life)

    def stop(self) -> None:
        self._life.stop.set()
        assert self._done.result(60) == 0


@pytest.fixture
def settings(kafka_settings: Settings) -> Settings:
    engine = kafka_settings.engine.model_copy(update={"timeframes": ("1s", "1m"), "indicators": "sma(2),vwap"})
    return kafka_settings.model_copy(update={"engine": engine})


@pytest.fixture
def worker(settings: Settings) -> Iterator[Running]:
    running = Running(settings)
    yield running
    running.stop()


def test_the_worked_example_written_by_a_bare_client_gives_exactly_its_rows(settings: Settings) -> None:
    rows = [trade("AAA", 10.2, 5, 1), trade("AAA", 10.9, 7, 3), trade("AAA", 12.5, 6, 2), trade("AAA", 10.4, 4, 1)]
    late = [trade("AAA", 11.5, 9, 1), trade("AAA", 10.95, 8, 5)]
    write(settings, [*rows, heartbeat(13.0), *late, heartbeat(13.5)])
    running = Running(settings)
    bars = [b for b in read(settings, "bars", 4) if b["timeframe"] == "1s"]
    running.stop()
    names = ("open", "high", "low", "close", "volume", "vwap", "trade_count", "revision")
    assert [(b["open_time_ns"] - at(0)) / 1e9 for b in bars] == [10, 12, 10, 11]
    assert [tuple(b[n] for n in names) for b in bars] == [
        (5, 7, 4, 7, 5, 6.0, 3, 0),
        (6, 6, 6, 6, 2, 6.0, 1, 0),
        (5, 8, 4, 8, 10, 7.0, 4, 1),
        (9, 9, 9, 9, 1, 9.0, 1, 0),
    ]
    receipts = [b["receipt"] for b in bars]
    assert [(r["first_offset"], r["last_offset"], r["late_count"]) for r in receipts] == [
        (0, 3, 0), (2, 2, 0), (0, 6, 1), (5, 5, 1),
    ]  # fmt: skip
    assert {b["receipt"]["topic"] for b in bars} == {settings.topic("market")}


def test_quotes_give_their_values_at_each_close_and_in_live_rows(settings: Settings) -> None:
    engine = settings.engine.model_copy(update={"indicators": "spread,imbalance"})
    own = settings.model_copy(update={"engine": engine})
    quotes = [quote("AAA", 10.3, 9, 10, (1, 3)), quote("AAA", 11.2, 9, 11, (0, 0))]
    write(own, [HELLO, trade("AAA", 10.2, 5, 1), *quotes, trade("AAA", 11.4, 5, 1), heartbeat(15)])
    running = Running(own)
    found = [r for r in read(own, "indicators", 2) if r["timeframe"] == "1s"]
    shown = next(r for r in read(own, "live", 1) if r["timeframe"] == "1m")
    before = {name: counted(name, **labels) for name, labels in COUNTED.items()}
    crossed = quote("BBB", 15.5, 9, 8)
    write(own, [quote("AAA", 10.5, 9, 13, (3, 1)), crossed, heartbeat(16)])
    revised = [r for r in read(own, "indicators", 3) if r["revision"]]
    running.stop()
    assert [(r["spread"], r["imbalance"]) for r in found] == [(1, -0.5), (2, None)]
    assert [(r["receipt"]["first_offset"], r["receipt"]["last_offset"]) for r in found] == [(1, 2), (3, 4)]
    assert [shown[name] for name in ("bid", "bid_size", "ask", "ask_size", "spread")] == [9, 0, 11, 0, 2]
    assert [(r["spread"], r["imbalance"], r["open_time_ns"]) for r in revised] == [(4, 0.5, at(10))]
    assert revised[0]["receipt"]["last_offset"] > 5, "the late quote's place, among the clock's records"
    now = {name: counted(name, **labels) for name, labels in COUNTED.items()}
    assert {name: now[name] - before[name] for name in COUNTED} == {
        "crossed_quotes": 1, "late_quotes": 1, "dropped_quotes": 0,
    }  # fmt: skip


def test_indicators_come_with_each_bar_and_are_null_while_they_warm_up(settings: Settings, worker: Running) -> None:
    write(settings, [HELLO, *(trade("AAA", t, 10 + t, 1) for t in range(4)), heartbeat(4)])
    rows = [r for r in read(settings, "indicators", 4) if r["timeframe"] == "1s"]
    assert [(r["close"], r["sma_2"], r["vwap"]) for r in rows] == [
        (10, None, 10),
        (11, 10.5, 10.5),
        (12, 11.5, 11),
        (13, 12.5, 11.5),
    ]


def test_what_cannot_be_used_is_set_aside_whole_with_its_place(settings: Settings, worker: Running) -> None:
    bad = trade("AAA", 1, 0, 1)
    write(settings, [HELLO, b"not json", bad, trade("AAA", 5, 10, 1), heartbeat(1_000), trade("AAA", 2, 10, 1)])
    letters = read(settings, "dead-letters", 3)
    assert [(d["reason"], d["partition"], d["offset"]) for d in letters if d["reason"] == "not_json"] == [
        ("not_json", 0, 1)
    ]
    by_reason = {d["reason"]: d for d in letters}
    assert json.loads(by_reason["bad_price"]["value"]) == bad
    assert by_reason["too_late"]["offset"] == 5
    assert by_reason["too_late"]["timeframes"] == ["1s", "1m"]
    assert {d["topic"] for d in letters} == {settings.topic("market")}


def test_a_suspect_row_stays_and_a_record_beside_it_says_what_is_wrong(settings: Settings) -> None:
    before = counted("quality_found", rule="price_unit", severity="mark", source="test")
    steady = [trade("AAA", 1 + i / 100, 100, 1) for i in range(25)]
    write(settings, [HELLO, *steady, trade("AAA", 1.5, 10_000, 1), heartbeat(3)])
    running = Running(settings)
    (notice,) = [r for r in read(settings, "market", len(steady) + 4) if r["type"] == "quality"]
    (bar,) = [b for b in read(settings, "bars", 1) if b["timeframe"] == "1s"]
    running.stop()
    assert (bar["high"], bar["trade_count"]) == (10_000, 26), "what is marked stays"
    assert (notice["symbol"], notice["rule"], notice["offset"], notice["value"], notice["expected"]) == (
        "AAA", "price_unit", len(steady) + 1, 10_000, 100,
    )  # fmt: skip
    assert counted("quality_found", rule="price_unit", severity="mark", source="test") == before + 1
    again = Running(settings)
    write(settings, [heartbeat(120)])
    read(settings, "bars", 2)
    again.stop()
    assert [r["type"] for r in read(settings, "market", len(steady) + 5)].count("quality") == 1


def test_a_flood_of_symbols_beyond_the_cap_is_set_aside_and_the_known_ones_go_on(settings: Settings) -> None:
    engine = settings.engine.model_copy(update={"symbols_max": 1})
    running = Running(settings.model_copy(update={"engine": engine}))
    write(settings, [HELLO, trade("AAA", 1, 10, 1)])
    write(settings, [trade(f"FLOOD-{i}", 1, 10, 1) for i in range(5_000)])
    write(settings, [trade("AAA", 1.5, 11, 2), heartbeat(60)])
    letters = read(settings, "dead-letters", 5_000)
    bars = read(settings, "bars", 2)
    running.stop()
    assert {(d["reason"], d["symbol"][:6]) for d in letters} == {("too_many_symbols", "FLOOD-")}
    assert len(letters) == 5_000
    assert "engine.symbols_max" in letters[0]["detail"]
    assert [(b["symbol"], b["timeframe"], b["volume"]) for b in bars] == [("AAA", "1s", 3), ("AAA", "1m", 3)]


def test_a_worker_that_stops_and_one_that_follows_give_the_rows_of_one_that_never_stopped(settings: Settings) -> None:
    first = Running(settings)
    write(settings, [HELLO, trade("AAA", 1, 10, 1), trade("AAA", 2, 11, 1), heartbeat(2.5)])
    assert len(read(settings, "bars", 1)) == 1
    first.stop()
    write(settings, [trade("AAA", 2.7, 12, 4), heartbeat(60)])
    second = Running(settings)
    bars = read(settings, "bars", 3)
    second.stop()
    assert [(b["timeframe"], b["close"], b["volume"]) for b in bars] == [("1s", 10, 1), ("1s", 12, 5), ("1m", 12, 6)]
    values = read(settings, "indicators", 3)
    assert [r["sma_2"] for r in values if r["timeframe"] == "1s"] == [None, 11]


def test_a_long_silence_is_filled_in_several_commits_and_a_fault_between_them_doubles_nothing(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    offsets: list[int] = []
    commit = TransactionalLog.commit

    def faulty(log: TransactionalLog) -> None:
        if not log.in_transaction:
            return
        if len(offsets) == 2:
            offsets.append(-1)
            log.abort()
            raise AbortedTransaction("the test says so")
        commit(log)
        (place,) = [p for p in log._committed(range(4)) if p.partition == 0]
        offsets.append(place.committed or 0)

    monkeypatch.setattr(TransactionalLog, "commit", faulty)
    monkeypatch.setattr(worker_module, "_MIDWAY_S", 0.0)
    monkeypatch.setattr(worker_module, "Stepper", partial(Stepper, closed_most=1))
    engine = settings.engine.model_copy(update={"fill": "previous", "timeframes": ("1s",)})
    hours = 2 * 3_600
    trades = [trade(symbol, 0.5, 10, 1) for symbol in ("AAA", "BBB", "CCC")]
    write(settings, [HELLO, *trades, b"not json", heartbeat(hours), trade("AAA", hours + 0.5, 11, 1)])
    running = Running(settings.model_copy(update={"engine": engine}))
    bars, values = read(settings, "bars", 3 * hours), read(settings, "indicators", 3 * hours)
    letters = read(settings, "dead-letters", 1)
    running.stop()
    assert -1 in offsets
    assert offsets.count(5) > 2, "the heartbeat's bars came in one commit"
    for found in (bars, values):
        places = [(row["symbol"], (row["open_time_ns"] - at(0)) // 10**9) for row in found]
        assert sorted(places) == [(symbol, second) for symbol in ("AAA", "BBB", "CCC") for second in range(hours)]
    assert [r["sma_2"] for r in values if r["symbol"] == "BBB"] == [None] + [10] * (hours - 1)
    assert [letter["offset"] for letter in letters] == [4]


def test_forming_bars_are_shown_before_they_close(settings: Settings, worker: Running) -> None:
    write(settings, [HELLO, trade("AAA", 1, 10, 1), trade("AAA", 1.5, 12, 2)])
    rows = read(settings, "live", 2)
    newest = [r for r in rows if r["timeframe"] == "1m"][-1]
    assert (newest["open"], newest["close"], newest["volume"], newest["sma_2"]) == (10, 12, 3, None)


def test_the_pipelines_clock_closes_bars_of_a_dead_source(settings: Settings) -> None:
    engine = settings.engine.model_copy(update={"source_timeout_s": 1.0})
    running = Running(settings.model_copy(update={"engine": engine}))
    now = time.time_ns()
    live = {**HELLO, "mode": "live"}
    record = {"type": "trade", "symbol": "AAA", "source": "test", "event_time_ns": now, "price": 10, "size": 1}
    write(settings, [live, record])
    (bar,) = [b for b in read(settings, "bars", 1) if b["timeframe"] == "1s"]
    running.stop()
    assert (bar["close"], bar["trade_count"]) == (10, 1)
