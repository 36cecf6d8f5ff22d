"""A campaign against the engine: workers that are killed or leave while records come, by seed, and the proof that
committed readers see the clean run, byte for byte."""

import json
import os
import random
import signal
import time
from collections import defaultdict
from collections.abc import Callable
from typing import Any

from confluent_kafka import Consumer, TopicPartition

from bare_clients import BareTopic
from forked import Forked, command
from given_settings import changed
from market_rows import cancel, control, correction, heartbeat, hello, quote, trade
from marketpulse.app.counts import count_sources
from marketpulse.app.engine_config import engine_config
from marketpulse.engine.rows import bar_rows, indicator_rows, told_alert_rows
from marketpulse.engine.state import new_state
from marketpulse.engine.step import Stepper
from marketpulse.kafka.codec import encode_rows
from marketpulse.kafka.log_reader import LogReader
from marketpulse.kafka.market_reader import MarketReader
from marketpulse.kafka.partitioner import partitions_of
from marketpulse.kafka.records import records_of_messages
from marketpulse.kafka.source_counts import SourceCounts
from marketpulse.settings import Settings

TRADES, SYMBOLS, DISTURBED = 6_000, 9, 4
FRAMES, INDICATORS = ("1t", "1s", "1m"), "sma(3),ema(5),vwap,spread,imbalance"
ALERTS: tuple[dict[str, Any], ...] = (
    {"name": "above", "expression": "close > sma_3", "timeframe": "1s"},
    {"name": "wide", "expression": "high - low > 8", "timeframe": "1m", "for_s": 60, "severity": "critical"},
)
SILENT_S = 3_600.0
"""For how long the source may be silent: where kills take long, it would be gone by the log's clock, and all late."""
PUT = {"name": "put", "expression": "close crosses_above ema_5", "timeframe": "1s", "cooldown_s": 5}
SEEDS = range(11, 11 + int(os.environ.get("MARKETPULSE_SOAK_SEEDS", "1")))
"""`make soak` runs many."""

Outputs = dict[tuple[str, int], list[bytes]]
"""Values in order, by (topic, partition)."""


def stream(seed: int) -> list[dict[str, Any]]:
    """Trades of a few symbols: out of order, late, doubled, corrected and cancelled; quotes, some of them late;
    heartbeats between them; in the middle a rule is put, and another one near the end removed."""
    random_ = random.Random(seed)
    rows: list[dict[str, Any]] = [hello("test", "historical")]
    for i in range(TRADES):
        delay = random_.random() if random_.random() < 0.9 else random_.uniform(2, 30)
        price = round(50 + random_.random() * 10, 2)
        symbol, size = f"S{random_.randrange(SYMBOLS)}", random_.randrange(1, 500)
        rows.append(trade(symbol, 40 + i / 40 - delay, price, size, "test", trade_id=f"{i}"))
        if random_.random() < 0.5:
            behind = random_.random() if random_.random() < 0.95 else random_.uniform(2, 30)
            sizes = (float(random_.randrange(9)), float(random_.randrange(9)))
            rows.append(quote(symbol, 40 + i / 40 - behind, price - 0.5, price + 0.25, sizes, "test"))
        if random_.random() < 0.03:
            old = rows[-random_.randrange(1, min(len(rows), 200))]
            if old["type"] == "trade":
                about, moment = (old["symbol"], old["trade_id"]), 40 + i / 40
                changes = [old, cancel(*about, moment, "test"), correction(*about, price, size, moment, "test")]
                rows.append(random_.choice(changes))
        if i % 50 == 49:
            rows.append(heartbeat(40 + i / 40 - 1, "test"))
        if i == TRADES // 2:
            rows.append(control("put_rule", rule=PUT))
        if i == TRADES - 500:
            rows.append(control("remove_rule", name="above"))
    rows.append(heartbeat(40 + TRADES / 40 + 60, "test"))
    return rows


def of_partition(rows: list[dict[str, Any]], partition: int, partitions: int) -> list[dict[str, Any]]:
    """The partition's part of the stream: its symbols, and what has none and goes into every partition."""
    return [
        row
        for row in rows
        if "symbol" not in row or int(partitions_of([row["symbol"].encode()], partitions)[0]) == partition
    ]


def write(settings: Settings, rows: list[dict[str, Any]]) -> None:
    records = [{k: v for k, v in row.items() if k != "log_time_ns"} for row in rows]
    for partition in range(settings.kafka.partitions):
        BareTopic.of(settings).write(of_partition(records, partition, settings.kafka.partitions), partition)


class Workers:
    """Engine processes, one a slot; `care` starts those that have ended again, as the supervisor does."""

    def __init__(self, settings: Settings, count: int, program: Callable[..., None] = command) -> None:
        self._program, self._folder = program, settings.data_dir.parent
        self._environment = {
            **os.environ,
            "MARKETPULSE_DATA_DIR": str(settings.data_dir),
            "MARKETPULSE_KAFKA__BOOTSTRAP_SERVERS": str(settings.kafka.bootstrap_servers),
            "MARKETPULSE_KAFKA__TOPIC_PREFIX": settings.kafka.topic_prefix,
            "MARKETPULSE_ENGINE__TIMEFRAMES": json.dumps(FRAMES),
            "MARKETPULSE_ENGINE__INDICATORS": INDICATORS,
            "MARKETPULSE_ENGINE__ALERTS": json.dumps(ALERTS),
            "MARKETPULSE_ENGINE__SOURCE_TIMEOUT_S": str(SILENT_S),
            "MARKETPULSE_PROCESS__SNAPSHOT_RECORDS": "200",
            "MARKETPULSE_KAFKA__PARTITIONS": str(settings.kafka.partitions),
            "MARKETPULSE_PROCESS__COMMIT_MS": "20",
        }
        self._running = [self._start(slot) for slot in range(count)]

    def _start(self, slot: int) -> Forked:
        words = ("process", "--slot", str(slot))
        return Forked(self._program, *words, environment=self._environment, cwd=self._folder)

    def pid(self, slot: int) -> int:
        return int(self._running[slot].pid or 0)

    def care(self) -> None:
        self._running = [
            process if process.poll() is None else self._start(slot) for slot, process in enumerate(self._running)
        ]

    def kill(self, slot: int) -> None:
        self._running[slot].send_signal(signal.SIGKILL)
        self._running[slot].wait()

    def wait_until_dead(self, slot: int) -> None:
        """A worker that kills itself."""
        assert self._running[slot].wait(60) == -signal.SIGKILL

    def leave(self, slot: int) -> None:
        """A clean stop: its partitions go to the others."""
        self._running[slot].terminate()
        assert self._running[slot].wait(60) == 0

    def stop(self) -> None:
        self.care()
        for process in self._running:
            process.terminate()
        assert [process.wait(60) for process in self._running] == [0] * len(self._running)

    def abandon(self) -> None:
        """After a failed test nothing may be left running."""
        for process in self._running:
            process.kill()
            process.wait()


def wait_until_taken(settings: Settings, workers: Workers) -> None:
    """Until everything that stands in `market` now is committed."""
    ends = BareTopic.of(settings).ends()
    group = Consumer({
        "bootstrap.servers": settings.kafka.bootstrap_servers, "group.id": settings.group(settings.process.group),
        "enable.auto.commit": False, "log_level": 0,
    })  # fmt: skip
    asked = [TopicPartition(settings.topic("market"), p) for p in ends]
    deadline = time.monotonic() + 180
    while any(found.offset < ends[found.partition] - 1 for found in group.committed(asked, timeout=20)):
        assert time.monotonic() < deadline, "the engine does not come to the end of the log"
        workers.care()
        time.sleep(0.2)
    group.close()


def clean_run(settings: Settings) -> Outputs:
    """What the same log gives when nothing is ever killed: one pass of the operators over it."""
    engine = changed(
        settings.engine, timeframes=FRAMES, indicators=INDICATORS, alerts=ALERTS, source_timeout_s=SILENT_S
    )
    config, topic = engine_config(engine), settings.topic("market")
    outputs: Outputs = defaultdict(list)
    for partition, messages in BareTopic.of(settings).messages().items():
        stepper, state, counts = Stepper(config), new_state(config), SourceCounts()
        for decoded in MarketReader(topic).decode(records_of_messages(partition, messages), 0, 0):
            first = 0
            for after, result in stepper.steps(state, decoded.batch):
                state = after
                count_sources(counts, state, decoded.batch, first, result)
                first = result.next_row
                bars = bar_rows(state, config, result.closed, topic, partition)
                values = indicator_rows(state, config, result.indicated, result.values, topic, partition)
                alerts = [told_alert_rows(state, config, told, topic, partition) for told in result.alerts]
                for name, rows in (("bars", bars), ("indicators", values), *(("alerts", a) for a in alerts)):
                    outputs[name, partition] += [value for _, value in encode_rows(rows)]
        outputs["counts", partition] = [counts.text().encode()]
    return outputs


def campaign(settings: Settings, seed: int, workers: Workers, disturb: Callable[[random.Random], None]) -> None:
    """Write the stream piece by piece, disturb it at some of them, and compare what came with the clean run."""
    rows, random_ = stream(seed), random.Random(seed)
    step = len(rows) // (4 * DISTURBED)
    disturbed = 0
    try:
        for begin in range(0, len(rows), step):
            write(settings, rows[begin : begin + step])
            time.sleep(random_.uniform(0.2, 1.2))
            if disturbed < DISTURBED and random_.random() < 0.5:
                disturb(random_)
                disturbed += 1
            workers.care()
        assert disturbed > 0
        wait_until_taken(settings, workers)
        workers.stop()
    finally:
        workers.abandon()
    assert_as_the_clean_run(settings)


def assert_as_the_clean_run(settings: Settings) -> None:
    """What committed readers see is what one pass over the log gives, byte for byte."""
    expected = clean_run(settings)
    revised = sum(b'"revision":0' not in value for value in expected["bars", 0])
    assert revised > 20, "the stream has late and changed trades"
    told = b"".join(value for place, values in expected.items() if place[0] == "alerts" for value in values)
    for words in (b'"rule":"above"', b'"rule":"put"', b'"state":"withdrawn"', b'"late":true'):
        assert words in told
    found: Outputs = defaultdict(list)
    for name in ("bars", "indicators", "alerts"):
        for record in BareTopic.of(settings, name).committed():
            found[name, record.partition].append(record.value)
    log = LogReader(settings)
    found |= {("counts", p): [counts.text().encode()] for p, (_, counts) in log.counted().items()}
    log.close()
    assert {place: len(values) for place, values in found.items()} == {
        place: len(values) for place, values in expected.items() if values
    }
    for place, values in found.items():
        assert values == expected[place], place
