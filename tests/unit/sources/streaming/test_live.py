"""Live feeds against exchanges with faults: whatever goes wrong, each trade and record comes out once; and a connection alone."""

import json
import random
import time
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from exchange_server import Exchange, gathered, running
from keyed_exchange import KEY, SECRET, AlpacaWords, FinnhubWords, Happened, KeyedExchange, PolygonWords
from marketpulse import settings as tree
from marketpulse.clock import SystemClock
from marketpulse.errors import MarketPulseError, SettingsError, WrongKey
from marketpulse.model.timeframe import DAY_NS
from marketpulse.sources.actions.ledger import Ledger
from marketpulse.sources.actions.told import iso
from marketpulse.sources.actions.vendors import AlpacaActions
from marketpulse.sources.news.ledger import NewsLedger
from marketpulse.sources.news.vendors import AlpacaNews
from marketpulse.sources.rest import Backoff, Rate, RestClient
from marketpulse.sources.streaming import timed
from marketpulse.sources.streaming.aside import Aside
from marketpulse.sources.streaming.coinbase import Coinbase
from marketpulse.sources.streaming.connection import Connection, Item
from marketpulse.sources.streaming.live import LiveSource
from marketpulse.sources.streaming.recorded import RecordedSource
from marketpulse.sources.streaming.timed import TimedSource
from marketpulse.sources.streaming.vendor import Credentials
from marketpulse.sources.streaming.vendors import TIMED, VENDORS, vendor_of
from marketpulse.telemetry import STREAM_OVERRUN, STREAM_RECONNECTS
from refused import assert_raises
from vendor_server import Reply, Request, VendorServer, vendor
from waiting import wait_until

Rows = list[dict[str, Any]]
PRODUCTS = {"coinbase": ("BTC-USD", "ETH-USD"), "binance": ("BTCUSDT", "ETHUSDT")}


def opened(exchange: Exchange, position: str | None = None, **more: Any) -> LiveSource:
    kind = tree.CoinbaseSettings if exchange.vendor == "coinbase" else tree.BinanceSettings
    given = {"silence_s": 0.8, **({"aggregates": True} if exchange.aggregates else {}), **more}
    settings = kind(symbols=exchange.products, url=exchange.url, rest_url=exchange.rest_url, **given)
    vendor = vendor_of(settings, exchange.vendor)
    source = LiveSource(vendor, settings, exchange.vendor, lateness_ns=2 * 10**9, backoff_s=(0.02, 0.2))
    assert source.start(position).mode == "live"
    return source


def all_of(exchange: Any, position: str | None = None, before: Any = (), **more: Any) -> tuple[Rows, str | None]:
    """(the rows, the newest position) of a source that runs until it has, with those before, all that trades."""
    source, rows = opened(exchange, position, **more), [*before]
    position, _ = gathered(source, len(exchange.tape), rows)
    assert source.watermark_ns() is not None
    source.close()
    return rows, position


def keys(rows: Rows) -> list[tuple[str, int, int, float, float]]:
    some = [row for row in rows if row["type"] == "trade"]
    return [(r["symbol"], int(r["trade_id"]), r["event_time_ns"], r["price"], r["size"]) for r in some]


def gaps(rows: Rows) -> Rows:
    return [json.loads(row["body"]) for row in rows if row["type"] == "gap"]


def truth(exchange: Exchange) -> list[tuple[str, int, int, float, float]]:
    vendor = VENDORS[exchange.vendor]
    return [(vendor.to_ours(p), n, at, float(price), float(size)) for p, n, at, price, size in exchange.tape]


def test_a_gap_that_cannot_be_filled_and_what_was_lost_without_refill_stay_said() -> None:
    with running(Exchange("coinbase", ("BTC-USD",), 300, seed=5, fault_rate=0.02, silence_s=0.6)) as exchange:
        source, rows = opened(exchange, refill=False, silence_s=0.4), Rows()

        def lost(state: str) -> int:
            return sum(gap["trades"] for gap in gaps(rows) if gap["state"] == state)

        gathered(source, lambda: len(keys(rows)) + lost("open") >= 300, rows)
        source.close()
    assert lost("found") == lost("open") > 0
    assert len(set(keys(rows))) == len(keys(rows)) == 300 - lost("open")
    with running(exchange_of("alpaca", 400, seed=4, fault_rate=0.05)) as by_time:
        timed, rows = keyed(by_time, "alpaca", refill=False), Rows()

        def is_told() -> bool:
            return len(by_time.known()) == 400 and not untold(by_time, rows)[1]

        gathered(timed, is_told, rows)
        timed.close()
    states = [gap["state"] for gap in gaps(rows)]
    assert states.count("found") == states.count("open") > 0
    assert set(keys_in_ms(rows)) < set(truth_in_ms(by_time.tape))


def test_a_recording_of_a_feed_gives_the_same_rows_through_the_same_parser(tmp_path: Path) -> None:
    with running(Exchange("coinbase", PRODUCTS["coinbase"], 400)) as exchange:
        rows, _ = all_of(exchange, record=tmp_path)
    again = RecordedSource(tree.RecordingSettings(files=(str(tmp_path),)), "coinbase", lateness_ns=1)
    assert again.start(None).mode == "historical"
    replayed = [row for batch in again.poll(0).batches for row in batch.to_pylist()]
    assert (keys(replayed), {row["venue"] for row in rows}) == (keys(rows), {"COINBASE"})
    assert keys(rows) == truth(exchange)
    assert [r["ingest_time_ns"] for r in replayed] == [r["ingest_time_ns"] for r in rows if r["type"] == "trade"]


def test_a_gap_is_filled_by_the_newest_trades_where_history_is_refused_and_aggregates_by_their_own_ids() -> None:
    with running(Exchange("binance", ("BTCUSDT",), 400, seed=5, fault_rate=0.02, history_refused=True)) as exchange:
        rows, _ = all_of(exchange)
        assert sorted(keys(rows)) == sorted(truth(exchange))
    with running(Exchange("binance", PRODUCTS["binance"], 600, seed=3, fault_rate=0.02, aggregates=True)) as exchange:
        rows, position = all_of(exchange)
        assert (sorted(keys(rows)), json.loads(position or "{}")["aggregates"]) == (sorted(truth(exchange)), 1)
        assert exchange.requests > 0
    with running(Exchange("binance", ("BTCUSDT",), 20, aggregates=True)) as exchange:
        rows, _ = all_of(exchange, '{"BTCUSDT":[5000000,1]}')
        assert keys(rows) == truth(exchange)


def test_a_pair_that_stays_silent_is_asked_for_and_refused_by_name_and_an_unknown_symbol_is_said() -> None:
    with running(Exchange("binance", ("BTCUSDT", "XRPUSDT"), 100)) as exchange:
        exchange.tape = [trade for trade in exchange.tape if trade[0] == "BTCUSDT"]
        source = opened(exchange, silence_s=0.5)
        assert_raises(SettingsError, r"symbol=XRPUSDT.*Invalid symbol", gathered, source, 1_000, [], wait_s=20)
        source.close()
    refusal = {"type": "error", "message": "Failed to subscribe", "reason": "FOO-USD is not a valid product"}

    class Refusing(Exchange):
        def play(self, socket: Any, at: int, rng: Any) -> None:  # noqa: ARG002
            socket.send(json.dumps(refusal))

    with running(Refusing("coinbase", ("BTC-USD",), 5)) as exchange:
        source = opened(exchange)
        assert_raises(SettingsError, "FOO-USD is not a valid product", gathered, source, 100, [], wait_s=20)
        source.close()


def made(exchange: Exchange, name: str, kept: list[Item], queue_max: int = 1_000) -> Connection:
    settings = tree.CoinbaseSettings(symbols=exchange.products, url=exchange.url)
    return Connection(
        name, exchange.url, Coinbase().subscribe(settings, exchange.products), None, 0.5, SystemClock(),
        Backoff(0.01, 0.05, random.Random(1)), keep=kept.append, queue_max=queue_max,
    )  # fmt: skip


class Silent(Exchange):
    """Says nothing after the subscription."""

    def play(self, socket: object, at: int, rng: random.Random) -> None:  # noqa: ARG002
        self.stop.wait()


def test_a_silent_exchange_is_left_and_asked_again_and_one_that_is_not_there_is_said() -> None:
    with running(Exchange("coinbase", ("BTC-USD",), 3)) as exchange:
        kept: list[Item] = []
    connection = made(exchange, "away", kept)
    connection.start()
    wait_until(lambda: sum(item.kind == "lost" for item in kept) >= 3, "it tries again")
    connection.close()
    assert f"cannot connect to {exchange.url}" in kept[0].text
    assert not connection.connected.is_set()
    with running(Silent("coinbase", ("BTC-USD",), 3)) as exchange:
        connection = made(exchange, "silent", [])
        connection.start()
        wait_until(lambda: exchange.connections >= 2, "it connects again")
        connection.close()
        assert STREAM_RECONNECTS.labels("silent", "silence")._value.get() >= 1
        assert "nothing was heard" in connection.trouble


def test_what_finds_the_queue_full_is_counted_and_recorded_all_the_same() -> None:
    with running(Exchange("coinbase", ("BTC-USD",), 50)) as exchange:
        kept: list[Item] = []
        connection = made(exchange, "full", kept, queue_max=5)
        connection.start()
        wait_until(lambda: sum(b'"match"' in item.data for item in kept) >= 49, "all trades come")
        connection.close()
        assert (connection.queue.qsize(), STREAM_OVERRUN.labels("full")._value.get()) == (5, len(kept) - 5)


SYMBOLS = ("AAPL", "BRK.B")
KINDS: dict[str, tuple[Any, Any, dict[str, Any]]] = {
    "alpaca": (AlpacaWords(), tree.AlpacaSettings, {}),
    "alpaca in MessagePack": (AlpacaWords(packed=True), tree.AlpacaSettings, {"msgpack": True}),
    "polygon": (PolygonWords(), tree.PolygonSettings, {}),
    "finnhub": (FinnhubWords(), tree.FinnhubSettings, {}),
}
WITH_IDS = [*PRODUCTS, *(kind for kind in KINDS if kind != "finnhub")]
TODAY = time.time_ns() // DAY_NS


def exchange_of(kind: str, trades: int, **more: Any) -> Any:
    if kind in PRODUCTS:
        return Exchange(kind, PRODUCTS[kind], trades, **more)
    return KeyedExchange(KINDS[kind][0], SYMBOLS, trades, **more)


def keyed(
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


def keys_in_ms(rows: Rows) -> list[tuple[str, int, float, float]]:
    """Up to the step that all feeds tell: a millisecond."""
    some = [row for row in rows if row["type"] == "trade"]
    return sorted((r["symbol"], r["event_time_ns"] // 10**6, r["price"], r["size"]) for r in some)


def truth_in_ms(tape: list[Happened]) -> list[tuple[str, int, float, float]]:
    return sorted((t.symbol, t.at_ns // 10**6, t.price, t.size) for t in tape)


def untold(exchange: KeyedExchange, rows: Rows) -> tuple[set[Any], list[Any]]:
    """(the trades that did not come, those of them that stand in no gap that stays open)."""
    missing = set(truth_in_ms(exchange.known())) - set(keys_in_ms(rows))
    told = [(g["symbol"], g["from_ns"] // 10**6, g["to_ns"] // 10**6) for g in gaps(rows) if g["state"] == "open"]
    return missing, [t for t in missing if not any(t[0] == name and a <= t[1] <= b for name, a, b in told)]


def feed_of(exchange: Any, kind: str, position: str | None = None) -> LiveSource | TimedSource:
    return keyed(exchange, kind, position) if kind in KINDS else opened(exchange, position)


def assert_whole(exchange: Any, rows: Rows) -> None:
    """Each trade came, and once."""
    if isinstance(exchange, KeyedExchange):
        assert keys_in_ms(rows) == truth_in_ms(exchange.tape)
    else:
        assert sorted(keys(rows)) == sorted(truth(exchange))


@pytest.mark.parametrize("kind", [*PRODUCTS, *KINDS])
def test_a_feed_without_faults_comes_whole_and_without_a_question(kind: str) -> None:
    with running(exchange_of(kind, 200)) as exchange:
        source, rows = feed_of(exchange, kind), Rows()
        _, reasons = gathered(source, 200, rows)
        assert source.watermark_ns() is not None
        source.close()
        assert_whole(exchange, rows)
        assert (reasons, exchange.requests) == ([], 0)
        assert kind not in WITH_IDS or len({(r["symbol"], r["trade_id"]) for r in rows}) == 200


@pytest.mark.parametrize("kind", WITH_IDS)
@pytest.mark.parametrize("seed", [1, 2])
def test_whatever_the_faults_each_trade_comes_out_once(kind: str, seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("marketpulse.sources.streaming.live._RATE", Rate(1_000, 1.0, burst=100))
    with running(exchange_of(kind, 800, seed=seed, fault_rate=0.03, rest_fault_rate=0.15)) as exchange:
        source, rows = feed_of(exchange, kind), Rows()
        gathered(source, 800, rows)
        gathered(source, 10_000, rows, wait_s=1.5)  # nothing more comes
        source.close()
        assert_whole(exchange, rows)
        assert {gap["state"] for gap in gaps(rows)} == {"found", "healed"}
        assert exchange.connections > 1


@pytest.mark.parametrize("kind", WITH_IDS)
def test_a_restart_goes_on_behind_the_last_committed_trade_and_takes_none_twice(kind: str) -> None:
    with running(exchange_of(kind, 500)) as exchange:
        first, rows = feed_of(exchange, kind), Rows()
        position, _ = gathered(first, 100, rows)
        for _ in range(5):
            first.poll(0.05)  # taken, and never committed
        first.close()
        enough = min(len(exchange.known()) + 50, 500)
        wait_until(lambda: len(exchange.known()) >= enough, "trades happen meanwhile")
        second = feed_of(exchange, kind, position)
        gathered(second, 500, rows)
        second.close()
        assert_whole(exchange, rows)


@pytest.mark.parametrize("kind", KINDS)
def test_a_key_that_has_expired_ends_the_source_and_stands_nowhere(kind: str) -> None:
    with running(exchange_of(kind, 5_000)) as exchange:
        source = keyed(exchange, kind)
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
        source, rows = keyed(exchange, "finnhub"), Rows()
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


def test_a_symbol_of_which_nothing_comes_is_named_once(monkeypatch: pytest.MonkeyPatch) -> None:
    said: Rows = []

    class Told:
        def warning(self, event: str, **fields: Any) -> None:
            said.append({"event": event, **fields})

        info = warning

    monkeypatch.setattr(timed, "get_logger", Told)
    with running(exchange_of("alpaca", 40)) as exchange:
        source = keyed(exchange, "alpaca")
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
        at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
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


def answered(server: VendorServer, position: Any, requests: int, polls_more: int = 0) -> tuple[Rows, list[str], Any]:
    """(what is told, dead letters, the position) when so many requests are answered, and nothing is under way."""
    aside, bodies, reasons = beside(server), Rows(), list[str]()
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


def test_each_record_comes_once_over_faults_and_restarts_and_a_plan_without_them_is_asked_no_more_today() -> None:
    faults = [Reply(500), Reply(429, headers={"Retry-After": "0"}), Reply(200, b"<html></html>")]
    with vendor(lambda request: faults.pop() if faults else told(request)) as server:
        bodies, reasons, position = answered(server, {}, 7)
        assert sorted((b["type"], b["symbol"]) for b in bodies) == [
            ("dividend", "AAPL"), ("dividend", "BRK.B"), ("news", "AAPL"), ("split", "AAPL"), ("split", "BRK.B"),
        ]  # fmt: skip
        assert reasons == ["bad_answer", "bad_answer"]
        assert answered(server, position, 9)[0] == [], "the news are asked for again, and known"
        assert [r.path for r in server.requests[7:]] == ["/v1beta1/news"] * 2
    with vendor(lambda _: Reply.json({"message": "not in your plan"}, 422)) as server:
        bodies, _, _ = answered(server, {}, 4, polls_more=20)
        assert (bodies, len(server.requests)) == ([], 4)


@pytest.mark.parametrize("wanted", [True, False])
def test_records_stand_among_the_feeds_rows_and_in_its_position(wanted: bool) -> None:
    with vendor(told) as server, running(exchange_of("alpaca", 60)) as exchange:
        first, rows = keyed(exchange, "alpaca", aside=lambda _, __: beside(server)), Rows()
        position, _ = gathered(first, lambda: len(rows) >= 65, rows)
        first.close()
        kinds = [row["type"] for row in rows]
        assert [kinds.count(kind) for kind in ("trade", "split", "dividend", "news")] == [60, 2, 2, 1]
        second = keyed(exchange, "alpaca", position, aside=(lambda _, __: beside(server)) if wanted else None)
        kept = json.loads(json.dumps({**second._intake.position()}))
        second.close()
        assert json.loads(position or "")["beside"] == kept["beside"], "also while it is not asked for"
