"""`produce` on the real broker: a file through kills, a foreign topic, a simulated market, a second start."""

import gzip
import io
import json
import random
import re
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, get_args

import fastavro
import httpx
import pytest
from pydantic import SecretStr, TypeAdapter

from bare_clients import BareTopic, bare_producer, transaction
from exchange_server import Exchange, Loopback, running
from feed_processes import FeedProcess
from given_settings import changed
from keyed_exchange import KEY, SECRET, AlpacaWords, FinnhubWords, KeyedExchange, PolygonWords
from marketpulse import settings as tree
from marketpulse.app.pipeline import process, report
from marketpulse.app.pipeline.produce import run
from marketpulse.model.market import COMPLETE
from marketpulse.settings import KafkaSourceSettings, ReplaySettings, Settings
from marketpulse.sources.defaults import bundled
from s3_server import Bucket
from stored_pipeline import Working
from vendor_messages import COINBASE
from vendor_server import Reply, Request, vendor, yahoo_chart
from waiting import wait_until


def committed(settings: Settings, topic: str = "market") -> list[tuple[int, dict[str, Any]]]:
    """(partition, record) of every committed record, in the order of each partition."""
    return [(record.partition, record.row) for record in BareTopic.of(settings, topic).committed()]


def of_type(settings: Settings, kind: str = "trade") -> list[dict[str, Any]]:
    return [r for _, r in committed(settings) if r["type"] == kind]


def foreign(settings: Settings, partitions: int) -> BareTopic:
    topic = BareTopic(settings.kafka.bootstrap_servers, f"{settings.kafka.topic_prefix}foreign")
    topic.make(partitions)
    return topic


def produced(
    settings: Settings, source: tree.AnySource, name: str, rows: int | None = None, *, again: bool = False,
    push: bytes = b"", wait: bool = False,
) -> tuple[int, str]:  # fmt: skip
    """Run `produce` in this process until it ends, or until so many rows are sent or refused: the exit code, and what it says."""
    life, out = Working.life_of(settings, name), io.StringIO()
    told = report.Report(name, shown=True, out=out)

    def stop_in_time() -> None:
        if push:
            wait_until(life.run_file.exists, "it listens")
            url, token = json.loads(life.run_file.read_text())["ingest_url"], {"Authorization": f"Bearer {WORD}"}
            httpx.post(url, content=push, headers=token, timeout=60, trust_env=False)
        wait_until(lambda: told.sent + told.refused.counts.total() >= (rows or 0), "all rows are sent")
        life.stop.set()

    if rows is not None:
        threading.Thread(target=stop_in_time, daemon=True).start()
    return run(settings, life, source, name, again=again, report=told, wait=wait), out.getvalue()


def test_a_replay_killed_again_and_again_brings_every_row_once(kafka_settings: Settings, tmp_path: Path) -> None:
    count = 6_000
    file = tmp_path / "ticks.csv"
    lines = [f"{1_767_366_000 + i},S{i % 7},{i + 1},{i}\n" for i in range(count)]
    lines.insert(3, "not,a,row\n")
    file.write_text("time,symbol,price,trade_id\n" + "".join(lines))
    source = ReplaySettings(files=(str(file),), speed="1500/s")
    kills, pause = 0, random.Random(4)
    with FeedProcess(kafka_settings, source, "x") as feed:
        while True:
            feed.start()
            try:
                assert feed.wait(pause.uniform(0.6, 1.3) if kills < 3 else 120) == 0
                break
            except subprocess.TimeoutExpired:
                feed.kill()
                kills += 1
    assert kills == 3
    records = committed(kafka_settings)
    trades = [r for _, r in records if r["type"] == "trade"]
    assert sorted(int(r["trade_id"]) for r in trades) == list(range(count))
    assert all(r["price"] == int(r["trade_id"]) + 1 and r["source"] == "replay-x" for r in trades)
    for partition in {p for p, _ in records}:
        own = [r for p, r in records if p == partition]
        ids = [int(r["trade_id"]) for r in own if r["type"] == "trade"]
        assert ids == sorted(ids)
        assert own[0]["type"] == "hello", "hello comes before the first row"
        assert [r["watermark_ns"] for r in own if r["type"] == "goodbye"] == [COMPLETE]
        assert {r["source"] for r in own if r["type"] != "clock"} == {"replay-x"}, "it is one source's"
        promised = 0
        for record in own:  # heartbeats never promise more than what follows keeps
            promised = max(promised, record["event_time_ns"]) if record["type"] == "heartbeat" else promised
            assert record["type"] != "trade" or record["event_time_ns"] > promised
    assert len({r["run_id"] for _, r in records if r["type"] == "hello"}) == 1
    (letter,) = [r for _, r in committed(kafka_settings, "dead-letters")]
    assert letter["value"] == "not,a,row"


def test_bundled_days_arrive_whole_and_once(kafka_settings: Settings, capfd: pytest.CaptureFixture[str]) -> None:
    source = ReplaySettings(files=(str(bundled("daily")),), speed="max")
    produced(kafka_settings, source, "daily")
    records = [r for _, r in committed(kafka_settings)]
    assert Counter(r["type"] for r in records if r["type"] not in {"heartbeat", "clock"}) == {
        "hello": 4, "goodbye": 4, "bar": 3_016, "dividend": 46, "split": 2,
    }  # fmt: skip
    aapl = [r for r in records if r["type"] == "bar" and r["symbol"] == "AAPL"]
    assert aapl[0]["close"] == 58.747143
    assert (aapl[0]["venue"], aapl[0]["session_date"], aapl[0]["timeframe"]) == ("XNAS", "2012-01-03", "1d")
    produced(kafka_settings, source, "daily")
    assert "use --again" in capfd.readouterr().err
    assert len(committed(kafka_settings)) == len(records)
    produced(kafka_settings, source, "daily", again=True)
    twice = [r for _, r in committed(kafka_settings)]
    assert sum(r["type"] == "bar" for r in twice) == 2 * 3_016
    assert len({r["run_id"] for r in twice if r["type"] == "hello"}) == 2


def test_files_of_a_bucket_are_replayed_whole_and_once(kafka_settings: Settings, s3_bucket: Bucket) -> None:
    for day in range(3):
        lines = "".join(f"{1_767_366_000 + 86_400 * day + i},AAA,{100 * day + i + 1}\n" for i in range(50))
        body = gzip.compress(f"time,symbol,price\n{lines}".encode())
        s3_bucket.server.client.put_object(Bucket=s3_bucket.name, Key=f"ticks/{day}.csv.gz", Body=body)
    settings = changed(kafka_settings, s3=tree.S3Settings(**s3_bucket.settings()))
    source = ReplaySettings(files=(f"{s3_bucket.url}/ticks/",), speed="max")
    for _ in range(2):  # the second time there is nothing left to do
        produced(settings, source, "bucket")
        wanted = [100.0 * day + i + 1 for day in range(3) for i in range(50)]
        assert sorted(r["price"] for r in of_type(settings)) == wanted
    assert not (settings.data_dir / "fetched" / "bucket").exists(), "nothing of them stays"


def test_foreign_avro_arrives_as_trades_and_goes_on_where_it_was(kafka_settings: Settings, tmp_path: Path) -> None:
    fields = [{"name": "sym", "type": "string"}, {"name": "px", "type": "double"},
              {"name": "at", "type": {"type": "long", "logicalType": "timestamp-millis"}}]  # fmt: skip
    schema = {"type": "record", "name": "Tick", "fields": fields}
    file = tmp_path / "tick.avsc"
    file.write_text(json.dumps(schema))
    topic = foreign(kafka_settings, 2)

    def value(i: int) -> bytes:
        stream = io.BytesIO(b"\0\0\0\0\1")
        stream.seek(0, io.SEEK_END)
        fastavro.schemaless_writer(stream, schema, {"sym": f"S{i % 3}", "px": i + 0.5, "at": 1_600_000_000_000 + i})
        return stream.getvalue()

    mapping = tree.Mapping(columns={"symbol": "sym", "price": "px", "time": "at"})
    source = KafkaSourceSettings(topic=topic.name, schema_file=file, mapping=mapping)
    topic.write([value(i) for i in range(0, 200, 2)] + [b'{"sym":"S0"}'], 0)
    produced(kafka_settings, source, "avro", 101)
    topic.write([value(i) for i in range(1, 200, 2)], 1)
    produced(kafka_settings, source, "avro", 100)
    trades = sorted((r["price"], r["symbol"], r["event_time_ns"]) for r in of_type(kafka_settings))
    assert trades == [(i + 0.5, f"S{i % 3}", (1_600_000_000_000 + i) * 1_000_000) for i in range(200)]
    ((_, letter),) = committed(kafka_settings, "dead-letters")
    assert (letter["reason"], letter["offset"]) == ("not_avro", 100)


def test_unkeyed_foreign_json_arrives_keyed_by_symbol_in_order_of_time(kafka_settings: Settings) -> None:
    topic = foreign(kafka_settings, 5)
    t0 = 1_600_000_000
    rows = [{"symbol": f"S{i % 3}", "price": f"{i + 1}.50", "volume": 2, "timestamp": t0 + i} for i in range(501)]
    for first in range(5):
        topic.write(rows[first:500:5], first * 7 % 5)
    topic.write([b"no json"], 0)
    source = KafkaSourceSettings(topic=topic.name)
    produced(kafka_settings, source, "foreign", 501)
    topic.write(rows[500:], 1)
    produced(kafka_settings, source, "foreign", 1)  # goes on behind what it had
    records = committed(kafka_settings)
    assert sorted(r["price"] for r in of_type(kafka_settings)) == [i + 1.5 for i in range(501)]
    assert {r["mode"] for _, r in records if r["type"] == "hello"} == {"historical"}
    for symbol in ("S0", "S1", "S2"):
        own = [(p, r["event_time_ns"]) for p, r in records if r.get("symbol") == symbol]
        assert len({p for p, _ in own}) == 1
        assert own == sorted(own)
    assert [r["offset"] for _, r in committed(kafka_settings, "dead-letters")] == [100]


def test_a_live_simulated_market_runs_and_stops_with_a_promise_that_it_kept(kafka_settings: Settings) -> None:
    produced(kafka_settings, tree.SimulateSettings(rate=300, symbols=6, quotes=False), "market", 201)
    records = committed(kafka_settings)
    assert {r["source"] for _, r in records if "source" in r} == {"simulate-market"}
    assert all(r["simulated"] and r["mode"] == "live" for _, r in records if r["type"] == "hello")
    trades = [r for _, r in records if r["type"] == "trade"]
    assert len(trades) > 200
    newest = max(r["event_time_ns"] for r in trades)
    goodbyes = [r["watermark_ns"] for _, r in records if r["type"] == "goodbye"]
    assert len(goodbyes) == 4
    assert all(newest <= w < newest + 5 * 10**9 for w in goodbyes)


WORD = "a-token-of-more-than-20-letters"
FATES = r"(\d+) rows read, (\d+) sent; the engine has accepted (\d+); (\d+) duplicates?, (\d+) dead letter"


@pytest.mark.usefixtures("kernels")
def test_every_row_of_every_source_is_accepted_or_a_counted_duplicate_or_a_dead_letter(
    kafka_settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = changed(kafka_settings, engine={"timeframes": ("1s",), "indicators": ""})
    numbers = [*range(40), 7, 8, 39]  # of trades: three of them come twice

    def table(symbol: str) -> bytes:
        lines = [f"{1_767_366_000 + i},{symbol},{i + 1},{i}" for i in numbers]
        return "\n".join(["time,symbol,price,trade_id", *lines, f"1767366001,{symbol},-1,x"]).encode()

    def objects(symbol: str) -> list[bytes]:
        rows = [{"symbol": symbol, "price": i + 1, "timestamp": 1_767_366_000 + i, "trade_id": str(i)} for i in numbers]
        return [json.dumps(row).encode() for row in [*rows, {**rows[0], "price": -1}]]

    def replayed(name: str, content: bytes) -> ReplaySettings:
        (tmp_path / f"{name}.csv").write_bytes(content)
        return ReplaySettings(files=(str(tmp_path / f"{name}.csv"),), speed="max")

    matches = [{**COINBASE["match"], "product_id": "REC-USD", "trade_id": i} for i in range(40)]
    (tmp_path / "rec.jsonl").write_text("".join(f"{json.dumps(match)}\n" for match in matches))
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(table("PIPE"))))
    topic = foreign(settings, 2)
    for i, value in enumerate(objects("TOPIC")):
        topic.write([value], i % 2)
    sources: dict[str, tuple[tree.AnySource, bytes, tuple[int, ...]]] = {
        "FILE": (replayed("FILE", table("FILE")), b"", (44, 43, 40, 3, 1)),
        "PIPE": (tree.StdinSettings(mode="historical"), b"", (44, 43, 40, 3, 1)),
        "TOPIC": (KafkaSourceSettings(topic=topic.name), b"", (44, 43, 40, 3, 1)),
        "PUSHED": (tree.HttpSettings(port=0, token=SecretStr(WORD)), b"\n".join(objects("PUSHED")), (44, 43, 0, 0, 44)),
        "REC-USD": (tree.RecordingSettings(files=(str(tmp_path / "rec.jsonl"),)), b"", (40, 40, 40, 0, 0)),
    }  # fmt: skip
    for patience, seconds in (("_PATIENCE_S", 0.5), ("_PATIENCE_STOPPED_S", 240)):
        monkeypatch.setattr(report, patience, seconds)
    first = replayed("first", table("FIRST").rpartition(b"\n")[0])
    line = "first: 43 rows read, 43 sent; no engine has read them yet: start `marketpulse up`, 0 dead letters\n"
    assert produced(settings, first, "first", wait=True) == (0, line)
    monkeypatch.setattr(report, "_PATIENCE_S", 240)
    with Working(settings, process.run):
        for symbol, (source, push, expected) in sources.items():
            code, lines = produced(settings, source, symbol.lower(), expected[0], push=push, wait=True)
            fates = re.search(FATES, lines)
            assert fates, lines
            assert tuple(map(int, fates.groups())) == expected, lines
            assert code == (expected[-1] > 0)
            assert expected[1] == sum(r["symbol"] == symbol for r in of_type(settings)), "counted in the log"
        bars = [r for _, r in committed(settings, "bars")]
    closed = {
        "PUSHED": 0,
        "TOPIC": 37,
    }  # one is live, and of another year; the other was stopped, 2 s (lateness) before its end
    for symbol in ("FIRST", *sources):  # what was accepted is in the bars: of each the last revision
        rows = {r["open_time_ns"]: r["trade_count"] for r in bars if r["symbol"] == symbol}
        assert sum(rows.values()) == closed.get(symbol, 40), symbol
    letters = [letter for _, letter in committed(settings, "dead-letters") if '"heartbeat"' not in letter["value"]]
    reasons = Counter(letter["reason"] for letter in letters)
    assert reasons == {"bad_price": 4, "past_time": 43}


@pytest.mark.usefixtures("kernels")
def test_rows_that_are_not_yet_readable_are_waited_for(
    kafka_settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As behind a commit whose marks are under way: nothing behind a transaction that is open can be read."""
    settings, out = changed(kafka_settings, engine={"timeframes": ("1m",), "indicators": ""}), io.StringIO()
    (tmp_path / "t.csv").write_text(
        "time,symbol,price\n" + "".join(f"{1_767_366_000 + i},A,{i + 1}\n" for i in range(40))
    )
    source, said = (
        ReplaySettings(files=(str(tmp_path / "t.csv"),), speed="max"),
        report.Report("t", shown=True, out=out),
    )
    life = Working.life_of(settings, "t")
    monkeypatch.setattr(report, "_PATIENCE_S", 240)
    opened = bare_producer(settings.kafka.bootstrap_servers, "open")
    with Working(settings, process.run), transaction(opened, keep=False):
        for partition in range(4):
            opened.produce(settings.topic("market"), b"{}", partition=partition)
        assert opened.flush(60) == 0
        feed = threading.Thread(target=run, args=(settings, life, source, "t"), kwargs={"report": said})
        feed.start()
        wait_until(lambda: "it has read 0 of 40" in (said._waiting or "") or not feed.is_alive())
        opened.abort_transaction()
        opened.begin_transaction()
        feed.join()
    assert "40 sent; the engine has accepted 40;" in out.getvalue()


BY_HAND = {"replay", "stdin", "kafka", "http", "recording"}  # their rows are written by the test above
MINUTES = range(1_767_366_000, 1_767_366_000 + 30 * 60, 60)  # 2026-01-02 15:00 UTC and on
OHLCV = ("open", "high", "low", "close", "volume")
FEEDS: dict[str, tuple[Loopback, str]] = {
    "coinbase": (Exchange("coinbase", ("BTC-USD",), 60), "BTC-USD"),
    "binance": (Exchange("binance", ("ETHUSDT",), 60), "ETH-USDT"),
    "alpaca": (KeyedExchange(AlpacaWords(), ("AAPL",), 60), "AAPL"),
    "polygon": (KeyedExchange(PolygonWords(), ("MSFT",), 60), "MSFT"),
    "finnhub": (KeyedExchange(FinnhubWords(), ("NVDA",), 60), "NVDA"),
}


def asked(request: Request) -> Reply:
    """The same thirty bars as each of the vendors writes them."""
    count = len(MINUTES)
    columns = {name: [2.0] * count for name in ("o", "h", "l", "c")} | {"v": [5] * count}
    if "chart" in request.path:
        return Reply.json(yahoo_chart(list(MINUTES), [100.0] * count, market_time=MINUTES[-1]))
    if request.path.startswith("/rest"):
        return Reply.json([{"t": t, **{name: values[0] for name, values in columns.items()}} for t in MINUTES])
    if "candle" in request.path:
        return Reply.json({"s": "ok", "t": list(MINUTES), **columns})
    rows = {f"2026-01-02 10:{i:02}:00": {f"{n + 1}. {name}": "2" for n, name in enumerate(OHLCV)} for i in range(count)}
    meta = {"2. Symbol": "AMD", "4. Interval": "1min", "6. Time Zone": "US/Eastern"}
    return Reply.json({"Meta Data": meta, "Time Series (1min)": dict(reversed(rows.items()))})


@contextmanager
def every_source() -> Iterator[dict[str, tuple[Any, int]]]:
    """Name -> the source and how many of its rows are waited for; `rest-again` has the bars of `rest`."""
    with ExitStack() as stack, vendor(asked) as server:
        vendors = {"every_s": 60, "settle_s": 0, "requests_per_minute": 6_000, "base_url": server.url}
        rest = tree.RestSettings(symbols=("IBM",), url=f"{server.url}/rest/{{symbol}}", every_s=60, settle_s=0)
        found: dict[str, tuple[Any, int]] = {
            "simulate": (tree.SimulateSettings(rate=50, symbols=3), 20), "rest": (rest, 29), "rest-again": (rest, 29),
            "yahoo": (tree.YahooSettings(symbols=("KO",), corporate_actions=False, **vendors), 29),
            "finnhub_bars": (tree.FinnhubBarsSettings(symbols=("F",), interval="1m", **vendors), 29),
            "alpha_vantage": (
                tree.AlphaVantageSettings(
                    symbols=("AMD",), function="intraday", interval="1min", spread=("00:00", "00:01"), **vendors
                ), 29,
            ),
        }  # fmt: skip
        for kind, (exchange, symbol) in FEEDS.items():
            stack.enter_context(running(exchange))
            own = {"symbols": (symbol,), "quotes": False, "url": exchange.url, "rest_url": exchange.rest_url}
            found[kind] = (TypeAdapter(tree.AnySource).validate_python({"kind": kind, **own}), 40)
        yield found


@pytest.mark.timeout(400)
@pytest.mark.usefixtures("kernels")
def test_what_any_kind_of_source_sends_is_accepted_or_a_counted_duplicate_or_a_dead_letter(
    kafka_settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = {"timeframes": ("1s", "1m"), "indicators": ""}
    keys = dict.fromkeys(("alpaca", "alpaca_secret", "polygon", "finnhub", "alpha_vantage"), KEY)
    settings = changed(
        kafka_settings, engine=engine, keys=tree.KeySettings.model_validate({**keys, "alpaca_secret": SECRET})
    )
    for patience in ("_PATIENCE_S", "_PATIENCE_STOPPED_S"):
        monkeypatch.setattr(report, patience, 240)
    kinds = {get_args(one.model_fields["kind"].annotation)[0] for one in get_args(get_args(tree.AnySource)[0])}
    with every_source() as sources, Working(settings, process.run):
        assert kinds == BY_HAND | {source.kind for source, _ in sources.values()}, "a new kind of source is tried here"
        for name, (source, count) in sources.items():
            code, lines = produced(settings, source, name, count, wait=True)
            fates = re.search(FATES, re.sub(r"(\d),(\d)", r"\1\2", lines))
            assert fates, lines
            _, sent, accepted, duplicates, dead = map(int, fates.groups())
            assert (sent, code) == (accepted + duplicates + dead, 0), lines
            assert sent >= count
            assert (duplicates, dead) == (sent if name == "rest-again" else 0, 0), lines
