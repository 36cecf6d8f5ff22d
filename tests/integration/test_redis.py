"""The sink `redis` on a real Valkey server: what stands in its keys, and what it says of every fault."""

import contextlib
import json
import random
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import redis

from board_rows import row
from marketpulse.errors import Fatal, MarketPulseError, Retryable
from marketpulse.model.redis_keys import RedisKeys
from marketpulse.model.rows import indicators_schema
from marketpulse.model.tables import TABLES
from marketpulse.ports import SinkBatch
from marketpulse.query.recent_redis import RecentRowsOfRedis
from marketpulse.settings import Settings
from marketpulse.sinks.redis_plan import SPARE
from marketpulse.sinks.redis_store import RedisSink, open_redis
from refused import assert_raises
from sink_stores import free_port
from valkey_store import PASSWORD, ValkeyServer
from waiting import wait_until

DAY_S, TODAY_S = 86_400, 1_714_521_600
TODAY, YESTERDAY = "2024-05-01", "2024-04-30"
Row = dict[str, Any]


class Place:
    """One prefix on the server, and a log whose records are given row by row."""

    def __init__(self, server: ValkeyServer, **section: Any) -> None:
        self.settings = server.settings(**section)
        self.keys = RedisKeys(self.settings.prefix)
        self.client = server.client()
        self.sink: RedisSink = open_redis(self.settings)
        self._ends: dict[str, int] = {}

    def write(self, table: str, *rows: Row) -> None:
        """The next records of the table's topic; the other tables of the topic have none there."""
        topic = TABLES[table][0]
        first = self._ends.get(topic, 0)
        self._ends[topic] = end = first + len(rows)
        at = {"topic": topic, "partition": 0, "row": 0} if topic == "market" else {}
        for each in ("trades", "quotes") if topic == "market" else (table,):
            named = [n for n in rows[0] if n.startswith("sma")]
            schema = indicators_schema(named) if table == "indicators" else TABLES[each][1]
            some = [{"offset": first + i, **r, **at} for i, r in enumerate(rows)] if each == table else []
            self.sink.write(SinkBatch(each, topic, 0, first, end, pa.RecordBatch.from_pylist(some, schema)))

    def store(self, table: str, *rows: Row) -> None:
        self.write(table, *rows)
        self.sink.flush()

    def ranking(self, what: str, day: str = TODAY) -> list[tuple[str, float]]:
        return list(self.client.zrange(self.keys.ranking(what, day), 0, -1, withscores=True))

    def price(self, symbol: str, *names: str) -> list[str | None]:
        return list(self.client.hmget(self.keys.price(symbol), *names))

    def latest(self, table: str, *names: str) -> list[str | None]:
        """Of A's bars of a minute."""
        return list(self.client.hmget(self.keys.latest(table, "A", "1m"), *names))

    def closes(self, symbol: str, timeframe: str) -> list[float]:
        rows = self.client.zrange(self.keys.recent("bars", symbol, timeframe), 0, -1)
        return [json.loads(text)["close"] for text in rows]


@pytest.fixture
def place(valkey: ValkeyServer) -> Place:
    return Place(valkey)


def trade(symbol: str, time_s: float, price: float) -> Row:
    head = {"type": "trade", "symbol": symbol, "source": "test", "event_time_ns": int(time_s * 10**9)}
    return {**head, "price": price, "size": 2.0}


def minute(symbol: str, n: int, open_: float, close: float, volume: float, vwap: float, **other: Any) -> Row:
    prices = {"open": open_, "high": max(open_, close), "low": min(open_, close)}
    return row(symbol, "1m", TODAY_S + 60 * n, close, **prices, volume=volume, vwap=vwap, **other)


def withdrawn(of: Row) -> Row:
    gone = dict.fromkeys(("open", "high", "low", "close", "vwap"))
    return {**of, **gone, "volume": 0.0, "trade_count": 0, "revision": of["revision"] + 1}


def test_the_latest_price_or_quote_is_the_newest_by_event_time_and_has_nothing_of_an_older_one(place: Place) -> None:
    place.store("trades", trade("A", 10, 1.5), trade("A", 30, 0.1 + 0.2), trade("A", 20, 9.0))
    place.store("trades", trade("A", 29.5, 7.0), trade("B", 1, 5e-324))
    found = place.client.hgetall(place.keys.price("A"))
    assert (float(found["price"]), found["event_time_ns"], found["offset"]) == (0.1 + 0.2, "30000000000", "1")
    assert float(place.client.hget(place.keys.price("B"), "price")) == 5e-324
    place.store("trades", trade("A", 30, 8.0))  # the same time, later in the log
    assert place.price("A", "price") == ["8.0"]

    place.store("trades", {**trade("A", 40, 1.0), "venue": "XNYS", "trade_id": "7", "conditions": ["@", "T"]})
    assert place.price("A", "venue", "conditions") == ["XNYS", '["@","T"]']
    place.store("trades", trade("A", 41, 1.0))
    assert place.price("A", "venue", "trade_id", "conditions") == [None] * 3
    head = {"type": "quote", "symbol": "A", "source": "test"}
    book = {"bid_size": 1.0, "ask": 3.0, "ask_size": 4.0}
    place.store("quotes", {**head, "event_time_ns": 10**18 + 1, "bid": 2.5, **book})
    place.store("quotes", {**head, "event_time_ns": 10**18, "bid": 1.0, **book})
    assert place.client.hmget(place.keys.quote("A"), "bid", "ask") == ["2.5", "3.0"]


def test_a_series_keeps_its_newest_bars_in_order_and_the_latest_as_a_hash(valkey: ValkeyServer) -> None:
    place = Place(valkey, recent_bars=3)
    for first in (0, 40):
        place.store("bars", *(row("A", "1m", 60 * i, float(i)) for i in range(first, first + 40)))
    kept = 3 + SPARE
    assert place.closes("A", "1m") == [float(i) for i in range(80 - kept, 80)]
    assert place.latest("bars", "close", "open_time_ns") == ["79.0", str(79 * 60 * 10**9)]
    place.store("bars", row("A", "1m", 60, 5.5, revision=1))  # older than all that are kept
    assert len(place.closes("A", "1m")) == kept
    assert 5.5 not in place.closes("A", "1m")
    assert place.client.zscore(place.keys.symbols("1m"), "A") == 79 * 60 * 1_000


@pytest.mark.parametrize("together", [True, False])
def test_a_revision_replaces_its_bar_and_the_latest_follows_what_is_left(place: Place, together: bool) -> None:
    bars = [row("A", "1m", 60 * i, float(i)) for i in range(4)]
    changes = [{**bars[1], "close": 1.25, "revision": 1}, withdrawn(bars[3]), withdrawn(bars[2])]
    for some in ([*bars, *changes],) if together else (bars, *([c] for c in changes)):
        place.store("bars", *some)
    assert place.closes("A", "1m") == [0.0, 1.25]
    assert place.latest("bars", "close", "revision") == ["1.25", "1"]
    place.store("bars", withdrawn({**bars[1], "revision": 1}), withdrawn(bars[0]))
    assert place.closes("A", "1m") == []
    assert not place.client.exists(place.keys.latest("bars", "A", "1m"))
    place.store("bars", {**bars[2], "revision": 2})
    assert place.latest("bars", "close") == ["2.0"]


def test_bars_of_trades_may_share_an_open_time_and_the_latest_values_are_of_the_newest_bar(place: Place) -> None:
    first, second = (row("A", "1t", 60, float(i)) for i in (1, 2))
    second["receipt"] = {**second["receipt"], "last_row": 1}
    place.store("bars", first, second)
    assert sorted(place.closes("A", "1t")) == [1.0, 2.0]
    place.store("indicators", row("A", "1m", 0, 1.0, sma_2=None), row("A", "1m", 60, 2.0, sma_2=1.5))
    place.store("indicators", row("A", "1m", 0, 1.0, sma_3=7.0, revision=1))
    assert place.latest("indicators", "sma_2", "sma_3", "close") == ["1.5", None, "2.0"]
    assert place.client.zcard(place.keys.recent("indicators", "A", "1m")) == 2


def alert(state: str, time_s: int, revision: int = 0, rule: str = "dip") -> Row:
    times = {"open_time_ns": (time_s - 60) * 10**9, "event_time_ns": time_s * 10**9}
    head = {"symbol": "A", "rule": rule, "severity": "info", "timeframe": "1m", "message": '"state":"raised"'}
    return {**head, **times, "state": state, "late": False, "value": 1.0, "revision": revision}


def test_an_alert_is_active_from_its_raise_to_its_clearing_and_follows_what_is_withdrawn(place: Place) -> None:
    def active() -> dict[str, int]:
        found = place.client.hgetall(place.keys.alerts)
        return {name: json.loads(text)["event_time_ns"] // 10**9 for name, text in found.items()}

    place.store("alerts", alert("raised", 60), alert("raised", 60, rule="other"))
    assert active() == {"A dip": 60, "A other": 60}
    place.store("alerts", alert("cleared", 120))
    assert active() == {"A other": 60}
    place.store("alerts", alert("withdrawn", 120, revision=1))  # it was never cleared
    assert active() == {"A dip": 60, "A other": 60}
    place.store("alerts", alert("withdrawn", 60, revision=1), alert("withdrawn", 60, 1, rule="other"))
    assert active() == {}


def test_the_days_rankings_are_what_a_hand_calculation_gives(place: Place) -> None:
    place.store("bars", row("A", "1d", TODAY_S - DAY_S, 100.0, open=90.0, volume=7.0, vwap=95.0))
    place.store("bars", minute("A", 0, 101.0, 110.0, 10.0, 105.0), minute("B", 0, 50.0, 48.0, 4.0, 49.0))
    place.store("bars", minute("A", 1, 109.0, 104.0, 5.0, 106.0), minute("B", 2, 46.0, 45.0, 100.0, 45.5))
    # A: 104 against 100. B: no session before, so 45 against its open of 50.
    assert place.ranking("change") == [("B", -10.0), ("A", 4.0)]
    assert place.ranking("volume") == [("A", 15.0), ("B", 104.0)]
    assert place.ranking("value") == [("A", 105.0 * 10 + 106 * 5), ("B", 49.0 * 4 + 45.5 * 100)]
    assert place.ranking("volume", YESTERDAY) == [("A", 7.0)]
    assert place.client.zrevrange(place.keys.days, 0, 0) == [TODAY]
    names = ("session_date", "open", "high", "low", "close", "change", "reference")
    assert place.price("A", *names) == [TODAY, "101.0", "110.0", "101.0", "104.0", "4.0", "100.0"]
    assert "previous_close" not in place.client.hgetall(place.keys.price("B"))


def test_revisions_and_late_bars_move_the_rankings(place: Place) -> None:
    first = minute("A", 0, 101.0, 110.0, 10.0, 105.0)
    place.store("bars", row("A", "1d", TODAY_S - DAY_S, 100.0), first, minute("A", 5, 109.0, 104.0, 5.0, 106.0))
    place.store("bars", {**first, "high": 105.0, "volume": 12.0, "vwap": 104.0, "revision": 1})
    assert place.ranking("volume") == [("A", 17.0)]
    assert place.ranking("value") == [("A", 104.0 * 12 + 106 * 5)]
    assert place.price("A", "open", "high", "low", "close") == ["101.0", "109.0", "101.0", "104.0"]  # 110 was cancelled
    place.store("bars", minute("A", 2, 99.0, 98.0, 1.0, 98.5))  # a late trade where there was no bar
    assert place.ranking("volume") == [("A", 18.0)]
    assert place.price("A", "low", "close") == ["98.0", "104.0"]
    place.store("bars", row("A", "1d", TODAY_S - DAY_S, 80.0, revision=1))  # yesterday's close changes
    assert place.ranking("change") == [("A", 30.0)]


def test_a_day_whose_every_bar_was_withdrawn_is_in_no_ranking_and_its_own_bar_has_the_last_word(place: Place) -> None:
    small = minute("A", 0, 10.0, 11.0, 10.0, 10.5)
    place.store("bars", small)
    place.store("bars", withdrawn(small))
    assert [place.ranking(what) for what in ("change", "value", "volume")] == [[], [], []]
    assert place.client.zcard(place.keys.days) == 0
    assert "close" not in place.client.hgetall(place.keys.price("A"))
    small["revision"] = 2
    place.store("bars", small)
    assert place.client.hlen(place.keys.parts("A", TODAY)) == 1
    day = row("A", "1d", TODAY_S, 12.0, open=10.0, volume=11.0, vwap=10.75)
    place.store("bars", day)
    assert place.ranking("volume") == [("A", 11.0)]
    assert place.ranking("change") == [("A", 20.0)]
    assert not place.client.exists(place.keys.parts("A", TODAY))
    place.store("bars", {**small, "volume": 99.0, "revision": 3}, {**day, "volume": 100.0, "revision": 1})
    assert place.ranking("volume") == [("A", 100.0)]


def stream(seed: int) -> list[Row]:
    """Bars of three symbols over some days, in the order of a log: late ones, revised and withdrawn ones among them."""
    chance = random.Random(seed)
    told: dict[tuple[str, int], Row] = {}
    out = []
    for day in range(7):
        for n in range(30):
            symbol = chance.choice("ABC")
            at = minute(symbol, n * 7 + day * 1_440 - chance.choice((0, 0, 60)), 10.0, 1.0, 0.1, 1.0)
            key = symbol, at["open_time_ns"]
            revision = told[key]["revision"] + 1 if key in told else 0
            close = chance.uniform(5, 15)
            prices = {"open": close - 1, "high": close + 1, "low": close - 2, "close": close, "vwap": close * 1.01}
            told[key] = {**at, **prices, "volume": chance.uniform(0, 9), "revision": revision}
            out.append(told[key])
            if chance.random() < 0.2:
                key, old = chance.choice([item for item in list(told.items())[-20:] if item[1]["close"]])
                told[key] = withdrawn(old)
                out.append(told[key])
        for symbol in "AB" if day % 3 else "":
            out.append(row(symbol, "1d", TODAY_S + day * DAY_S, chance.uniform(5, 15)))
    return out


def content(place: Place) -> dict[str, Any]:
    """All keys but the offsets' and what only the sink reads."""
    client, found = place.client, {}
    for key in client.scan_iter(f"{place.settings.prefix}*", count=1_000):
        name = key.removeprefix(place.settings.prefix)
        match client.type(key):
            case "hash":
                found[name] = client.hgetall(key)
            case "set":
                found[name] = client.smembers(key)
            case _:
                found[name] = client.zrange(key, -10 if name.startswith("recent:") else 0, -1, withscores=True)
        if name.startswith("sessions:"):
            rows, own = {day: json.loads(text) for day, text in found[name].items()}, ("volume_parts", "value_parts")
            found[name] = {day: {k: v for k, v in row.items() if k not in own} for day, row in rows.items()}
    return found


@pytest.mark.parametrize("seed", range(3))
def test_however_the_stream_is_cut_the_store_holds_the_same(valkey: ValkeyServer, seed: int) -> None:
    rows, contents = stream(seed), []
    for cut in (1, 13, 10_000):
        place = Place(valkey, recent_bars=10)
        for first in range(0, len(rows), cut):
            place.store("bars", *rows[first : first + cut])
        contents.append(content(place))
        contents[-1].pop("offsets")
    assert contents[0] == contents[1] == contents[2]
    assert len(contents[0]["days"]) >= 5


def test_what_is_not_written_again_expires_and_what_is_asked_for_ever_stays(valkey: ValkeyServer) -> None:
    place = Place(valkey, expire="12h")
    everything = (
        ("trades", trade("A", 1, 1.0)), ("bars", minute("A", 0, 1.0, 1.0, 1.0, 1.0)),
        ("indicators", row("A", "1m", 0, 1.0, sma_2=1.0)), ("alerts", alert("raised", 60)),
    )  # fmt: skip
    for table, one in everything:
        place.store(table, one)
    stay = {place.keys.offsets, place.keys.timeframes, place.keys.alerts, place.keys.days, place.keys.symbols("1m")}
    left = {key: place.client.ttl(key) for key in place.client.scan_iter(f"{place.settings.prefix}*", count=1_000)}
    assert {key for key, seconds in left.items() if seconds == -1} == stay
    assert {seconds for key, seconds in left.items() if key not in stay} <= set(range(12 * 3_600 - 60, 12 * 3_600 + 1))
    place = Place(valkey, expire="never")
    place.store("trades", trade("A", 1, 1.0))
    assert place.client.ttl(place.keys.price("A")) == -1


def test_what_changes_is_published_once_it_can_be_read(place: Place) -> None:
    with place.client.pubsub(ignore_subscribe_messages=True) as listening:
        listening.psubscribe(place.keys.channel("*"))
        assert listening.get_message(timeout=10) is None  # the subscription itself

        def heard() -> dict[str, Any]:
            message = wait_until(lambda: listening.get_message(timeout=1), "something is published")
            return {message["channel"].removeprefix(place.keys.channel("")): json.loads(message["data"])}

        place.store("trades", trade("A", 2, 1.0), trade("A", 1, 2.0), trade("B", 1, 3.0))
        (prices,) = heard().values()
        assert sorted((r["symbol"], r["price"]) for r in prices) == [("A", 1.0), ("B", 3.0)]
        place.store("trades", trade("A", 1.5, 4.0))  # older: nothing changes
        bar = minute("A", 0, 1.0, 2.0, 1.0, 1.5)
        place.store("bars", *(minute("A", n, 1.0, 2.0, 1.0, 1.5) for n in range(450)), withdrawn(bar))
        rows = heard()["bars"]
        assert (len(rows), [r["close"] for r in rows[:2]]) == (450, [None, 2.0])
        assert heard()["sessions"][0]["volume"] == 449.0
        place.store("alerts", alert("raised", 60))
        assert [r["state"] for r in heard()["alerts"]] == ["raised"]
        place.store("bars", *(row("B", "1s", n, 1.0) for n in range(501)))
        assert [len(heard()["bars"]) for _ in range(2)] == [500, 1]


@pytest.fixture
def own_server(tmp_path: Path) -> Iterator[ValkeyServer]:
    """A server whose settings a test may change, without persistence."""
    directory = tmp_path / "valkey"
    directory.mkdir()
    server = ValkeyServer(directory, "--stop-writes-on-bgsave-error", "yes", durable=False)
    yield server
    server.kill()


def fault(place: Place, kind: type[MarketPulseError]) -> str:
    with pytest.raises(kind) as caught:
        place.store("trades", trade("A", 1, 1.0))
    assert PASSWORD not in str(caught.value)
    assert "nothing is lost" in str(caught.value).lower()
    return str(caught.value)


def test_a_full_server_a_replica_and_one_that_cannot_save_say_so(own_server: ValkeyServer, tmp_path: Path) -> None:
    place = Place(own_server)
    place.client.config_set("maxmemory", 1)
    assert "raise maxmemory" in fault(place, Retryable)
    assert place.client.keys(f"{place.settings.prefix}*") == []
    place.client.config_set("maxmemory", 0)
    place.sink.flush()
    assert place.price("A", "price") == ["1.0"]

    place.client.replicaof("127.0.0.1", 1)
    assert "is a replica: set sinks.redis.url to its primary" in fault(place, Retryable)
    place.client.replicaof("NO", "ONE")
    place.client.config_set("save", "1 1")
    place.sink.flush()
    shutil.rmtree(tmp_path / "valkey")

    def save_fails() -> bool:
        with contextlib.suppress(redis.ResponseError):  # one is running
            place.client.bgsave()
        return bool(place.client.info("persistence")["rdb_last_bgsave_status"] != "ok")

    wait_until(save_fails)
    assert "cannot save to its disk" in fault(place, Retryable)


def test_a_user_without_permission_or_without_password_is_told_what_is_missing(valkey: ValkeyServer) -> None:
    client = valkey.client()
    url = valkey.url.replace("redis://", "redis://watcher@")
    reads = {"passwords": ["+watching"], "keys": ["*"], "commands": ["+@read", "+script|load"]}
    client.acl_setuser("watcher", enabled=True, **reads)
    place = Place(valkey, url=url, password="watching")
    assert "docs/stores.md#redis" in fault(place, Fatal)
    page = (Path(__file__).parents[2] / "docs" / "stores.md").read_text().replace("\\|", "|")
    advised = re.search(r"`ACL SETUSER marketpulse on >… ~marketpulse:\* &marketpulse:\* (\+.*?)`", page)
    assert advised is not None
    only = [f"{place.settings.prefix}*"]
    writes = {"passwords": ["+watching"], "keys": only, "channels": only, "commands": advised[1].split()}
    client.acl_setuser("watcher", enabled=True, reset=True, **writes)
    allowed = Place(valkey, url=url, password="watching", prefix=place.settings.prefix)
    assert allowed.sink.resume() == {}
    allowed.store("trades", trade("A", 1, 1.0))
    allowed.store("bars", minute("A", 0, 1.0, 1.0, 1.0, 1.0), row("A", "1d", TODAY_S, 1.0))
    allowed.store("alerts", alert("raised", 60))
    reader = RecentRowsOfRedis(Settings(sinks={"redis": allowed.settings}), 10)
    assert reader.positions() == {("market", 0): 1, ("bars", 0): 2, ("alerts", 0): 1}
    assert [batch.rows.num_rows for batch in reader.batches()] == [1, 1]
    assert "a login is needed: set MARKETPULSE_SINKS__REDIS__PASSWORD" in fault(Place(valkey, password=None), Fatal)


def test_a_key_of_another_kind_and_a_cluster_are_refused(valkey: ValkeyServer, tmp_path: Path) -> None:
    place = Place(valkey)
    place.client.set(place.keys.price("A"), "mine")
    assert "sinks.redis.prefix" in fault(place, Fatal)
    options = ("--cluster-enabled", "yes", "--cluster-port", str(free_port()))
    node = ValkeyServer(tmp_path, *options, durable=False)
    try:
        assert "is a node of a cluster" in fault(Place(node), Fatal)
    finally:
        node.kill()


def test_a_server_that_lost_its_data_is_filled_again_and_a_loading_one_waited_for(own_server: ValkeyServer) -> None:
    place = Place(own_server)
    place.store("trades", trade("A", 1, 1.0))
    own_server.kill()
    own_server.start()
    place.write("trades", trade("A", 2, 2.0))
    for _ in range(2):  # until it is asked what it wants
        assert_raises(Retryable, "no longer stands where", place.sink.flush)
    assert_raises(Retryable, "rows before it are not stored", place.write, "trades", trade("A", 3, 3.0))
    assert place.sink.resume() == {}
    assert place.client.dbsize() == 0
    again = Place(own_server, prefix=place.settings.prefix)
    again.store("trades", trade("A", 1, 1.0), trade("A", 2, 2.0))
    assert place.price("A", "price") == ["2.0"]

    again.store("trades", *(trade(f"S{i}", 1, 1.0) for i in range(2_000)))
    again.client.save()
    own_server.kill()
    own_server.launch("--key-load-delay", "2000", "--loading-process-events-interval-bytes", "1024")

    def is_said() -> bool:
        with pytest.raises(Retryable) as caught:
            again.sink.resume()
        return "is loading its data" in str(caught.value)

    wait_until(is_said)


def test_of_one_instant_offset_10_is_newer_than_offset_9(place: Place) -> None:
    for offset, count in ((9, 10), (10, 1), (100, 90)):
        place.store("trades", *(trade("A", 10**9, offset + n / 100) for n in range(1 - count, 1)))
        assert place.price("A", "price", "offset") == [str(float(offset)), str(offset)]
