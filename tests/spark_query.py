"""The engine as a query of Spark over a folder of files, for the conformance test; as a program, until it is killed.

Each file stands for what a source brings in one micro-batch: records of several partitions, in any order.
"""

import os
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from confluent_kafka import Message
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql.streaming.query import StreamingQuery

from marketpulse.app.pipeline.spark import make_step
from marketpulse.kafka.java import find_java
from marketpulse.settings import Settings
from marketpulse.spark.session import local_session
from marketpulse.spark.streaming import LOG_SCHEMA, engine_rows

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


if __name__ == "__main__":
    home = Path(sys.argv[1])
    with local_session(find_java(SETTINGS).path, home / "killed") as session:
        start(session, home, to_the_end=False).awaitTermination()
