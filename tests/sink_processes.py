"""`marketpulse sink NAME` as a user starts it, and topics whose records are written for it, some of them taken back."""

import signal
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from confluent_kafka.admin import AdminClient

from bare_clients import BareTopic, as_bytes, bare_producer, transaction
from forked import Forked, forked_command
from given_settings import environment_of
from marketpulse.settings import Settings
from waiting import wait_until

Row = dict[str, Any]
T0 = 1_714_521_600_000_000_000  # 2024-05-01T00:00:00Z


def market_record(n: int) -> Row:
    """Trades, quotes, halts and heartbeats in turn, a minute apart, so that they fall on several days."""
    head = {"symbol": f"S{n % 7}", "source": "test", "event_time_ns": T0 + n * 60 * 10**9}
    match n % 5:
        case 0 | 1:
            return {**head, "type": "trade", "price": 0.1 * n + 1, "size": 1.0, "trade_id": f"id-{n}"}
        case 2:
            return {**head, "type": "quote", "bid": 1.0, "bid_size": 2.0, "ask": 1.5 + n, "ask_size": 3.0}
        case 3:
            return {**head, "type": "halt", "from_ns": T0, "to_ns": T0 + n, "reason": "test"}
    return {"type": "heartbeat", "source": "test", "event_time_ns": T0 + n}


def bar_record(n: int) -> Row:
    """Every fourth record tells the bar before it again, revised."""
    again = n % 4 == 3
    i = n - 4 if again else n  # of the same partition
    receipt = {
        "topic": "market", "partition": 0, "first_offset": n, "first_row": 0, "last_offset": n, "last_row": 0,
        "late_count": 0, "engine_version": "1",
    }  # fmt: skip
    return {
        "symbol": f"S{i % 7}", "timeframe": "1s", "open_time_ns": T0 + i * 10**9, "close_time_ns": T0 + (i + 1) * 10**9,
        "open": 1.0, "high": 2.0, "low": 0.5, "close": 1.0 / (n + 1), "volume": 3.0, "vwap": None, "trade_count": 1,
        "revision": int(again), "source": "test", "venue": None, "session_date": "2024-05-01", "receipt": receipt,
    }  # fmt: skip


class Writer:
    """Writes by transactions, every fourth of which is taken back. `record_of` gives a record for `market`, one for
    `bars`, and their partition."""

    def __init__(
        self,
        settings: Settings,
        record_of: Callable[[int], tuple[Row, Row, int]] = lambda n: (market_record(n), bar_record(n), n % 4),
    ) -> None:
        self._settings, self._record_of, self._n = settings, record_of, 0
        self._producer = bare_producer(settings.kafka.bootstrap_servers, settings.topic("test-writer"))

    def write(self, transactions: int, records: int = 100) -> None:
        for _ in range(transactions):
            self._n += 1
            with transaction(self._producer, keep=self._n % 4 != 0):
                for n in range(self._n * records, (self._n + 1) * records):
                    trade, bar, partition = self._record_of(n)
                    for topic, record in (("market", trade), ("bars", bar)):
                        self._producer.produce(self._settings.topic(topic), as_bytes(record), partition=partition)


class SinkProcesses:
    """The processes of one sink. `stands_at` asks its store; `given` are the sink's settings in the environment."""

    def __init__(
        self, settings: Settings, which: str, stands_at: Callable[[], Mapping[tuple[str, int], int]], **given: str
    ) -> None:
        self.settings, self.stands_at, self._which = settings, stands_at, which
        self._given = {"flush_s": "0.2", **given}
        self._running: list[Forked] = []
        self.output = settings.data_dir.parent / f"{which}.out"
        """What its processes print."""
        settings.data_dir.mkdir(parents=True)

    def start(self, **given: str) -> Forked:
        section = {f"sinks__{self._which}__{name}": value for name, value in {**self._given, **given}.items()}
        self._running.append(
            forked_command(
                "sink", self._which, environment=environment_of(self.settings, **section),
                cwd=self.settings.data_dir.parent, output=self.output,
            )
        )  # fmt: skip
        return self._running[-1]

    def wait_until_moved(self, before: Mapping[tuple[str, int], int]) -> None:
        wait_until(lambda: self.stands_at() != before, f"{self._which} stands elsewhere than at {before}")

    def wait_until_shared(self, count: int) -> None:
        """Until so many processes have partitions."""
        kafka, group = self.settings.kafka, self.settings.topic(f"marketpulse-sink-{self._which}")
        admin = AdminClient({"bootstrap.servers": str(kafka.bootstrap_servers)})

        def shared() -> bool:
            members = admin.describe_consumer_groups([group])[group].result(20).members
            return sum(bool(m.assignment and m.assignment.topic_partitions) for m in members) == count

        wait_until(shared, f"{count} processes have partitions")

    def wait_until_stored(self) -> None:
        """Until the store stands behind the last row of the topics, as they end now."""
        wanted: dict[tuple[str, int], int] = {}
        for topic in (BareTopic.of(self.settings, name) for name in ("market", "bars")):
            for record in topic.committed():
                wanted[topic.name, record.partition] = record.offset + 1

        def stored() -> bool:
            now = self.stands_at()
            return all(now.get(key, 0) >= end for key, end in wanted.items())

        wait_until(stored, f"{self._which} stands at {wanted}")

    def close(self) -> None:
        for process in self._running:
            process.kill()
            process.wait()


@contextmanager
def closing(processes: SinkProcesses) -> Iterator[SinkProcesses]:
    try:
        yield processes
    finally:
        processes.close()


def kill(process: Forked) -> None:
    process.send_signal(signal.SIGKILL)
    process.wait()


def stop(process: Forked) -> None:
    """In order, which is a success."""
    process.terminate()
    assert process.wait(30) == 0
