"""Writes `live` rows: outside transactions, as fast as the client sends, never in the engine's way."""

import pyarrow as pa
from confluent_kafka import Producer

from marketpulse.kafka.client import client_config
from marketpulse.kafka.codec import encode_rows
from marketpulse.settings import Settings
from marketpulse.telemetry import EVENT_LATENCY_SECONDS

_QUEUE_MAX = 20_000


class LiveWriter:
    """Rows that cannot be sent at once are dropped: the next ones are newer anyway."""

    def __init__(self, settings: Settings, began_ns: int) -> None:
        """Trades of before `began_ns` are not measured: they waited for this process."""
        self._began_ns = began_ns
        self._topic = settings.topic("live")
        self._producer = Producer(
            client_config(
                settings, "producer", linger_ms=1, acks=1, enable_idempotence=False,
                queue_buffering_max_messages=_QUEUE_MAX, message_timeout_ms=2_000,
            )
        )  # fmt: skip

    def write(self, rows: pa.RecordBatch, now_ns: int) -> None:
        """Send the rows of LIVE_HEAD and indicator columns; `now_ns` is for the latency metric."""
        if len(self._producer) < _QUEUE_MAX - rows.num_rows:
            for key, value in encode_rows(rows):
                self._producer.produce(self._topic, value, key)
        self._producer.poll(0)
        for ingested in rows.column("ingest_time_ns").unique().to_pylist():
            if ingested and ingested >= self._began_ns:
                EVENT_LATENCY_SECONDS.observe(max(0.0, (now_ns - ingested) / 1e9))

    def close(self) -> None:
        self._producer.flush(2)
