"""A live feed against an exchange with faults: whatever goes wrong, each trade comes out once."""

import json
import time
from pathlib import Path
from typing import Any

import pytest

from exchange_server import Exchange, running
from marketpulse.errors import SettingsError
from marketpulse.settings import BinanceSettings, CoinbaseSettings, RecordingSettings, StreamSettings
from marketpulse.sources.streaming.live import LiveSource
from marketpulse.sources.streaming.recorded import RecordedSource
from marketpulse.sources.streaming.vendors import VENDORS, vendor_of

PRODUCTS = {"coinbase": ("BTC-USD", "ETH-USD"), "binance": ("BTCUSDT", "ETHUSDT")}


def settings_for(exchange: Exchange, **more: Any) -> StreamSettings:
    kind = CoinbaseSettings if exchange.vendor == "coinbase" else BinanceSettings
    given = {"silence_s": 0.8, **more}
    return kind(symbols=exchange.products, url=exchange.url, rest_url=exchange.rest_url, **given)


def opened(exchange: Exchange, position: str | None = None, **more: Any) -> LiveSource:
    if exchange.aggregates:
        more["aggregates"] = True
    settings = settings_for(exchange, **more)
    source = LiveSource(
        vendor_of(settings, exchange.vendor), settings, exchange.vendor, lateness_ns=2 * 10**9, backoff_s=(0.02, 0.2)
    )
    assert source.start(position).mode == "live"
    return source


def gathered(
    source: LiveSource, enough: int, into: list[dict[str, Any]], wait_s: float = 60
) -> tuple[str | None, list[str]]:
    """Poll until `enough` trades stand in `into`; (the newest position, reasons of dead letters)."""
    position, reasons = None, []
    deadline = time.monotonic() + wait_s
    while time.monotonic() < deadline:
        polled = source.poll(0.05)
        position = polled.position or position
        into += [row for batch in polled.batches for row in batch.to_pylist()]
        reasons += [item.reason for item in polled.rejected]
        if sum(row["type"] == "trade" for row in into) >= enough:
            break
    return position, reasons


def keys(rows: list[dict[str, Any]]) -> list[tuple[str, int, int, float, float]]:
    return [
        (r["symbol"], int(r["trade_id"]), r["event_time_ns"], r["price"], r["size"])
        for r in rows
        if r["type"] == "trade"
    ]


def truth(exchange: Exchange) -> list[tuple[str, int, int, float, float]]:
    vendor = VENDORS[exchange.vendor]
    return [(vendor.to_ours(p), n, at, float(price), float(size)) for p, n, at, price, size in exchange.tape]


@pytest.mark.parametrize("vendor", ["coinbase", "binance"])
def test_a_feed_without_faults_comes_in_order_and_whole(vendor: str) -> None:
    with running(Exchange(vendor, PRODUCTS[vendor], 400)) as exchange:
        source = opened(exchange)
        rows: list[dict[str, Any]] = []
        gathered(source, 400, rows)
        assert source.watermark_ns() is not None
        source.close()
        assert keys(rows) == truth(exchange)
        assert {row["venue"] for row in rows} == {vendor.upper()}
        assert exchange.requests == 0


@pytest.mark.parametrize("vendor", ["coinbase", "binance"])
@pytest.mark.parametrize("seed", [1, 2])
def test_whatever_the_faults_each_trade_comes_out_once(vendor: str, seed: int) -> None:
    with running(
        Exchange(vendor, PRODUCTS[vendor], 1_200, seed=seed, fault_rate=0.02, rest_fault_rate=0.2)
    ) as exchange:
        source = opened(exchange)
        rows: list[dict[str, Any]] = []
        gathered(source, 1_200, rows)
        for _ in range(30):  # nothing more comes
            rows += [row for batch in source.poll(0.05).batches for row in batch.to_pylist()]
        source.close()
        assert sorted(keys(rows)) == sorted(truth(exchange))
        gaps = [json.loads(row["body"]) for row in rows if row["type"] == "gap"]
        assert {gap["state"] for gap in gaps} == {"found", "healed"}
        assert exchange.connections > 1


@pytest.mark.parametrize("vendor", ["coinbase", "binance"])
def test_a_restart_goes_on_behind_the_last_committed_trade_and_takes_none_twice(vendor: str) -> None:
    with running(Exchange(vendor, PRODUCTS[vendor], 900)) as exchange:
        rows: list[dict[str, Any]] = []
        first = opened(exchange)
        position, _ = gathered(first, 200, rows)
        for _ in range(5):
            first.poll(0.05)  # taken, and never committed
        first.close()
        time.sleep(0.2)  # trades happen meanwhile
        second = opened(exchange, position)
        gathered(second, 900, rows)
        second.close()
        assert sorted(keys(rows)) == sorted(truth(exchange))


def test_a_gap_that_cannot_be_filled_stays_said() -> None:
    exchange = Exchange("coinbase", ("BTC-USD",), 300, seed=5, fault_rate=0.02)
    with running(exchange):
        source = opened(exchange, refill=False)
        rows: list[dict[str, Any]] = []
        gathered(source, 10_000, rows, wait_s=6)
        source.close()
    gaps = [json.loads(row["body"]) for row in rows if row["type"] == "gap"]
    found = sum(gap["trades"] for gap in gaps if gap["state"] == "found")
    lost = sum(gap["trades"] for gap in gaps if gap["state"] == "open")
    assert found == lost > 0
    assert len(set(keys(rows))) == len(keys(rows)) == 300 - lost


def test_a_symbol_that_the_vendor_does_not_have_is_said() -> None:
    class Refusing(Exchange):
        def play(self, socket: Any, at: int, rng: Any) -> None:  # noqa: ARG002
            socket.send(
                json.dumps(
                    {"type": "error", "message": "Failed to subscribe", "reason": "FOO-USD is not a valid product"}
                )
            )

    with running(Refusing("coinbase", ("BTC-USD",), 5)) as exchange:
        source = opened(exchange)
        with pytest.raises(SettingsError, match="FOO-USD is not a valid product"):
            gathered(source, 100, [], wait_s=20)
        source.close()


def test_a_recording_of_a_faulty_feed_gives_the_same_rows_through_the_same_parser(tmp_path: Path) -> None:
    with running(Exchange("coinbase", PRODUCTS["coinbase"], 400)) as exchange:
        source = opened(exchange, record=tmp_path)
        rows: list[dict[str, Any]] = []
        gathered(source, 400, rows)
        source.close()
    again = RecordedSource(RecordingSettings(files=(str(tmp_path),)), "coinbase", lateness_ns=1)
    assert again.start(None).mode == "historical"
    polled = again.poll(0)
    replayed = [row for batch in polled.batches for row in batch.to_pylist()]
    assert keys(replayed) == keys(rows) == truth(exchange)
    assert [r["ingest_time_ns"] for r in replayed] == [r["ingest_time_ns"] for r in rows if r["type"] == "trade"]


def test_aggregates_alone_are_checked_and_refilled_by_their_own_ids() -> None:
    with running(Exchange("binance", PRODUCTS["binance"], 600, seed=3, fault_rate=0.02, aggregates=True)) as exchange:
        source = opened(exchange)
        rows: list[dict[str, Any]] = []
        position, _ = gathered(source, 600, rows)
        source.close()
        assert sorted(keys(rows)) == sorted(truth(exchange))
        assert json.loads(position or "{}")["aggregates"] == 1
        assert exchange.requests > 0


def test_a_position_of_single_trades_is_no_place_among_aggregates() -> None:
    with running(Exchange("binance", ("BTCUSDT",), 20, aggregates=True)) as exchange:
        source = opened(exchange, '{"BTCUSDT":[5000000,1]}')
        rows: list[dict[str, Any]] = []
        gathered(source, 20, rows)
        source.close()
        assert keys(rows) == truth(exchange)


def test_where_history_is_refused_the_newest_trades_fill_a_gap_all_the_same() -> None:
    exchange = Exchange("binance", ("BTCUSDT",), 400, seed=5, fault_rate=0.02, history_refused=True)
    with running(exchange):
        source = opened(exchange)
        rows: list[dict[str, Any]] = []
        gathered(source, 400, rows)
        source.close()
        assert sorted(keys(rows)) == sorted(truth(exchange))


def test_a_pair_that_stays_silent_is_asked_for_and_refused_by_name() -> None:
    with running(Exchange("binance", ("BTCUSDT", "XRPUSDT"), 100)) as exchange:
        exchange.tape = [trade for trade in exchange.tape if trade[0] == "BTCUSDT"]
        source = opened(exchange, silence_s=0.5)
        with pytest.raises(SettingsError, match=r"symbol=XRPUSDT.*Invalid symbol"):
            gathered(source, 1_000, [], wait_s=20)
        source.close()
