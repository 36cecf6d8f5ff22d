"""A live feed against an exchange with faults: whatever goes wrong, each trade comes out once; and its connection alone."""

import json
import random
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from exchange_server import Exchange, gathered, running
from marketpulse.clock import SystemClock
from marketpulse.errors import SettingsError
from marketpulse.settings import BinanceSettings, CoinbaseSettings, RecordingSettings
from marketpulse.sources.rest.backoff import Backoff
from marketpulse.sources.rest.limits import Rate
from marketpulse.sources.streaming.coinbase import Coinbase
from marketpulse.sources.streaming.connection import Connection, Item
from marketpulse.sources.streaming.live import LiveSource
from marketpulse.sources.streaming.recorded import RecordedSource
from marketpulse.sources.streaming.vendors import VENDORS, vendor_of
from marketpulse.telemetry import STREAM_OVERRUN, STREAM_RECONNECTS

PRODUCTS = {"coinbase": ("BTC-USD", "ETH-USD"), "binance": ("BTCUSDT", "ETHUSDT")}


def opened(exchange: Exchange, position: str | None = None, **more: Any) -> LiveSource:
    kind = CoinbaseSettings if exchange.vendor == "coinbase" else BinanceSettings
    given = {"silence_s": 0.8, **({"aggregates": True} if exchange.aggregates else {}), **more}
    settings = kind(symbols=exchange.products, url=exchange.url, rest_url=exchange.rest_url, **given)
    vendor = vendor_of(settings, exchange.vendor)
    source = LiveSource(vendor, settings, exchange.vendor, lateness_ns=2 * 10**9, backoff_s=(0.02, 0.2))
    assert source.start(position).mode == "live"
    return source


def all_of(
    exchange: Exchange, position: str | None = None, before: Sequence[dict[str, Any]] = (), **more: Any
) -> tuple[list[dict[str, Any]], str | None]:
    """(the rows, the newest position) of a source that runs until it has, with those before, all that trades."""
    source, rows = opened(exchange, position, **more), [*before]
    position, _ = gathered(source, len(exchange.tape), rows)
    assert source.watermark_ns() is not None
    source.close()
    return rows, position


def keys(rows: list[dict[str, Any]]) -> list[tuple[str, int, int, float, float]]:
    some = [row for row in rows if row["type"] == "trade"]
    return [(r["symbol"], int(r["trade_id"]), r["event_time_ns"], r["price"], r["size"]) for r in some]


def states(rows: list[dict[str, Any]]) -> list[tuple[str, int]]:
    """(the state, how many trades) of each gap that was told."""
    gaps = [json.loads(row["body"]) for row in rows if row["type"] == "gap"]
    return [(gap["state"], gap["trades"]) for gap in gaps]


def truth(exchange: Exchange) -> list[tuple[str, int, int, float, float]]:
    vendor = VENDORS[exchange.vendor]
    return [(vendor.to_ours(p), n, at, float(price), float(size)) for p, n, at, price, size in exchange.tape]


@pytest.mark.parametrize("vendor", ["coinbase", "binance"])
def test_a_feed_without_faults_comes_in_order_and_whole(vendor: str) -> None:
    with running(Exchange(vendor, PRODUCTS[vendor], 400)) as exchange:
        rows, _ = all_of(exchange)
        assert keys(rows) == truth(exchange)
        assert {row["venue"] for row in rows} == {vendor.upper()}
        assert exchange.requests == 0


@pytest.mark.parametrize("vendor", ["coinbase", "binance"])
@pytest.mark.parametrize("seed", [1, 2])
def test_whatever_the_faults_each_trade_comes_out_once(vendor: str, seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("marketpulse.sources.streaming.live._RATE", Rate(1_000, 1.0, burst=100))
    with running(
        Exchange(vendor, PRODUCTS[vendor], 1_200, seed=seed, fault_rate=0.02, rest_fault_rate=0.2, silence_s=0.6)
    ) as exchange:
        source, rows = opened(exchange, silence_s=0.4), list[dict[str, Any]]()
        gathered(source, 1_200, rows)
        gathered(source, 10_000, rows, wait_s=1.5)  # nothing more comes
        source.close()
        assert sorted(keys(rows)) == sorted(truth(exchange))
        assert {state for state, _ in states(rows)} == {"found", "healed"}
        assert exchange.connections > 1


@pytest.mark.parametrize("vendor", ["coinbase", "binance"])
def test_a_restart_goes_on_behind_the_last_committed_trade_and_takes_none_twice(vendor: str) -> None:
    with running(Exchange(vendor, PRODUCTS[vendor], 900)) as exchange:
        first, rows = opened(exchange), list[dict[str, Any]]()
        position, _ = gathered(first, 200, rows)
        for _ in range(5):
            first.poll(0.05)  # taken, and never committed
        first.close()
        until(lambda: exchange.happened > len(keys(rows)) + 100, "trades happen meanwhile")
        rows, _ = all_of(exchange, position, rows)
        assert sorted(keys(rows)) == sorted(truth(exchange))


def test_a_gap_that_cannot_be_filled_stays_said() -> None:
    with running(Exchange("coinbase", ("BTC-USD",), 300, seed=5, fault_rate=0.02, silence_s=0.6)) as exchange:
        source, rows = opened(exchange, refill=False, silence_s=0.4), list[dict[str, Any]]()

        def lost(state: str) -> int:
            return sum(trades for told, trades in states(rows) if told == state)

        gathered(source, lambda: len(keys(rows)) + lost("open") >= 300, rows)
        source.close()
    assert lost("found") == lost("open") > 0
    assert len(set(keys(rows))) == len(keys(rows)) == 300 - lost("open")


def test_a_symbol_that_the_vendor_does_not_have_is_said() -> None:
    refusal = {"type": "error", "message": "Failed to subscribe", "reason": "FOO-USD is not a valid product"}

    class Refusing(Exchange):
        def play(self, socket: Any, at: int, rng: Any) -> None:  # noqa: ARG002
            socket.send(json.dumps(refusal))

    with running(Refusing("coinbase", ("BTC-USD",), 5)) as exchange:
        source = opened(exchange)
        with pytest.raises(SettingsError, match="FOO-USD is not a valid product"):
            gathered(source, 100, [], wait_s=20)
        source.close()


def test_a_recording_of_a_feed_gives_the_same_rows_through_the_same_parser(tmp_path: Path) -> None:
    with running(Exchange("coinbase", PRODUCTS["coinbase"], 400)) as exchange:
        rows, _ = all_of(exchange, record=tmp_path)
    again = RecordedSource(RecordingSettings(files=(str(tmp_path),)), "coinbase", lateness_ns=1)
    assert again.start(None).mode == "historical"
    replayed = [row for batch in again.poll(0).batches for row in batch.to_pylist()]
    assert keys(replayed) == keys(rows) == truth(exchange)
    assert [r["ingest_time_ns"] for r in replayed] == [r["ingest_time_ns"] for r in rows if r["type"] == "trade"]


def test_a_gap_is_filled_by_the_newest_trades_where_history_is_refused_and_aggregates_by_their_own_ids() -> None:
    with running(Exchange("binance", ("BTCUSDT",), 400, seed=5, fault_rate=0.02, history_refused=True)) as exchange:
        rows, _ = all_of(exchange)
        assert sorted(keys(rows)) == sorted(truth(exchange))
    with running(Exchange("binance", PRODUCTS["binance"], 600, seed=3, fault_rate=0.02, aggregates=True)) as exchange:
        rows, position = all_of(exchange)
        assert sorted(keys(rows)) == sorted(truth(exchange))
        assert json.loads(position or "{}")["aggregates"] == 1
        assert exchange.requests > 0
    with running(Exchange("binance", ("BTCUSDT",), 20, aggregates=True)) as exchange:
        rows, _ = all_of(exchange, '{"BTCUSDT":[5000000,1]}')
        assert keys(rows) == truth(exchange)


def test_a_pair_that_stays_silent_is_asked_for_and_refused_by_name() -> None:
    with running(Exchange("binance", ("BTCUSDT", "XRPUSDT"), 100)) as exchange:
        exchange.tape = [trade for trade in exchange.tape if trade[0] == "BTCUSDT"]
        source = opened(exchange, silence_s=0.5)
        with pytest.raises(SettingsError, match=r"symbol=XRPUSDT.*Invalid symbol"):
            gathered(source, 1_000, [], wait_s=20)
        source.close()


def made(exchange: Exchange, name: str, kept: list[Item], queue_max: int = 1_000) -> Connection:
    settings = CoinbaseSettings(symbols=exchange.products, url=exchange.url)
    return Connection(
        name, exchange.url, Coinbase().subscribe(settings, exchange.products), None, 0.5, SystemClock(),
        Backoff(0.01, 0.05, random.Random(1)), keep=kept.append, queue_max=queue_max,
    )  # fmt: skip


def until(true: object, what: str) -> None:
    deadline = time.monotonic() + 30
    while not true():  # type: ignore[operator]
        assert time.monotonic() < deadline, what
        time.sleep(0.005)


class Silent(Exchange):
    """Says nothing after the subscription."""

    def play(self, socket: object, at: int, rng: random.Random) -> None:  # noqa: ARG002
        self.stop.wait()


def test_a_silent_exchange_is_left_and_asked_again() -> None:
    with running(Silent("coinbase", ("BTC-USD",), 3)) as exchange:
        connection = made(exchange, "silent", [])
        connection.start()
        until(lambda: exchange.connections >= 2, "it connects again")
        connection.close()
        assert STREAM_RECONNECTS.labels("silent", "silence")._value.get() >= 1
        assert "nothing was heard" in connection.trouble


def test_what_finds_the_queue_full_is_counted_and_recorded_all_the_same() -> None:
    with running(Exchange("coinbase", ("BTC-USD",), 50)) as exchange:
        kept: list[Item] = []
        connection = made(exchange, "full", kept, queue_max=5)
        connection.start()
        until(lambda: sum(b'"match"' in item.data for item in kept) >= 49, "all trades come")
        connection.close()
        assert connection.queue.qsize() == 5
        assert STREAM_OVERRUN.labels("full")._value.get() == len(kept) - 5


def test_an_exchange_that_is_not_there_is_said() -> None:
    with running(Exchange("coinbase", ("BTC-USD",), 3)) as exchange:
        kept: list[Item] = []
    connection = made(exchange, "away", kept)
    connection.start()
    until(lambda: sum(item.kind == "lost" for item in kept) >= 3, "it tries again")
    connection.close()
    assert f"cannot connect to {exchange.url}" in kept[0].text
    assert not connection.connected.is_set()
