"""A foreign topic as a source, over a topic in memory that behaves as a broker's does; its records are JSON or Avro."""

import datetime as dt
import io
import json
from collections.abc import Iterator, Sequence
from decimal import Decimal
from pathlib import Path
from random import Random
from typing import Any

import fastavro
import numpy as np
import pytest
from pydantic import SecretStr

from marketpulse.clock import ManualClock
from marketpulse.errors import Fatal, Retryable
from marketpulse.model.market import COMPLETE
from marketpulse.ports import ForeignRecords, Hello, Polled
from marketpulse.settings import EngineSettings, KafkaSourceSettings, Mapping
from marketpulse.sources.arrivals import Arrivals
from marketpulse.sources.avro_rows import avro_reader
from marketpulse.sources.kafka_topic import KafkaTopicSource, begin_again
from marketpulse.sources.kafka_window import TopicReader, Window
from refused import assert_raises
from vendor_server import Reply, Request, VendorServer, vendor

NOW_S = 1_767_366_000
SECOND = 10**9


class TopicInMemory:
    """Partitions as lists; a poll hands over at most `step` records of each partition."""

    def __init__(self, clock: ManualClock, partitions: int = 2, step: int = 3) -> None:
        self.clock, self.step, self.away, self.created = clock, step, False, ""
        self.records: dict[int, list[tuple[int, bytes | None]]] = {p: [] for p in range(partitions)}
        self.next: dict[int, int] = {}

    def send(self, partition: int, value: Any, at_s: float | None = None) -> None:
        raw = value if isinstance(value, bytes | None) else json.dumps(value).encode()
        at_ms = self.clock.now_ns() // 1_000_000 if at_s is None else int(at_s * 1_000)
        self.records[partition].append((at_ms, raw))

    def seek(self, offsets: dict[int, int]) -> None:
        self.next = {p: offsets.get(p, 0) for p in self.records}

    def poll(self, timeout_s: float) -> Sequence[ForeignRecords]:
        if self.away:
            raise Retryable("the broker is away")
        found = []
        for p, records in self.records.items():
            start = self.next[p]
            some = records[start : start + self.step]
            if some:
                self.next[p] = start + len(some)
                offsets = list(range(start, start + len(some)))
                found.append(ForeignRecords("foreign", p, offsets, [r[0] for r in some], [r[1] for r in some]))
        if not found:
            self.clock.sleep(max(timeout_s, 0.001))
        return found

    def at_end(self) -> bool:
        return all(self.next[p] >= len(self.records[p]) for p in self.records)

    def close(self) -> None:
        self.next = {}


def opened(topic: TopicInMemory, position: str | None = None, **settings: Any) -> tuple[KafkaTopicSource, Hello]:
    """A source that has started, and how it said hello."""
    given = KafkaSourceSettings(topic="prices", **settings)
    source = KafkaTopicSource(given, topic, "kafka-prices", EngineSettings(), clock=topic.clock)
    return source, source.start(position)


def drained(source: KafkaTopicSource, polls: int = 40) -> tuple[list[dict[str, Any]], list[Polled]]:
    found = [source.poll(0.05) for _ in range(polls)]
    return [row for p in found for b in p.batches for row in b.to_pylist()], found


def all_of(topic: TopicInMemory, position: str | None = None, **more: Any) -> tuple[list[dict[str, Any]], list[Polled]]:
    """(rows, polls) of a source that begins at the position."""
    return drained(opened(topic, position, **more)[0])


def trade(second: float, symbol: str = "A", price: float = 1.0) -> dict[str, Any]:
    return {"symbol": symbol, "price": price, "volume": 2, "timestamp": NOW_S + second}


def bar(minute: int, close: str, symbol: str = "TSLA") -> dict[str, Any]:
    date = f"2026-01-02 10:{minute:02d}:00"
    return {"date": date, "symbol": symbol, "open": "1", "high": "9", "low": "1", "close": close}


@pytest.fixture
def topic() -> TopicInMemory:
    return TopicInMemory(ManualClock(NOW_S * SECOND))


def test_what_lies_in_several_partitions_comes_out_in_order_of_time(topic: TopicInMemory) -> None:
    for i in range(20):
        topic.send(i * 7 % 2, trade(i - 5_000_000))
    rows, polls = all_of(topic)
    assert [row["event_time_ns"] // SECOND for row in rows] == [NOW_S - 5_000_000 + i for i in range(20)]
    assert ({row["source"] for row in rows}, rows[0]["size"]) == ({"kafka-prices"}, 2.0)
    assert not any(p.rejected for p in polls)


def test_young_rows_are_live_old_ones_not_and_the_live_watermark_bears_the_delay_seen(topic: TopicInMemory) -> None:
    for age, mode in ((60, "live"), (90_000, "historical")):
        fresh = TopicInMemory(topic.clock)
        fresh.send(0, trade(-age))
        assert opened(fresh)[1].mode == mode
    assert opened(fresh, mode="live")[1].mode == "live"
    source = None
    for delay in (1, 9):
        topic.send(0, trade(-delay), at_s=NOW_S)
        source = source or opened(topic)[0]
        drained(source, 3)
        assert source.watermark_ns() == topic.clock.now_ns() - 2 * SECOND - delay * SECOND


def test_a_topic_that_is_empty_or_falls_silent_says_hello_again_with_the_next_row(topic: TopicInMemory) -> None:
    source, _ = opened(topic)
    assert drained(source)[0] == []
    for age_s in (5_000_000, 4_000_000):
        topic.send(0, trade(-age_s))
        rows, polls = drained(source)
        assert (len(rows), [p.hello.mode for p in polls if p.hello]) == (1, ["historical"])
        topic.clock.sleep(31)
        goodbyes = [p.goodbye_watermark_ns for p in drained(source)[1]]
        assert [at for at in goodbyes if at is not None] == [COMPLETE]


def test_records_that_do_not_map_are_set_aside_with_their_offset(topic: TopicInMemory) -> None:
    dear = {"symbol": "A", "price": "dear", "timestamp": NOW_S}
    for record in (trade(0), b"\x00\x00garbage", dear, None, trade(1)):
        topic.send(0, record)
    rows, polls = all_of(topic)
    assert len(rows) == 2
    assert [(r.origin, r.row, r.reason, r.value) for p in polls for r in p.rejected] == [
        ("prices", 1, "not_json", b"\x00\x00garbage"), ("prices", 2, "wrong_type", json.dumps(dear).encode()),
    ]  # fmt: skip


def test_arrays_and_mixed_records_in_one_topic_and_rows_without_a_symbol_are_understood(topic: TopicInMemory) -> None:
    topic.send(0, [trade(0), trade(1, "B")])
    topic.send(1, {"symbol": "A", "bid": 1, "ask": 2, "timestamp": NOW_S + 2})
    found = [(row["type"], row["symbol"]) for row in all_of(topic)[0]]
    assert found == [("trade", "A"), ("trade", "B"), ("quote", "A")]
    other = TopicInMemory(topic.clock)
    other.send(0, {"price": 1, "timestamp": NOW_S})
    assert [row["symbol"] for row in all_of(other)[0]] == ["PRICES"], "the topic's name"
    assert [row["symbol"] for row in all_of(other, mapping=Mapping(symbol="TSLA"))[0]] == ["TSLA"]


def test_a_poller_that_repeats_newest_first_ends_with_its_newest_word_on_each_bar(topic: TopicInMemory) -> None:
    topic.clock.sleep(40 * 86_400)
    for newest in (15, 20, 25):
        for minute in range(newest, 5, -5):
            topic.send(newest // 5 % 2, bar(minute, f"{minute}" if minute < newest else "2"), at_s=NOW_S + newest)
    rows, _ = all_of(topic, mapping=Mapping(timezone="America/New_York"))
    words = [
        [row["close"] for row in rows if row["open_time_ns"] == opened]
        for opened in dict.fromkeys(r["open_time_ns"] for r in rows)
    ]
    assert words == [[10.0, 10.0, 10.0], [2.0, 15.0, 15.0], [2.0, 20.0], [2.0]], "nothing that was sent is left out"
    assert {(row["timeframe"], row["volume"]) for row in rows} == {("5m", None)}
    assert rows[0]["open_time_ns"] == (NOW_S // 86_400 * 86_400 + 15 * 3_600 + 600) * SECOND


def test_random_daily_rows_one_at_a_time_are_daily_bars_from_the_first_and_all_come(topic: TopicInMemory) -> None:
    """As a tutorial's producer draws them, behind a first record that was only to try the topic out."""
    days = [dt.date(1990, 1, 1) + dt.timedelta(days=Random(7).randrange(9_000)) for _ in range(2)]
    days += [dt.date(1990, 1, 1) + dt.timedelta(days=at) for at in Random(8).sample(range(9_000), 60)]
    topic.send(0, {"surname": "nobody"})
    with pytest.raises(
        Retryable, match=r"topic prices: cannot tell.*surname.*--map.*it waits for rows that can be understood"
    ):
        opened(topic)
    source, sent, rejected = None, [], []
    for day in days:
        prices = {"Open": 1.0, "High": 2.0, "Low": 1.0, "Close": 2.0, "Adj Close": 2.0, "Volume": 0.0, "CloseUSD": 1.5}
        topic.send(0, {"Index": "HSI", "Date": f"{day}", **prices})
        source = source or opened(topic)[0]
        rows, polls = drained(source, 12)
        rejected += [item.row for polled in polls for item in polled.rejected]
        assert len(rows) == 1, "within the second in which it came"
        sent += rows
    assert [row["session_date"] for row in sent] == days
    assert ({row["timeframe"] for row in sent}, {row["volume"] for row in sent}, rejected) == ({"1d"}, {0.0}, [0])
    assert source is not None
    assert source.note == (
        "reads daily bars of HSI: Index, Date, Open, High, Low, Close, Volume; not used: Adj Close, CloseUSD, surname;"
        " change it in [sources.prices.mapping]"
    )


def test_a_length_not_yet_clear_waits_for_the_next_label_and_is_revised_by_finer_ones(topic: TopicInMemory) -> None:
    topic.clock.sleep(40 * 86_400)
    topic.send(0, bar(10, "2"))
    source, _ = opened(topic)
    assert drained(source)[0] == []
    topic.send(1, bar(15, "3"))
    assert [(row["close"], row["timeframe"]) for row in drained(source)[0]] == [(2.0, "5m"), (3.0, "5m")]
    for minute in (16, 17, 18):
        topic.send(0, bar(minute, "4"))
    assert {row["timeframe"] for row in drained(source)[0]} == {"1m"}, "what looked like five minutes was a hole"
    assert "1m bars of TSLA" in source.note
    midnight = {**bar(0, "2"), "date": "2025-01-02 00:00:00"}
    for labels, timeframe in (([midnight, {**midnight, "date": "2025-01-02 00:01:00"}], "1m"), ([midnight], "1d")):
        other = TopicInMemory(topic.clock)
        other.send(0, midnight)
        source, _ = opened(other)
        assert drained(source)[0] == [], "the first of many, or a day"
        for label in labels[1:]:
            other.send(0, label)
        topic.clock.sleep(61 if timeframe == "1d" else 0)
        assert [row["timeframe"] for row in drained(source)[0]] == [timeframe] * len(labels)


def test_a_date_of_no_clear_order_is_read_as_those_before_also_after_a_restart(topic: TopicInMemory) -> None:
    def trade_on(day: str) -> dict[str, Any]:
        return {"symbol": "A", "price": 1, "date": day}

    topic.send(0, trade_on("31/1/2020"))
    source, _ = opened(topic)
    assert drained(source)[1][0].position is not None
    topic.send(0, trade_on("1/2/2020"))
    rows, polls = drained(source)
    topic.send(0, trade_on("2/2/2020"))
    rows += all_of(topic, [p.position for p in polls if p.position][-1])[0]
    assert [dt.datetime.fromtimestamp(row["event_time_ns"] / SECOND, dt.UTC).day for row in rows] == [1, 2]


def test_a_restart_anywhere_goes_on_with_the_next_row(topic: TopicInMemory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("marketpulse.sources.kafka_topic.ROWS_MAX", 3)
    for i in range(10):
        topic.send(i % 2, trade(-5_000_000 + (i * 7) % 10))
    rows, polls = all_of(topic)
    assert len(rows) == 10
    sent = 0
    for polled in polls:
        sent += sum(b.num_rows for b in polled.batches)
        if polled.position is not None:
            rest, _ = all_of(topic, polled.position)
            assert [r["event_time_ns"] for r in rest] == [r["event_time_ns"] for r in rows[sent:]]


def test_what_comes_while_it_is_down_is_read_later_and_beginning_again_is_another_run(topic: TopicInMemory) -> None:
    for i in range(4):
        topic.send(i % 2, trade(-5_000_000 + i))
    position = [p.position for p in all_of(topic)[1] if p.position][-1]
    assert (all_of(topic, position)[0], len(all_of(topic, begin_again(position))[0])) == ([], 4)
    assert opened(topic, position)[1].run_id != opened(topic, begin_again(position))[1].run_id
    topic.send(1, trade(-4_999_990, price=2))
    assert [row["price"] for row in all_of(topic, position)[0]] == [2.0]


def test_the_watermark_stays_before_rows_that_wait(topic: TopicInMemory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("marketpulse.sources.kafka_topic.ROWS_MAX", 1)
    topic.send(0, [trade(second) for second in (-60, -59, -58)])
    source, _ = opened(topic)
    source.poll(0.05)
    assert (source.watermark_ns() or COMPLETE) < (NOW_S - 59) * SECOND


def test_a_broker_that_is_away_loses_nothing(topic: TopicInMemory) -> None:
    source, _ = opened(topic)
    topic.send(0, trade(0))
    topic.away = True
    assert_raises(Retryable, "", source.poll, 0.05)
    topic.away = False
    assert len(drained(source)[0]) == 1


def test_a_topic_that_went_while_its_first_window_was_sent_is_asked_for_by_what_was_read_of_it(
    topic: TopicInMemory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A seek without offsets may create the topic; the kept position begins at nothing and ends behind two rows."""
    asked: list[dict[int, int]] = []

    def missing(offsets: dict[int, int]) -> None:
        asked.append(offsets)
        raise Retryable("it does not exist any more")

    monkeypatch.setattr(topic, "seek", missing)
    assert_raises(Retryable, "", opened, topic, '{"stop":{"0":2},"row":1}')
    assert asked == [{0: 2}]


def test_the_promise_is_behind_by_the_lateness_and_by_how_late_rows_come_forgotten_after_five_minutes() -> None:
    def promised(arrivals: Arrivals, at_s: float, *delays_s: int, now_s: int = 500, lateness_s: int = 0) -> float:
        """What is promised once rows have come so late."""
        arrivals.note(np.array(delays_s, np.int64) * SECOND, at_s)
        return (arrivals.promise_ns(now_s * SECOND, lateness_s * SECOND) or 0) / SECOND

    early = {"now_s": 100, "lateness_s": 2}
    assert Arrivals().promise_ns(100 * SECOND, 2 * SECOND) is None, "before the first row"
    assert promised(Arrivals(), 0.0, -5, **early) == 98, "a row from the future promises nothing of it"
    arrivals = Arrivals()
    assert promised(arrivals, 0.0, 3, 3, **early) == 95
    assert promised(arrivals, 1.0, -1, **early) == 95, "the latest of the last minutes counts"
    assert promised(arrivals, 2.0, 30) == 470
    assert promised(arrivals, 402.0) == 470, "the last one is not forgotten"
    assert promised(arrivals, 403.0, 1) == 499


TICK = {
    "type": "record", "name": "Tick",
    "fields": [
        {"name": "sym", "type": "string"},
        {"name": "px", "type": {"type": "bytes", "logicalType": "decimal", "precision": 12, "scale": 4}},
        {"name": "qty", "type": ["null", "double"], "default": None},
        {"name": "at", "type": {"type": "long", "logicalType": "timestamp-micros"}},
        {"name": "side", "type": {"type": "enum", "name": "Side", "symbols": ["BUY", "SELL"]}},
    ],
}  # fmt: skip
LATER = {**TICK, "fields": [{"name": "venue", "type": "string"}, *TICK["fields"]]}  # the schema has moved on
T0 = dt.datetime(2026, 1, 2, 15, 30, 0, 123_456, tzinfo=dt.UTC)
T0_NS = 1_767_367_800_123_456_000


def bare(schema: dict[str, Any], **fields: Any) -> bytes:
    stream = io.BytesIO()
    row = {"sym": "AAPL", "px": Decimal("187.2501"), "qty": 3.0, "at": T0, "side": "BUY", **fields}
    fastavro.schemaless_writer(stream, fastavro.parse_schema(schema), row)
    return stream.getvalue()


def framed(number: int, value: bytes) -> bytes:
    return b"\0" + number.to_bytes(4, "big") + value


class Registry:
    """Confluent's API, as far as a reader needs it, on loopback."""

    status = 200

    def __call__(self, request: Request) -> Reply:
        number = int(request.path.rpartition("/")[2])
        if self.status != 200:
            return Reply.json({"error_code": self.status}, self.status)
        if number == 9:
            return Reply.json({"schemaType": "PROTOBUF", "schema": "message"})
        if number not in (7, 300):
            return Reply.json({"error_code": 40403, "message": "Schema not found"}, 404)
        return Reply.json({"schema": json.dumps(TICK if number == 7 else LATER)})


@pytest.fixture
def server() -> Iterator[VendorServer]:
    with vendor(Registry()) as running:
        yield running


def of_registry(server: VendorServer, **more: Any) -> KafkaSourceSettings:
    return KafkaSourceSettings(topic="ticks", schema_registry=f"{server.url}/apis/ccompat/v7", **more)


def decoded(settings: KafkaSourceSettings, *values: bytes) -> tuple[list[dict[str, Any]], list[Any], list[int]]:
    """(rows, what was set aside, the record of each row)."""
    reader = avro_reader(settings)
    assert reader is not None
    raw, of_record = reader.rows(list(values), settings.topic, list(range(50, 50 + len(values))))
    return raw.frame.to_dicts(), list(raw.broken), of_record


def test_each_record_is_read_by_its_own_schema_asked_for_once_and_mapped_as_json_is(server: VendorServer) -> None:
    values = framed(7, bare(TICK)), framed(300, bare(LATER, venue="XNAS", qty=None)), framed(7, bare(TICK))
    plain = {"sym": "AAPL", "px": "187.2501", "qty": 3.0, "at": T0_NS, "side": "BUY", "venue": None}
    rows = [plain, {**plain, "venue": "XNAS", "qty": None}, plain]
    assert decoded(of_registry(server), *values) == (rows, [], [0, 1, 2])
    asked = [(r.path, r.headers.get("authorization")) for r in server.requests]
    assert asked == [(f"/apis/ccompat/v7/schemas/ids/{n}", None) for n in (7, 300)]
    # Price to the digit, time to the microsecond
    mapping = Mapping(record="trade", columns={"symbol": "sym", "price": "px", "size": "qty", "time": "at"})
    reader = avro_reader(of_registry(server))
    assert reader is not None
    window = Window({0: 0})
    ticks = [framed(7, bare(TICK, px=Decimal(f"{price}.5"))) for price in (10, 11)]
    window.add([ForeignRecords("ticks", 0, [0, 1], [T0_NS // 10**6] * 2, ticks)])
    understood = TopicReader("ticks", mapping, decode=reader.rows).read(window, live=True)
    assert understood is not None
    (batch,) = understood.tape.batches(0, 2, "ticks", 0)
    found = [(r["symbol"], r["price"], r["size"], r["event_time_ns"]) for r in batch.to_pylist()]
    assert found == [("AAPL", 10.5, 3.0, T0_NS), ("AAPL", 11.5, 3.0, T0_NS)]


def test_the_login_goes_to_the_registry_and_into_no_text_and_one_that_is_away_is_waited_for() -> None:
    registry, record = Registry(), framed(7, bare(TICK))
    with vendor(registry) as server:
        settings = of_registry(server, registry_user="me", registry_password=SecretStr("s3cret"))
        decoded(settings, record)
        assert server.requests[0].headers["authorization"] == "Basic bWU6czNjcmV0"  # base64 of me:s3cret, by `base64`
        registry.status = 401
        with pytest.raises(Fatal, match=r"refuses us .*registry_password") as refused:
            decoded(settings, record)
        assert "s3cret" not in f"{refused.value}{settings!r}"
        registry.status = 503
        assert_raises(Retryable, "answered 503", decoded, of_registry(server), record)
    assert_raises(Retryable, "does not answer", decoded, of_registry(server), record)


@pytest.mark.parametrize(("value", "said"), [
    (b"", "zero byte"), (b'{"sym":"AAPL"}', "zero byte"), (framed(8, bare(TICK)), "has no schema 8"), (framed(9, b"\x0a"), "PROTOBUF"),
    (framed(7, bare(TICK)[:-1]), "not Avro of its schema"), (framed(7, bare(TICK) + b"\0"), "1 bytes are left over"),
    (framed(7, b"\xff" * 30), "not Avro of its schema"),
])  # fmt: skip
def test_a_value_that_is_no_avro_is_set_aside_and_others_stand(server: VendorServer, value: bytes, said: str) -> None:
    rows, (refused,), of_record = decoded(of_registry(server), framed(7, bare(TICK)), value)
    assert (len(rows), of_record) == (1, [0])
    assert (refused.reason, refused.row, refused.value) == ("not_avro", 51, value)
    assert said in refused.detail


def test_a_file_may_hold_the_schema_and_one_without_is_named(tmp_path: Path) -> None:
    settings = KafkaSourceSettings(topic="ticks", schema_file=tmp_path / "tick.avsc")
    assert_raises(Fatal, r"tick\.avsc cannot be read: No such file", avro_reader, settings)
    for text in ("{", '{"type": "rekord"}'):
        (tmp_path / "tick.avsc").write_text(text)
        assert_raises(Fatal, r"tick\.avsc holds no Avro schema", avro_reader, settings)
    (tmp_path / "tick.avsc").write_text(json.dumps(TICK))
    for header, value in ((True, framed(1, bare(TICK))), (False, bare(TICK))):
        ((row,), broken, _) = decoded(settings.model_copy(update={"schema_header": header}), value)
        assert (row["sym"], row["px"], broken) == ("AAPL", "187.2501", [])
    assert avro_reader(KafkaSourceSettings(topic="ticks")) is None, "with neither it is JSON"
