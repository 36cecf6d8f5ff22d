"""Feeds that need a key against a vendor with faults, and questions beside them: each trade and record comes once."""

import json
import random
import time
from typing import Any

import pytest
from pydantic import SecretStr

from exchange_server import gathered, running
from keyed_exchange import KEY, SECRET, AlpacaWords, FinnhubWords, Happened, KeyedExchange, PolygonWords
from marketpulse.errors import MarketPulseError, WrongKey
from marketpulse.model.timeframe import DAY_NS
from marketpulse.settings import AlpacaSettings, FinnhubSettings, KeyedStreamSettings, PolygonSettings
from marketpulse.sources.actions.ledger import Ledger
from marketpulse.sources.actions.told import iso
from marketpulse.sources.actions.vendors import AlpacaActions
from marketpulse.sources.news.ledger import NewsLedger
from marketpulse.sources.news.vendors import AlpacaNews
from marketpulse.sources.rest import Backoff, Rate, RestClient
from marketpulse.sources.streaming import timed
from marketpulse.sources.streaming.aside import Aside
from marketpulse.sources.streaming.timed import TimedSource
from marketpulse.sources.streaming.vendor import Credentials
from marketpulse.sources.streaming.vendors import TIMED
from vendor_server import Reply, Request, VendorServer, vendor

SYMBOLS = ("AAPL", "BRK.B")
KINDS: dict[str, tuple[Any, type[KeyedStreamSettings], dict[str, Any]]] = {
    "alpaca": (AlpacaWords(), AlpacaSettings, {}),
    "alpaca in MessagePack": (AlpacaWords(packed=True), AlpacaSettings, {"msgpack": True}),
    "polygon": (PolygonWords(), PolygonSettings, {}),
    "finnhub": (FinnhubWords(), FinnhubSettings, {}),
}
WITH_IDS = [kind for kind in KINDS if kind != "finnhub"]
TODAY = time.time_ns() // DAY_NS


def exchange_of(kind: str, trades: int, **more: Any) -> KeyedExchange:
    return KeyedExchange(KINDS[kind][0], SYMBOLS, trades, **more)


def opened(
    exchange: KeyedExchange, kind: str, position: str | None = None, aside: Any = None, **more: Any
) -> TimedSource:
    _, settings_class, own = KINDS[kind]
    settings = settings_class(
        symbols=exchange.symbols, url=exchange.url, rest_url=exchange.rest_url, quotes=False,
        **{"overlap_s": 0.2, "requests_per_minute": 6_000, **own, **more},
    )  # fmt: skip
    source = TimedSource(
        TIMED[str(settings.model_dump()["kind"])], settings, Credentials(SecretStr(KEY), SecretStr(SECRET)), "feed",
        2 * 10**9, backoff_s=(0.02, 0.2), settle_s=0.0, aside=aside,
    )  # fmt: skip
    assert source.start(position).mode == "live"
    return source


def keys(rows: list[dict[str, Any]]) -> list[tuple[str, int, float, float]]:
    """Up to the step that all feeds tell: a millisecond."""
    some = [row for row in rows if row["type"] == "trade"]
    return sorted((r["symbol"], r["event_time_ns"] // 10**6, r["price"], r["size"]) for r in some)


def truth(tape: list[Happened]) -> list[tuple[str, int, float, float]]:
    return sorted((t.symbol, t.at_ns // 10**6, t.price, t.size) for t in tape)


def gaps(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [json.loads(row["body"]) for row in rows if row["type"] == "gap"]


def untold(exchange: KeyedExchange, rows: list[dict[str, Any]]) -> tuple[set[Any], list[Any]]:
    """(the trades that did not come, those of them that stand in no gap that stays open)."""
    missing = set(truth(exchange.known())) - set(keys(rows))
    told = [(g["symbol"], g["from_ns"] // 10**6, g["to_ns"] // 10**6) for g in gaps(rows) if g["state"] == "open"]
    return missing, [t for t in missing if not any(t[0] == name and a <= t[1] <= b for name, a, b in told)]


@pytest.mark.parametrize("kind", KINDS)
def test_a_feed_without_faults_comes_whole_with_its_venues_and_no_question(kind: str) -> None:
    with running(exchange_of(kind, 200)) as exchange:
        source, rows = opened(exchange, kind), list[dict[str, Any]]()
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
        source, rows = opened(exchange, kind), list[dict[str, Any]]()
        gathered(source, 600, rows)
        gathered(source, 10_000, rows, wait_s=1.0)  # nothing more comes
        source.close()
        assert keys(rows) == truth(exchange.tape)
        assert {gap["state"] for gap in gaps(rows)} >= {"found", "healed"}
        assert exchange.connections > 1


@pytest.mark.parametrize("kind", WITH_IDS)
def test_a_restart_asks_for_what_happened_meanwhile_and_takes_none_twice(kind: str) -> None:
    with running(exchange_of(kind, 500)) as exchange:
        first, rows = opened(exchange, kind), list[dict[str, Any]]()
        position, _ = gathered(first, 100, rows)
        for _ in range(5):
            first.poll(0.05)  # taken, and never committed
        first.close()
        deadline, count = time.monotonic() + 30, len(exchange.known())
        while len(exchange.known()) < min(count + 50, 500) and time.monotonic() < deadline:
            time.sleep(0.005)  # trades happen meanwhile
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
        source, rows = opened(exchange, "finnhub"), list[dict[str, Any]]()
        gathered(source, 50, rows)
        exchange.fault_rate = 1.0
        gathered(source, 10**6, rows, wait_s=1)
        exchange.fault_rate = 0.0

        def is_told() -> bool:
            """It is connected anew, and the exchange's tape is over."""
            missing, left = untold(exchange, rows)
            return len(exchange.known()) == 300 and bool(missing) and not left

        gathered(source, is_told, rows)
        source.close()
    missing, left = untold(exchange, rows)
    assert missing
    assert left == []


def test_without_refill_what_was_lost_stays_said() -> None:
    with running(exchange_of("alpaca", 400, seed=4, fault_rate=0.05)) as exchange:
        source, rows = opened(exchange, "alpaca", refill=False), list[dict[str, Any]]()

        def is_told() -> bool:
            return len(exchange.known()) == 400 and not untold(exchange, rows)[1]

        gathered(source, is_told, rows)
        source.close()
    states = [gap["state"] for gap in gaps(rows)]
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
        source.silent_s = 1e9
        gathered(source, 40, [])
        source.silent_s = 0.0
        for _ in range(50):
            source.poll(0.02)
        source.close()
    assert [(one["event"], one["symbol"]) for one in said] == [("symbol_silent", "NONE")]


def told(request: Request) -> Reply:
    """Two splits of each symbol, one of them ahead, a dividend, and a piece of news about both."""
    symbol = request.parameters["symbols"]
    if request.path == "/v1beta1/news":
        at = f"{iso(TODAY)}T{time.strftime('%H:%M:%S', time.gmtime())}Z"
        piece = {"id": 7, "headline": "Both", "created_at": at, "url": "https://example.com/7", "symbols": [*SYMBOLS]}
        return Reply.json({"news": [piece], "next_page_token": None})
    assert request.path == "/v1/corporate-actions"
    splits = [{"symbol": symbol, "new_rate": 2, "old_rate": 1, "ex_date": iso(TODAY + days)} for days in (-40, 3)]
    paid = [{"symbol": symbol, "rate": rate, "ex_date": iso(TODAY)} for rate in (0.5, "")]
    return Reply.json({"corporate_actions": {"forward_splits": splits, "cash_dividends": paid}})


def beside(server: VendorServer) -> Aside:
    backoff = Backoff(0.01, 0.02, rng=random.Random(3))
    client = RestClient("feed", server.url, Rate(1_000, 1.0, burst=500), backoff=backoff)
    ledgers = Ledger(AlpacaActions(), "feed", SYMBOLS), NewsLedger(AlpacaNews(), "feed", SYMBOLS, 3_600)
    return Aside("feed", client, *ledgers, again_s=0.01)


def answered(
    server: VendorServer, position: Any, requests: int, polls_more: int = 0
) -> tuple[list[dict[str, Any]], list[str], Any]:
    """(what is told, dead letters, the position) when so many requests are answered, and nothing is under way."""
    aside, bodies, reasons = beside(server), list[dict[str, Any]](), list[str]()
    aside.start(position)
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        brought = aside.poll(time.time_ns())
        bodies += [dict(body) for body in brought.bodies]
        reasons += [item.reason for item in brought.rejected]
        if len(server.requests) >= requests and aside._asked is None:
            break
        time.sleep(0.002)
    for _ in range(polls_more):
        aside.poll(time.time_ns())
    position = json.loads(json.dumps(aside.position()))
    aside.close()
    aside.client.close()
    return bodies, reasons, position


def test_each_record_comes_once_over_faults_and_restarts() -> None:
    faults = [Reply(500), Reply(429, headers={"Retry-After": "0"}), Reply(200, b"<html></html>")]
    with vendor(lambda request: faults.pop() if faults else told(request)) as server:
        bodies, reasons, position = answered(server, {}, 7)
        assert sorted((b["type"], b["symbol"]) for b in bodies) == [
            ("dividend", "AAPL"), ("dividend", "BRK.B"), ("news", "AAPL"), ("split", "AAPL"), ("split", "BRK.B"),
        ]  # fmt: skip
        assert reasons == ["bad_answer", "bad_answer"]
        assert answered(server, position, 9)[0] == [], "the news are asked for again, and known"
        assert [r.path for r in server.requests[7:]] == ["/v1beta1/news"] * 2


def test_a_plan_without_records_is_said_and_asked_no_more_today() -> None:
    with vendor(lambda _: Reply.json({"message": "not in your plan"}, 422)) as server:
        bodies, _, _ = answered(server, {}, 4, polls_more=20)
        assert (bodies, len(server.requests)) == ([], 4)


@pytest.mark.parametrize("wanted", [True, False])
def test_records_stand_among_the_feeds_rows_and_in_its_position(wanted: bool) -> None:
    with vendor(told) as server, running(exchange_of("alpaca", 60)) as exchange:
        first, rows = opened(exchange, "alpaca", aside=lambda _, __: beside(server)), list[dict[str, Any]]()
        position, _ = gathered(first, lambda: len(rows) >= 65, rows, wait_s=30)
        first.close()
        kinds = [row["type"] for row in rows]
        assert [kinds.count(kind) for kind in ("trade", "split", "dividend", "news")] == [60, 2, 2, 1]
        second = opened(exchange, "alpaca", position, aside=(lambda _, __: beside(server)) if wanted else None)
        kept = json.loads(json.dumps({**second._intake.position()}))
        second.close()
        assert json.loads(position or "")["beside"] == kept["beside"], "also while it is not asked for"
