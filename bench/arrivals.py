"""When records reach a reader: a process that only takes what the client has, and looks at it when all is over."""

import gc
import re
import time
from multiprocessing.connection import Connection
from typing import Any, Literal, NamedTuple

import numpy as np
from confluent_kafka import Consumer, TopicPartition
from numpy.typing import NDArray

from marketpulse.kafka.client import client_config
from marketpulse.kafka.record_queue import RecordQueue
from marketpulse.kafka.records import Records
from marketpulse.settings import Settings

Ints = NDArray[np.int64]
Isolation = Literal["read_uncommitted", "read_committed"]

TRADE = r'"type":"trade","symbol":"[^"]*","source":"[^"]*","event_time_ns":(\d+)'
BAR = r'"timeframe":"1s","open_time_ns":\d+,"close_time_ns":(\d+)'
TICK_BAR = r'"timeframe":"1t","open_time_ns":(\d+)'
FORMING = r'"timeframe":"1s",.*?"event_time_ns":(\d+)'
"""The time by which a row of each kind is known."""

_MOST = 50_000
_POLL_S = 0.02


class Arrivals(NamedTuple):
    """Records in order of arrival, (n,) each: when each was there, its partition, and the time it is known by."""

    seen_ns: Ints
    partition: Ints
    known_by_ns: Ints


def watch(
    settings: Settings, topic: str, isolation: Isolation, patterns: dict[str, str], seen: Any, over: Any,
    answer: Connection,
) -> None:  # fmt: skip
    """Read a topic from its start until `over` is set, and count in `seen`. Says first that it reads, and in the
    end the Arrivals by pattern."""
    consumer = Consumer(
        client_config(
            settings, "consumer", group_id=f"{topic}-{isolation}", isolation_level=isolation,
            auto_offset_reset="earliest",
        )
    )  # fmt: skip
    name, partitions = settings.topic(topic), range(settings.kafka.partitions)
    queue = RecordQueue(consumer)
    queue.lead_here(name, partitions)
    consumer.assign([TopicPartition(name, partition, 0) for partition in partitions])
    queue.take(_POLL_S, 1)
    answer.send(None)
    gc.disable()  # it keeps all that it takes: the collector would look through it again and again
    taken: list[tuple[int, Records]] = []
    while not over.is_set():
        consumer.poll(0)
        found = queue.take(_POLL_S, _MOST)
        now = time.time_ns()
        taken += [(now, records) for records in found]
        seen.value += sum(map(len, found))
    queue.close()
    consumer.close()
    answer.send({kind: _arrivals(taken, pattern) for kind, pattern in patterns.items()})


def _arrivals(taken: list[tuple[int, Records]], pattern: str) -> Arrivals:
    sought = re.compile(pattern.encode())
    parts = [np.empty((0, 3), np.int64)]
    for seen_ns, records in taken:
        times = np.array(sought.findall(records.data.data), "S19").astype(np.int64)
        parts.append(np.column_stack([np.full(len(times), seen_ns), np.full(len(times), records.partition), times]))
    return Arrivals(*np.concatenate(parts).T)
