"""The engine's operators under Spark Structured Streaming: the local engine's rows, byte for byte, through a kill.

The engine is a query over a folder of files, each of which stands for what a source brings in one micro-batch: records
of several partitions, in any order. As a program, this file runs it until it is killed.
"""

import json
import os
import random
import signal
import subprocess
import sys
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from confluent_kafka import TIMESTAMP_LOG_APPEND_TIME, Message
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql.streaming.query import StreamingQuery

from engine_campaign import of_partition, stream
from market_rows import clock
from marketpulse.app.engine_config import engine_config
from marketpulse.app.pipeline.spark import make_step
from marketpulse.engine.rows import bar_rows, indicator_rows, told_alert_rows
from marketpulse.engine.state import new_state
from marketpulse.engine.step import Stepper
from marketpulse.kafka.codec import encode_market, encode_rows
from marketpulse.kafka.dead_letter import encode_dead_letter
from marketpulse.kafka.java import find_java
from marketpulse.kafka.market_reader import MarketReader
from marketpulse.kafka.records import records_of_messages
from marketpulse.model.market import TRADE
from marketpulse.settings import Settings
from marketpulse.spark.session import local_session
from marketpulse.spark.streaming import LOG_SCHEMA, engine_rows
from waiting import wait_until

SETTINGS = Settings(
    engine={"timeframes": ("1t", "1s", "1m"), "indicators": "sma(3),ema(5),vwap", "correction_window_s": 20}
)
_FILE = pa.schema([
    ("key", pa.binary()), ("value", pa.binary()), ("topic", pa.string()), ("partition", pa.int32()),
    ("offset", pa.int64()), ("timestamp", pa.timestamp("us", "UTC")), ("timestampType", pa.int32()),
    ("headers", pa.list_(pa.struct([("key", pa.string()), ("value", pa.binary())]))),
])  # fmt: skip


def write_file(folder: Path, number: int, messages: list[Message]) -> None:
    """The messages with the columns of Spark's Kafka source. Files are taken in order of their times."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = [
        {
            "key": m.key(), "value": m.value(), "topic": m.topic(), "partition": m.partition(),
            "offset": m.offset(), "timestamp": m.timestamp()[1] * 1_000, "timestampType": 1,
            "headers": [{"key": k, "value": v} for k, v in dict(m.headers() or ()).items()] or None,
        }
        for m in messages
    ]  # fmt: skip
    path, partial = folder / f"{number:04}.parquet", folder / f".{number:04}"
    pq.write_table(pa.Table.from_pylist(rows, _FILE), partial)
    os.utime(partial, (1_700_000_000 + number,) * 2)
    partial.rename(path)


def start(spark: SparkSession, place: Path, *, to_the_end: bool) -> StreamingQuery:
    """The query over `place`/log: one file a batch; it stops by itself once it has taken all of them, or never."""
    log = spark.readStream.schema(LOG_SCHEMA).option("maxFilesPerTrigger", 1).parquet(str(place / "log"))
    written = engine_rows(log, make_step(SETTINGS)).writeStream.format("parquet")
    written = written.option("checkpointLocation", str(place / "checkpoint"))
    written = written.trigger(availableNow=True) if to_the_end else written.trigger(processingTime="0 seconds")
    return written.start(str(place / "rows"))


def rows_of(spark: SparkSession, place: Path) -> DataFrame:
    """What the query has written for good, in order."""
    return spark.read.parquet(str(place / "rows")).orderBy("partition", "sequence")


def batches_done(place: Path) -> int:
    """How many micro-batches the query's checkpoint says are done."""
    commits = place / "checkpoint" / "commits"
    return sum(path.name.isdigit() for path in commits.iterdir()) if commits.is_dir() else 0


PARTITIONS, FILES, SEED = 4, 6, 7
Log = dict[int, list[Message]]
Outputs = dict[tuple[str, int], list[tuple[bytes | None, bytes]]]


@pytest.mark.timeout(600)  # two sessions of Spark and their Python workers
@pytest.mark.usefixtures("kernels")
def test_spark_gives_the_local_engines_rows_to_the_byte_through_a_stop_and_a_kill(tmp_path: Path) -> None:
    log = market_log(SEED)
    for number, messages in enumerate(cut(log, SEED)):
        write_file(tmp_path / "log", number, messages)

    with killed_query(tmp_path):
        until_done(tmp_path, FILES // 3)
    with local_session(find_java(SETTINGS).path, tmp_path / "spark") as spark:
        query = start(spark, tmp_path, to_the_end=False)
        until_done(tmp_path, FILES // 2 + 1, query)
        query.stop()
        assert batches_done(tmp_path) < FILES, "it was stopped in the middle"
        start(spark, tmp_path, to_the_end=True).awaitTermination()
        rows = rows_of(spark, tmp_path).collect()

    found: Outputs = defaultdict(list)
    for row in rows:
        found[row.topic, row.partition].append((None if row.key is None else bytes(row.key), bytes(row.value)))
    for partition in range(PARTITIONS):
        sequence = [row.sequence for row in rows if row.partition == partition]
        assert sequence == list(range(len(sequence))), "none is missing and none came twice"
    expected = local_run(log)
    assert_is_worth_comparing(expected)
    assert {place: len(found[place]) for place in found} == {place: len(expected[place]) for place in expected}
    for place, records in found.items():
        assert records == expected[place], place


def assert_is_worth_comparing(expected: Outputs) -> None:
    """Every partition has revised bars, and every kind of refusal that the log was given is there."""
    reasons: Counter[str] = Counter()
    for partition in range(PARTITIONS):
        bars = [json.loads(value) for _, value in expected["bars", partition]]
        assert sum(bar["revision"] > 0 for bar in bars) > 20
        assert len(expected["indicators", partition]) > len(bars) / 2
        reasons.update(json.loads(value)["reason"] for _, value in expected["dead-letters", partition])
    assert b'"state":"withdrawn"' in b"".join(value for p in range(PARTITIONS) for _, value in expected["alerts", p])
    assert {"bad_control", "not_json", "bad_price", "future_time", "too_late", "unknown_trade"} <= set(reasons)


def local_run(log: Log) -> Outputs:
    """The whole log of each partition in one step of the engine, with nothing saved or loaded on the way."""
    config, topic = engine_config(SETTINGS.engine), SETTINGS.topic("market")
    outputs: Outputs = defaultdict(list)
    for partition, messages in log.items():
        stepper, state = Stepper(config), new_state(config)
        for decoded in MarketReader(topic).decode(records_of_messages(partition, messages), 0, 0):
            letters = list(decoded.rejected)
            for after, result in stepper.steps(state, decoded.batch):
                state = after
                bars = bar_rows(state, config, result.closed, topic, partition)
                values = indicator_rows(state, config, result.indicated, result.values, topic, partition)
                outputs["bars", partition] += encode_rows(bars)
                outputs["indicators", partition] += encode_rows(values)
                for told in result.alerts:
                    rows = told_alert_rows(state, config, told, topic, partition)
                    outputs["alerts", partition] += encode_rows(rows)
                letters += [decoded.dead_letter(r.row, r.reason, r.timeframes, r.detail) for r in result.refused]
            letters.sort(key=lambda letter: (letter.offset, letter.row))
            outputs["dead-letters", partition] += map(encode_dead_letter, letters)
    return outputs


def market_log(seed: int) -> Log:
    """A live source's trades: late, doubled, corrected and cancelled; what is no market data; and both wires."""
    random_ = random.Random(seed)
    rows: list[dict[str, Any]] = []
    for row in stream(seed):
        rows.append({**row, "mode": "live"} if row["type"] == "hello" else row)
        if row["type"] == "heartbeat":
            rows.append(clock(row["log_time_ns"] / 1e9 % 86_400))
        elif row["type"] == "trade" and random_.random() < 0.01:
            ahead = {**row, "event_time_ns": row["event_time_ns"] + 3_600 * 10**9, "trade_id": "ahead"}
            rows += [{**row, "price": -1.0, "trade_id": "negative"}, ahead]
        elif row["type"] == "correction" and random_.random() < 0.3:
            rows.append({**row, "trade_id": "never seen"})
    return {p: messages_of(p, of_partition(rows, p, PARTITIONS), random_) for p in range(PARTITIONS)}


def messages_of(partition: int, rows: list[dict[str, Any]], random_: random.Random) -> list[Message]:
    """The rows as records, some runs of trades as one frame; the broker's time is that of the newest good row."""
    messages: list[Message] = []
    now_ns, at = 0, 0

    def append(value: bytes, key: bytes | None, headers: list[tuple[str, str | bytes | None]]) -> None:
        place: dict[str, Any] = {"topic": "market", "partition": partition, "offset": len(messages)}
        time = (TIMESTAMP_LOG_APPEND_TIME, now_ns // 1_000_000)
        messages.append(Message(**place, key=key, value=value, headers=headers, timestamp=time))

    while at < len(rows):
        run = at
        while run < min(at + 30, len(rows)) and rows[run]["type"] == "trade":
            run += 1
        taken = rows[at : max(run, at + 1)]
        at += len(taken)
        moments = [r.get("log_time_ns", r["event_time_ns"]) for r in taken if r.get("trade_id") != "ahead"]
        now_ns = max([now_ns, *moments])
        if taken[0]["type"] == "trade" and random_.random() < 0.3:
            batch = pa.RecordBatch.from_pylist([{"venue": None, **row} for row in taken], TRADE)
            for encoded in encode_market(batch, wire="arrow", partitions=PARTITIONS):
                append(encoded.value, encoded.key, list(encoded.headers or ()))
            continue
        for row in taken:
            text = json.dumps({k: v for k, v in row.items() if k != "log_time_ns"}).encode()
            append(text, row.get("symbol", "").encode() or None, [])
        if random_.random() < 0.05:
            append(random_.choice([b"no market data", b"\xff\xfe", b"{"]), b"odd", [])
    return messages


def cut(log: Log, seed: int) -> Iterator[list[Message]]:
    """The log in FILES pieces of all sizes, one record to thousands, each in no order."""
    random_ = random.Random(seed)
    ends = {p: [0, *sorted(random_.choices(range(len(m)), k=FILES - 1)), len(m)] for p, m in log.items()}
    for p, m in log.items():
        ends[p][1:3] = sorted([1, min(2, len(m))])  # two batches with a single record of each partition
    for number in range(FILES):
        piece = [m for p in log for m in log[p][slice(*sorted(ends[p])[number : number + 2])]]
        random_.shuffle(piece)
        yield piece


@contextmanager
def killed_query(place: Path) -> Iterator[None]:
    """The query in processes of its own, which are killed with -9 when the block ends."""
    path = {"PYTHONPATH": str(Path(__file__).parents[1])}
    program = subprocess.Popen(
        [sys.executable, __file__, str(place)], env={**os.environ, **path}, start_new_session=True
    )
    try:
        yield
        assert program.poll() is None, "it still ran when it was to be killed"
    finally:
        os.killpg(program.pid, signal.SIGKILL)
        program.wait()


def until_done(place: Path, batches: int, query: Any = None) -> None:
    """Wait for that many micro-batches, or what the query died of."""

    def done() -> bool:
        if query is not None and query.exception() is not None:
            raise query.exception()
        return batches_done(place) >= batches

    wait_until(done, "the query goes on", 200)


if __name__ == "__main__":
    home = Path(sys.argv[1])
    with local_session(find_java(SETTINGS).path, home / "killed") as session:
        start(session, home, to_the_end=False).awaitTermination()
