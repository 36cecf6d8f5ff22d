"""The pipeline's clock: `clock` records in every partition of `market`."""

import threading

from confluent_kafka import KafkaException, Producer

from marketpulse.kafka.client import LogProducer, client_config, error_of
from marketpulse.settings import Settings
from marketpulse.telemetry import get_logger

_CALL_S = 5.0


class ClockWriter:
    """Writes a `clock` record into every partition of `market`, from a thread of its own.

    Log time moves by them even when every source is dead. One clock per pipeline: the worker that
    owns partition 0 runs it; two for a moment do no harm.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._running = threading.Event()
        self._closed = threading.Event()
        self._thread: threading.Thread | None = None

    def run(self, wanted: bool) -> None:
        """Start or pause."""
        if wanted:
            self._running.set()
            if self._thread is None:
                self._thread = threading.Thread(target=self._write, name="clock", daemon=True)
                self._thread.start()
        else:
            self._running.clear()

    def close(self) -> None:
        self._closed.set()
        self._running.set()
        if self._thread is not None:
            self._thread.join(5)

    def _write(self) -> None:
        producer = LogProducer(client_config(self._settings, "producer", linger_ms=0, message_timeout_ms=5_000))
        topic, count = self._settings.topic("market"), 0
        while not self._closed.wait(self._settings.process.clock_ms / 1_000):
            count = count or _count_partitions(producer, topic)
            if self._running.is_set():
                for partition in range(count):
                    producer.produce(topic, b'{"type":"clock"}', partition=partition)
                producer.poll(0)
        producer.flush(2)


def _count_partitions(producer: Producer, topic: str) -> int:
    """0 while the broker is away: then it is asked again."""
    try:
        return len(producer.list_topics(topic, timeout=_CALL_S).topics[topic].partitions)
    except KafkaException as error:
        get_logger().info("clock_waits", error=str(error_of(error)))
        return 0
