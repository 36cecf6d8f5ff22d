"""A foreign topic as a source, over a topic in memory that behaves as a broker's does."""

import json
from collections.abc import Sequence
from typing import Any

import pytest

from marketpulse.clock import ManualClock
from marketpulse.errors import Fatal, Retryable
from marketpulse.model.market import COMPLETE
from marketpulse.ports import ForeignRecords, Polled
from marketpulse.settings import EngineSettings, KafkaSourceSettings, Mapping
from marketpulse.sources.kafka_topic import KafkaTopicSource, begin_again

NOW_S = 1_767_366_000
SECOND = 10**9


class TopicInMemory:
    """Partitions as lists; a poll hands over at most `step` records of each partition."""

    def __init__(self, clock: ManualClock, partitions: int = 2, step: int = 3) -> None:
        self.clock = clock
        self.step = step
        self.records: dict[int, list[tuple[int, bytes | None]]] = {p: [] for p in range(partitions)}
        self.next: dict[int, int] = {}
        self.away = False

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


def opened(
    topic: TopicInMemory, position: str | None = None, mapping: Mapping | None = None, **settings: Any
) -> KafkaTopicSource:
    source = KafkaTopicSource(
        KafkaSourceSettings(topic="prices", mapping=mapping or Mapping(), **settings), topic, "kafka-prices",
        EngineSettings(), clock=topic.clock,
    )  # fmt: skip
    source.start(position)
    return source


def drained(source: KafkaTopicSource, polls: int = 40) -> tuple[list[dict[str, Any]], list[Polled]]:
    found = [source.poll(0.05) for _ in range(polls)]
    return [row for p in found for b in p.batches for row in b.to_pylist()], found


def trade(second: float, symbol: str = "A", price: float = 1.0) -> dict[str, Any]:
    return {"symbol": symbol, "price": price, "volume": 2, "timestamp": NOW_S + second}


@pytest.fixture
def topic() -> TopicInMemory:
    return TopicInMemory(ManualClock(NOW_S * SECOND))


def test_what_lies_in_several_partitions_comes_out_in_order_of_time(topic: TopicInMemory) -> None:
    for i in range(20):
        topic.send(i * 7 % 2, trade(i - 5_000_000))
    source = opened(topic)
    rows, polls = drained(source)
    assert [row["event_time_ns"] // SECOND for row in rows] == [NOW_S - 5_000_000 + i for i in range(20)]
    assert {row["source"] for row in rows} == {"kafka-prices"}
    assert rows[0]["size"] == 2.0
    assert not any(p.rejected for p in polls)


def test_young_rows_are_live_and_old_ones_historical(topic: TopicInMemory) -> None:
    settings = KafkaSourceSettings(topic="prices")
    for age, mode in ((60, "live"), (90_000, "historical")):
        fresh = TopicInMemory(topic.clock)
        fresh.send(0, trade(-age))
        source = KafkaTopicSource(settings, fresh, "k", EngineSettings(), clock=topic.clock)
        assert source.start(None).mode == mode
    forced = KafkaTopicSource(
        KafkaSourceSettings(topic="prices", mode="live"), fresh, "k", EngineSettings(), clock=topic.clock
    )
    assert forced.start(None).mode == "live"


def test_a_topic_that_is_empty_at_first_says_hello_again_when_its_rows_are_old(topic: TopicInMemory) -> None:
    source = opened(topic)
    assert drained(source)[0] == []
    topic.send(0, trade(-90_000))
    rows, polls = drained(source)
    assert len(rows) == 1
    assert [p.hello.mode for p in polls if p.hello] == ["historical"]


def test_records_that_do_not_map_are_set_aside_with_their_offset(topic: TopicInMemory) -> None:
    topic.send(0, trade(0))
    topic.send(0, b"\x00\x00garbage")
    topic.send(0, {"symbol": "A", "price": "dear", "timestamp": NOW_S})
    topic.send(0, None)
    topic.send(0, trade(1))
    rows, polls = drained(opened(topic))
    rejected = [r for p in polls for r in p.rejected]
    assert len(rows) == 2
    assert [(r.origin, r.row, r.reason, r.value) for r in rejected] == [
        ("prices", 1, "not_json", b"\x00\x00garbage"),
        ("prices", 2, "wrong_type", json.dumps({"symbol": "A", "price": "dear", "timestamp": NOW_S}).encode()),
    ]


def test_arrays_and_mixed_records_in_one_topic_are_understood(topic: TopicInMemory) -> None:
    topic.send(0, [trade(0), trade(1, "B")])
    topic.send(1, {"symbol": "A", "bid": 1, "ask": 2, "timestamp": NOW_S + 2})
    rows, _ = drained(opened(topic))
    assert [(row["type"], row["symbol"]) for row in rows] == [("trade", "A"), ("trade", "B"), ("quote", "A")]


def test_a_row_without_a_symbol_takes_the_configured_one_or_the_topics_name(topic: TopicInMemory) -> None:
    topic.send(0, {"price": 1, "timestamp": NOW_S})
    assert drained(opened(topic))[0][0]["symbol"] == "PRICES"
    assert drained(opened(topic, mapping=Mapping(symbol="TSLA")))[0][0]["symbol"] == "TSLA"


def bar(minute: int, close: str, symbol: str = "TSLA") -> dict[str, Any]:
    return {
        "date": f"2026-01-02 10:{minute:02d}:00",
        "symbol": symbol,
        "open": "1",
        "high": "9",
        "low": "1",
        "close": close,
    }


def test_a_poller_that_sends_newest_first_again_and_again_gives_each_bar_once(topic: TopicInMemory) -> None:
    topic.clock.sleep(40 * 86_400)
    for newest in (15, 20, 25):
        for minute in range(newest, 5, -5):
            topic.send(newest // 5 % 2, bar(minute, f"{minute}" if minute < newest else "2"))
    rows, _ = drained(opened(topic, mapping=Mapping(timezone="America/New_York")))
    assert [row["close"] for row in rows] == [10.0, 15.0, 20.0, 2.0]
    assert {row["timeframe"] for row in rows} == {"5m"}
    assert rows[0]["open_time_ns"] == (NOW_S // 86_400 * 86_400 + 15 * 3_600 + 600) * SECOND


def test_the_first_bar_waits_for_the_second_to_tell_its_length(topic: TopicInMemory) -> None:
    topic.clock.sleep(40 * 86_400)
    topic.send(0, bar(10, "2"))
    source = opened(topic)
    assert drained(source)[0] == []
    topic.send(1, bar(15, "3"))
    assert [(row["close"], row["timeframe"]) for row in drained(source)[0]] == [(2.0, "5m"), (3.0, "5m")]


def test_a_restart_anywhere_goes_on_with_the_next_row(topic: TopicInMemory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("marketpulse.sources.kafka_topic.ROWS_MAX", 3)
    for i in range(10):
        topic.send(i % 2, trade(-5_000_000 + (i * 7) % 10))
    whole, polls = drained(opened(topic))
    assert len(whole) == 10
    sent = 0
    for polled in polls:
        sent += sum(b.num_rows for b in polled.batches)
        if polled.position is None:
            continue
        rest, _ = drained(opened(topic, polled.position))
        assert [r["event_time_ns"] for r in rest] == [r["event_time_ns"] for r in whole[sent:]]


def test_what_comes_while_it_is_down_is_read_when_it_is_back(topic: TopicInMemory) -> None:
    topic.send(0, trade(-5_000_000))
    position = [p.position for p in drained(opened(topic))[1] if p.position][-1]
    topic.send(1, trade(-4_999_999, price=2))
    assert [row["price"] for row in drained(opened(topic, position))[0]] == [2.0]


def test_history_that_falls_silent_says_goodbye_and_hello_again_with_the_next_row(topic: TopicInMemory) -> None:
    topic.send(0, trade(-5_000_000))
    source = opened(topic)
    drained(source)
    topic.clock.sleep(31)
    _, polls = drained(source)
    assert [p.goodbye_watermark_ns for p in polls if p.goodbye_watermark_ns is not None] == [COMPLETE]
    topic.send(0, trade(-4_000_000))
    rows, polls = drained(source)
    assert len(rows) == 1
    assert [p.hello.mode for p in polls if p.hello] == ["historical"]


def test_the_live_watermark_is_now_less_lateness_less_the_delay_that_is_seen(topic: TopicInMemory) -> None:
    topic.send(0, trade(-1), at_s=NOW_S)
    source = opened(topic)
    drained(source, 3)
    assert source.watermark_ns() == topic.clock.now_ns() - 2 * SECOND - 1 * SECOND
    topic.send(0, trade(-9), at_s=NOW_S)
    drained(source, 3)
    assert source.watermark_ns() == topic.clock.now_ns() - 2 * SECOND - 9 * SECOND


def test_the_watermark_stays_before_rows_that_wait(topic: TopicInMemory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("marketpulse.sources.kafka_topic.ROWS_MAX", 1)
    for i in range(3):
        topic.send(0, trade(-60 + i))
    source = opened(topic)
    source.poll(0.05)
    promised = source.watermark_ns()
    assert promised is not None
    assert promised < (NOW_S - 59) * SECOND


def test_a_broker_that_is_away_loses_nothing(topic: TopicInMemory) -> None:
    source = opened(topic)
    topic.send(0, trade(0))
    topic.away = True
    with pytest.raises(Retryable):
        source.poll(0.05)
    topic.away = False
    assert len(drained(source)[0]) == 1


def test_a_topic_of_something_else_says_which_flags_would_help(topic: TopicInMemory) -> None:
    topic.send(0, {"foo": 1, "bar": 2})
    with pytest.raises(Fatal, match=r"topic prices.*foo, bar.*--map"):
        opened(topic)


def test_beginning_again_reads_everything_once_more_as_another_run(topic: TopicInMemory) -> None:
    for i in range(4):
        topic.send(i % 2, trade(-5_000_000 + i))
    position = [p.position for p in drained(opened(topic))[1] if p.position][-1]
    assert drained(opened(topic, position))[0] == []
    assert len(drained(opened(topic, begin_again(position)))[0]) == 4
    runs = {
        KafkaTopicSource(KafkaSourceSettings(topic="prices"), topic, "k", EngineSettings(), clock=topic.clock)
        .start(p)
        .run_id
        for p in (position, begin_again(position))
    }
    assert len(runs) == 2
