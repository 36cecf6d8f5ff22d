"""The scorecard over the real broker: from the command line, and beside a page that serves; rows of both topics."""

import json
import time
from typing import Any

import pytest

from bare_clients import BareTopic
from given_settings import changed, child, command
from marketpulse.app.observing.readings import Samples
from marketpulse.app.scoring.hearing import Hearing
from marketpulse.app.scoring.watch import ScoreWatch
from marketpulse.clock import SystemClock
from marketpulse.errors import Retryable
from marketpulse.settings import Settings
from waiting import wait_until

pytestmark = [pytest.mark.integration, pytest.mark.timeout(200), pytest.mark.usefixtures("kernels")]


def trade(symbol: str, price: float, source: str, back_s: float = 0.0) -> dict[str, Any]:
    at = time.time_ns() - int(back_s * 1e9)
    return {"type": "trade", "symbol": symbol, "source": source, "event_time_ns": at, "price": price, "size": 1.0}


def heard(settings: Settings) -> Hearing:
    def begun() -> Hearing | None:
        try:
            return Hearing(settings, 1, SystemClock())
        except Retryable:  # new topics settle
            return None

    hearing = wait_until(begun)
    assert hearing is not None
    try:
        hearing.hear(hearing.follower.to_the_end())
    finally:
        hearing.close()
    return hearing


def row(hearing: Hearing, source: str) -> dict[str, Any]:
    return next(one for one in hearing.card().sources() if one["source"] == source)


def test_every_record_of_every_partition_is_heard_with_its_delay_if_not_too_far_back(kafka_settings: Settings) -> None:
    market = BareTopic.of(kafka_settings)
    for partition in range(kafka_settings.kafka.partitions):
        market.write([trade(f"S{partition}", 1.0, "feed", 2.0) for _ in range(50)], partition)
    letter = {"reason": "bad_price", "value": json.dumps(trade("S0", -1.0, "feed"))}
    BareTopic.of(kafka_settings, "dead-letters").write([letter])
    found = row(heard(kafka_settings), "feed")
    assert found["rows"]["trade"] == 50 * kafka_settings.kafka.partitions
    assert (found["symbols"], found["dead_letters"]) == (kafka_settings.kafka.partitions, {"bad_price": 1})
    assert found["lag_p50_ms"] >= 1_900
    few = changed(kafka_settings, scorecard={"catch_up_records": 10 * kafka_settings.kafka.partitions})
    assert row(heard(few), "feed")["rows"]["trade"] == 10 * kafka_settings.kafka.partitions


def test_where_sources_compete_their_own_topic_is_heard_and_without_topics_it_waits(kafka_settings: Settings) -> None:
    with pytest.raises(Retryable, match="exists yet"):
        Hearing(changed(kafka_settings, kafka={"topic_prefix": "not-made-"}), 1, SystemClock())
    feeds, market = BareTopic.of(kafka_settings, "feeds"), BareTopic.of(kafka_settings)
    feeds.make(2, **{"message.timestamp.type": "LogAppendTime"})
    try:
        pairs = [trade("BTC-USD", 100.0, "left", 70.0), trade("BTC-USD", 101.0, "right", 70.0)]
        feeds.write(pairs, 1)
        market.write([pairs[0]])  # what was chosen
        hearing = heard(kafka_settings)
        assert row(hearing, "left")["rows"]["trade"] == 1
        [apart] = hearing.card().symbols("left", 5)["disagreements"]
        assert (apart["other_source"], round(apart["p50_bps"], 2)) == ("right", 99.5)
    finally:
        feeds.delete()


def test_the_watch_tells_what_comes_while_it_runs(kafka_settings: Settings) -> None:
    watch = ScoreWatch(kafka_settings, SystemClock(), lambda: Samples())
    assert watch.sources() is None
    assert watch.symbols("feed", 5) is None
    watch.start()

    def trades() -> int:
        found = watch.sources()
        return sum(one["rows"]["trade"] for one in found["sources"]) if found else 0

    try:
        market = BareTopic.of(kafka_settings)
        wait_until(lambda: watch.sources() is not None)
        for expected in (3, 6):
            market.write([trade("AAA", 1.0, "feed") for _ in range(3)])
            wait_until(lambda expected=expected: trades() == expected)  # type: ignore[misc]
        symbols = watch.symbols("feed", 5)
        assert symbols is not None
        assert [one["symbol"] for one in symbols["symbols"]] == ["AAA"]
    finally:
        watch.close()


def test_the_command_prints_a_line_for_each_source(kafka_settings: Settings) -> None:
    now = time.time_ns()
    gap = {"type": "gap", "symbol": "AAA", "source": "feed", "event_time_ns": now, "from_ns": now - 9, "to_ns": now}
    gap |= {"from_id": "5", "to_id": "9", "trades": 5, "state": "found", "reason": "5 trades did not come"}
    BareTopic.of(kafka_settings).write([trade("AAA", 1.0, "feed"), gap, {**gap, "state": "healed"}])
    done = child(kafka_settings, "sources", "--hours", "1")
    assert done.returncode == 0, done.stderr
    heads, line = done.stdout.splitlines()
    assert [heads.split()[0], line.split()[0]] == ["source", "feed"]
    assert "5: 5 healed" in line
    both = (["--json"], ["--source", "feed"])
    whole, one = (json.loads(command(kafka_settings, "sources", "--hours", "1", *words).stdout) for words in both)
    assert whole["sources"][0]["gaps"]["healed"] == {"gaps": 1, "trades": 5}
    assert one["gaps"][0]["state"] == "healed"
