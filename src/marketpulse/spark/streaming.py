"""A stream of the log's records becomes the stream of the engine's rows.

Spark groups the records by partition and calls `PartitionStep` once per micro-batch and partition. What the
step keeps is Spark's state of that group: it lies in the query's checkpoint, and commits with the batch.
"""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pandas as pd
from pyspark.sql import DataFrame
from pyspark.sql import functions as F  # noqa: N812  (as Spark's own pages call it)
from pyspark.sql.streaming.state import GroupState, GroupStateTimeout

from marketpulse.spark.step import Kept, LogRecord, PartitionStep

LOG_SCHEMA = (
    "key binary, value binary, topic string, partition int, offset long, timestamp timestamp, "
    "timestampType int, headers array<struct<key: string, value: binary>>"
)
"""What Spark's Kafka source gives, with the option `includeHeaders`."""

ROW_SCHEMA = "partition int, sequence long, topic string, key binary, value binary"
"""`topic`, `key` and `value` are what Spark's Kafka sink takes; `sequence` orders a partition's rows."""

_KEPT_SCHEMA = "state binary, next_offset long, rows long"
_ROW_NAMES = ["partition", "sequence", "topic", "key", "value"]


def engine_rows(log: DataFrame, make_step: Callable[[], PartitionStep]) -> DataFrame:
    """The rows (ROW_SCHEMA) that the engine makes from the log (LOG_SCHEMA).

    A micro-batch may end at any record, but it must hold what the log has from where the last one ended, as
    Spark's sources do. `make_step` is pickled and called in Spark's Python workers once per group and batch: let it remember
    what is dear to make. A Fatal of the step ends the query.
    """
    content_type = F.filter("headers", lambda header: header["key"] == "content-type")
    records = log.select(
        "partition",
        "offset",
        F.unix_millis("timestamp").alias("append_time_ms"),
        "key",
        "value",
        F.try_element_at(content_type, F.lit(1))["value"].alias("content_type"),
    )
    return records.groupBy("partition").applyInPandasWithState(
        partial(_take, make_step), ROW_SCHEMA, _KEPT_SCHEMA, "append", GroupStateTimeout.NoTimeout
    )


def _take(
    make_step: Callable[[], PartitionStep], group: tuple[Any, ...], frames: Iterator[pd.DataFrame], state: GroupState
) -> Iterator[pd.DataFrame]:
    """One partition's part of one micro-batch. It comes in pieces and in no order: the step sorts it."""
    number = int(group[0])
    records = [record for frame in frames for record in _records(frame)]
    kept, rows = make_step()(number, Kept(*state.get) if state.exists else None, records)
    state.update((kept.state, kept.next_offset, kept.rows))
    yield pd.DataFrame([(number, row.sequence, row.topic, row.key, row.value) for row in rows], columns=_ROW_NAMES)


def _records(frame: pd.DataFrame) -> Iterator[LogRecord]:
    columns = (frame[name].tolist() for name in ("offset", "append_time_ms", "key", "value", "content_type"))
    for offset, append_time_ms, key, value, content_type in zip(*columns, strict=True):
        yield LogRecord(int(offset), int(append_time_ms), _bytes(key), _bytes(value), _bytes(content_type))


def _bytes(value: object) -> bytes | None:
    """Spark hands binary values over as bytes or as bytearrays; pandas may make NaN of a missing one."""
    return bytes(value) if isinstance(value, bytes | bytearray) else None
