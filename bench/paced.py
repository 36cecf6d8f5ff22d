"""A source on a fixed schedule: when it falls behind, the trades that wait count from when they were due."""

import time
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection

import numpy as np
from confluent_kafka import Producer
from numpy.typing import NDArray

from marketpulse.kafka.client import client_config
from marketpulse.kafka.partitioner import partitions_of
from marketpulse.settings import Settings

HELLO = b'{"type":"hello","source":"bench","mode":"live","run_id":"1"}'
LEAD_NS = 500_000_000
_TICK_S = 0.000_5
_WAIT_S = 0.001


@dataclass(frozen=True, slots=True)
class Schedule:
    """`count` trades, `rate` a second from `start_ns` on; each symbol in turn. A trade happens when it is due."""

    start_ns: int
    rate: int
    count: int
    symbols: int

    def due_ns(self) -> NDArray[np.int64]:
        """(n,) when each trade is due, and its event time."""
        return self.start_ns + np.arange(self.count) * 1_000_000_000 // self.rate

    def partitions(self, of: int) -> NDArray[np.int64]:
        """(n,) the partition that each trade goes to, of so many."""
        each = partitions_of([self.symbol(i).encode() for i in range(self.symbols)], of)
        return each[np.arange(self.count) % self.symbols].astype(np.int64)

    def symbol(self, i: int) -> str:
        """Of the i-th trade."""
        return f"SYM{i % self.symbols:05d}"


def send_hello(settings: Settings) -> None:
    """The source says in every partition that it is live."""
    producer = Producer(client_config(settings, "producer"))
    for partition in range(settings.kafka.partitions):
        producer.produce(settings.topic("market"), HELLO, partition=partition)
    producer.flush(30)


def send(settings: Settings, schedule: Schedule, answer: Connection) -> None:
    """Write all trades, each when it is due. The schedule begins when they are encoded, all but their times; it is
    answered as it is then."""
    random = np.random.default_rng(1)
    prices = np.round(100 + random.random(schedule.count) * 10, 2).tolist()
    keys = [schedule.symbol(i).encode() for i in range(schedule.symbols)]
    heads = [b'{"type":"trade","symbol":"%s","source":"bench","event_time_ns":' % key for key in keys]
    tails = [b',"price":%.2f,"size":%d,"trade_id":"%d"}' % (p, 100 + i % 9, i) for i, p in enumerate(prices)]
    producer = Producer(client_config(settings, "producer"))
    topic, sent, symbols = settings.topic("market"), 0, schedule.symbols
    producer.list_topics(topic, timeout=30)
    schedule = replace(schedule, start_ns=time.time_ns() + LEAD_NS)
    answer.send(schedule)
    due_ns = schedule.due_ns().tolist()
    while sent < schedule.count:
        due = (time.time_ns() - schedule.start_ns) * schedule.rate // 1_000_000_000 + 1
        for i in range(sent, min(due, schedule.count)):
            value, key = b"%s%d%s" % (heads[i % symbols], due_ns[i], tails[i]), keys[i % symbols]
            while True:
                try:
                    producer.produce(topic, value, key)
                    break
                except BufferError:
                    producer.poll(_WAIT_S)
            sent = i + 1
        producer.poll(0)
        time.sleep(_TICK_S)
    producer.flush(30)
