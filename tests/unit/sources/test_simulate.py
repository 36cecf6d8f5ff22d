"""The simulated market as a source: live on the wall clock, history at once, labelled everywhere."""

import json
from typing import Any

import pytest

from marketpulse.clock import ManualClock
from marketpulse.errors import SettingsError
from marketpulse.model.market import COMPLETE
from marketpulse.ports import Polled
from marketpulse.settings import SimulateSettings
from marketpulse.sources.simulate import SimulateSource

NOW = 1_767_312_345 * 10**9
START = "2026-01-02T00:00:00Z"


def source(clock: ManualClock | None = None, **settings: Any) -> SimulateSource:
    return SimulateSource(
        SimulateSettings(**settings), "simulate-m", lateness_ns=2 * 10**9, clock=clock or ManualClock(NOW)
    )


def everything(simulated: SimulateSource, polls: int = 100_000) -> tuple[list[dict[str, Any]], Polled]:
    rows: list[dict[str, Any]] = []
    polled = Polled()
    for _ in range(polls):
        polled = simulated.poll(0.05)
        rows += [row for batch in polled.batches for row in batch.to_pylist()]
        if polled.ended:
            break
    return rows, polled


def test_live_rows_are_due_now_and_the_watermark_follows_the_clock() -> None:
    clock = ManualClock(NOW)
    live = source(clock, rate=100)
    hello = live.start(None)
    assert (hello.mode, hello.simulated, hello.calendar, hello.source) == ("live", True, "24x7", "simulate-m")
    seen = 0
    for _ in range(100):
        polled = live.poll(0.05)
        now = clock.now_ns()
        for batch in polled.batches:
            times = batch.column("event_time_ns").to_pylist()
            seen += len(times)
            assert all(NOW <= t <= now for t in times)
            assert now - min(times) < 10**9
        assert polled.position is None
        promised = live.watermark_ns()
        assert promised is None or promised <= now
    assert seen > 100


def test_no_row_is_older_than_what_was_promised() -> None:
    live = source(rate=300)
    live.start(None)
    promised = 0
    for _ in range(300):
        for batch in live.poll(0.02).batches:
            assert min(batch.column("event_time_ns").to_pylist()) > promised
        promised = live.watermark_ns() or promised
    assert promised


def test_the_same_seed_gives_the_same_prices_whenever_it_is_started() -> None:
    def prices(at_ns: int) -> list[float]:
        live = source(ManualClock(at_ns), rate=50, quotes=False, duration_s=60, symbols=5)
        live.start(None)
        return [row["price"] for row in everything(live)[0] if row["type"] == "trade"]

    morning, noon = prices(NOW), prices(NOW + 40_000 * 10**9)
    n = min(len(morning), len(noon))
    assert n > 500
    assert morning[:n] == noon[:n]


def test_history_has_an_end_and_its_trades_stand_at_a_quote() -> None:
    history = source(start=START, duration_s=30, rate=200)
    assert history.start(None).mode == "historical"
    rows, last = everything(history)
    assert last.ended
    assert last.goodbye_watermark_ns == COMPLETE
    book: dict[str, dict[str, Any]] = {}
    trades = 0
    for row in sorted(rows, key=lambda r: (r["event_time_ns"], r["type"] == "trade")):
        if row["type"] == "quote":
            book[row["symbol"]] = row
        elif row["type"] == "trade":
            trades += 1
            assert row["price"] in (book[row["symbol"]]["bid"], book[row["symbol"]]["ask"])
            assert row["venue"] == "XSIM"
    assert trades == pytest.approx(200 * 30 * 1.8, rel=0.5)  # midnight is the busy end of the U
    ids = [row["trade_id"] for row in rows if row["type"] == "trade"]
    assert len(set(ids)) == len(ids)


def test_history_resumes_where_it_was() -> None:
    settings: dict[str, Any] = {"start": START, "duration_s": 60, "rate": 500, "symbols": 3}
    whole_source = source(**settings)
    hello = whole_source.start(None)
    whole, _ = everything(whole_source)
    cut = source(**settings)
    cut.start(None)
    first = cut.poll(0)
    resumed = source(**settings)
    assert resumed.start(first.position) == hello
    head = [row for batch in first.batches for row in batch.to_pylist()]
    assert head + everything(resumed)[0] == whole
    finished = source(**settings)
    finished.start(json.dumps({"market": json.loads(first.position or "")["market"], "row": len(whole)}))
    assert finished.finished_before


def test_halts_and_their_ends_are_events() -> None:
    history = source(start=START, duration_s=40_000, rate=20, symbols=40, quotes=False, seed=2)
    history.start(None)
    rows, _ = everything(history)
    events = [json.loads(row["body"]) for row in rows if "body" in row]
    assert {e["type"] for e in events} == {"halt", "resume"}
    halt = next(e for e in events if e["type"] == "halt")
    assert halt["event_time_ns"] == halt["from_ns"] < halt["to_ns"]
    assert halt["source"] == "simulate-m"
    stopped = [r["event_time_ns"] for r in rows if r["type"] == "trade" and r["symbol"] == halt["symbol"]]
    assert not [t for t in stopped if halt["from_ns"] <= t < halt["to_ns"]]
    times = [row["event_time_ns"] for row in rows]
    assert times == sorted(times)


def test_a_start_that_is_no_time_is_refused() -> None:
    with pytest.raises(SettingsError, match="yesterday"):
        source(start="yesterday")
