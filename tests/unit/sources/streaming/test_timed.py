"""Feeds that need a key against a vendor with faults: whatever goes wrong, each trade comes out once."""

import json
import time
from typing import Any

import pytest
from pydantic import SecretStr

from keyed_exchange import (
    KEY,
    SECRET,
    AlpacaWords,
    Dialect,
    FinnhubWords,
    Happened,
    KeyedExchange,
    PolygonWords,
    running,
)
from marketpulse.errors import MarketPulseError, WrongKey
from marketpulse.settings import AlpacaSettings, FinnhubSettings, KeyedStreamSettings, PolygonSettings
from marketpulse.sources.streaming import timed
from marketpulse.sources.streaming.timed import TimedSource
from marketpulse.sources.streaming.vendor import Credentials
from marketpulse.sources.streaming.vendors import TIMED

SYMBOLS = ("AAPL", "BRK.B")
KINDS: dict[str, tuple[Dialect, type[KeyedStreamSettings], dict[str, Any]]] = {
    "alpaca": (AlpacaWords(), AlpacaSettings, {}),
    "alpaca in MessagePack": (AlpacaWords(packed=True), AlpacaSettings, {"msgpack": True}),
    "polygon": (PolygonWords(), PolygonSettings, {}),
    "finnhub": (FinnhubWords(), FinnhubSettings, {}),
}
WITH_IDS = [kind for kind in KINDS if kind != "finnhub"]


def exchange_of(kind: str, trades: int, **more: Any) -> KeyedExchange:
    return KeyedExchange(KINDS[kind][0], SYMBOLS, trades, **more)


def opened(exchange: KeyedExchange, kind: str, position: str | None = None, **more: Any) -> TimedSource:
    _, settings_class, own = KINDS[kind]
    settings = settings_class(
        symbols=exchange.symbols, url=exchange.url, rest_url=exchange.rest_url, quotes=False,
        **{"overlap_s": 0.2, "requests_per_minute": 6_000, **own, **more},
    )  # fmt: skip
    source = TimedSource(
        TIMED[str(settings.model_dump()["kind"])], settings, Credentials(SecretStr(KEY), SecretStr(SECRET)), "feed",
        2 * 10**9, backoff_s=(0.02, 0.2), settle_s=0.0,
    )  # fmt: skip
    assert source.start(position).mode == "live"
    return source


def gathered(
    source: TimedSource, enough: int, into: list[dict[str, Any]], wait_s: float = 60
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


def keys(rows: list[dict[str, Any]]) -> list[tuple[str, int, float, float]]:
    """Up to the step that all feeds tell: a millisecond."""
    return sorted(
        (r["symbol"], r["event_time_ns"] // 10**6, r["price"], r["size"]) for r in rows if r["type"] == "trade"
    )


def truth(tape: list[Happened]) -> list[tuple[str, int, float, float]]:
    return sorted((t.symbol, t.at_ns // 10**6, t.price, t.size) for t in tape)


@pytest.mark.parametrize("kind", KINDS)
def test_a_feed_without_faults_comes_whole_with_its_venues_and_no_question(kind: str) -> None:
    with running(exchange_of(kind, 200)) as exchange:
        source = opened(exchange, kind)
        rows: list[dict[str, Any]] = []
        _, reasons = gathered(source, 200, rows)
        assert source.watermark_ns() is not None
        source.close()
        assert keys(rows) == truth(exchange.tape)
        assert (reasons, exchange.requests) == ([], 0)
        if kind in WITH_IDS:
            assert len({(r["symbol"], r["trade_id"]) for r in rows}) == 200


@pytest.mark.parametrize("kind", WITH_IDS)
@pytest.mark.parametrize("seed", [1, 2])
def test_whatever_the_faults_each_trade_comes_out_once(kind: str, seed: int) -> None:
    with running(exchange_of(kind, 600, seed=seed, fault_rate=0.03, rest_fault_rate=0.1)) as exchange:
        source = opened(exchange, kind)
        rows: list[dict[str, Any]] = []
        gathered(source, 600, rows)
        for _ in range(20):  # nothing more comes
            rows += [row for batch in source.poll(0.05).batches for row in batch.to_pylist()]
        source.close()
        assert keys(rows) == truth(exchange.tape)
        gaps = [json.loads(row["body"]) for row in rows if row["type"] == "gap"]
        assert {gap["state"] for gap in gaps} >= {"found", "healed"}
        assert exchange.connections > 1


@pytest.mark.parametrize("kind", WITH_IDS)
def test_a_restart_asks_for_what_happened_meanwhile_and_takes_none_twice(kind: str) -> None:
    with running(exchange_of(kind, 500)) as exchange:
        rows: list[dict[str, Any]] = []
        first = opened(exchange, kind)
        position, _ = gathered(first, 100, rows)
        for _ in range(5):
            first.poll(0.05)  # taken, and never committed
        first.close()
        time.sleep(0.3)  # trades happen meanwhile
        second = opened(exchange, kind, position)
        gathered(second, 500, rows, wait_s=20)
        second.close()
        assert keys(rows) == truth(exchange.tape)


@pytest.mark.parametrize("kind", KINDS)
def test_a_key_that_has_expired_ends_the_source_and_stands_nowhere(kind: str) -> None:
    with running(exchange_of(kind, 5_000)) as exchange:
        source = opened(exchange, kind)
        gathered(source, 20, [])
        exchange.key = "another"
        exchange.fault_rate = 1.0  # which ends the connection soon
        with pytest.raises(MarketPulseError, match="does not accept the key") as raised:
            gathered(source, 10_000, [], wait_s=30)
        source.close()
        assert isinstance(raised.value, WrongKey)
        assert KEY not in str(raised.value)
        assert SECRET not in repr(source)


def test_a_vendor_without_history_says_when_it_was_away() -> None:
    with running(exchange_of("finnhub", 300)) as exchange:
        source = opened(exchange, "finnhub")
        rows: list[dict[str, Any]] = []
        gathered(source, 50, rows)
        exchange.fault_rate = 1.0
        gathered(source, 10**6, rows, wait_s=1)
        exchange.fault_rate = 0.0
        for _ in range(30):  # until it is connected anew, and the exchange's tape is over
            gathered(source, 10**6, rows, wait_s=3)
            missing = set(truth(exchange.tape)) - set(keys(rows))
            if missing and not [one for one in missing if not away(one, rows)]:
                break
        source.close()
    assert missing
    assert [one for one in missing if not away(one, rows)] == []


def away(trade: tuple[Any, ...], rows: list[dict[str, Any]]) -> bool:
    """Whether a gap that stays open is told to hold the trade."""
    told = [json.loads(row["body"]) for row in rows if row["type"] == "gap"]
    return any(
        gap["state"] == "open"
        and gap["symbol"] == trade[0]
        and gap["from_ns"] // 10**6 <= trade[1] <= gap["to_ns"] // 10**6
        for gap in told
    )


def test_without_refill_what_was_lost_stays_said() -> None:
    with running(exchange_of("alpaca", 400, seed=4, fault_rate=0.05)) as exchange:
        source = opened(exchange, "alpaca", refill=False)
        rows: list[dict[str, Any]] = []
        gathered(source, 400, rows, wait_s=6)
        source.close()
    states = [json.loads(row["body"])["state"] for row in rows if row["type"] == "gap"]
    assert states.count("found") == states.count("open") > 0
    assert set(keys(rows)) < set(truth(exchange.tape))


def test_a_symbol_of_which_nothing_comes_is_named_once(monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[dict[str, Any]] = []

    class Told:
        def warning(self, event: str, **fields: Any) -> None:
            said.append({"event": event, **fields})

        info = warning

    monkeypatch.setattr(timed, "get_logger", Told)
    with running(exchange_of("alpaca", 40)) as exchange:
        source = opened(exchange, "alpaca")
        source._unheard = {"AAPL", "NONE"}
        rows: list[dict[str, Any]] = []
        source.silent_s = 1e9
        gathered(source, 40, rows)
        source.silent_s = 0.0
        for _ in range(50):
            source.poll(0.02)
        source.close()
    assert [(one["event"], one["symbol"]) for one in said] == [("symbol_silent", "NONE")]
