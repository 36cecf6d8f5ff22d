"""Writes `live` rows: outside transactions, as fast as the client sends, never in the engine's way."""

from collections.abc import Sequence

import numpy as np

from marketpulse.kafka.client import LogProducer, client_config
from marketpulse.kafka.row_sender import RowSender
from marketpulse.kafka.row_writer import RowWriter
from marketpulse.model.market import Ints
from marketpulse.model.record_rows import RecordRows, RowField
from marketpulse.settings import Settings
from marketpulse.telemetry import EVENT_LATENCY_SECONDS

_QUEUE_MAX = 20_000


class LiveWriter:
    """Rows that cannot be sent at once are dropped: the next ones are newer anyway."""

    def __init__(self, settings: Settings, fields: Sequence[RowField], began_ns: int) -> None:
        """`fields`: those of a row. Trades of before `began_ns` are not measured: they waited for this process."""
        self._began_ns = began_ns
        self._topic = settings.topic("live")
        self._writer = RowWriter(fields)
        self._producer = LogProducer(
            client_config(
                settings, "producer", linger_ms=1, acks=1, enable_idempotence=False,
                queue_buffering_max_messages=_QUEUE_MAX, message_timeout_ms=2_000,
            )
        )  # fmt: skip
        self._sender = RowSender(self._producer)

    def write(self, rows: RecordRows, ingested_ns: Ints, now_ns: int) -> None:
        """Send the rows. `ingested_ns` (n,), 0: unknown, and `now_ns` are for the latency metric."""
        done, count = 0, len(rows)
        if len(self._producer) < _QUEUE_MAX - count:
            while done < count:
                records, done = self._writer.lay_out(rows, done)
                self._sender.send(self._topic, records)
        self._producer.poll(0)
        for ingested in np.unique(ingested_ns).tolist():
            if ingested and ingested >= self._began_ns:
                EVENT_LATENCY_SECONDS.observe(max(0.0, (now_ns - ingested) / 1e9))

    def close(self) -> None:
        self._producer.flush(2)
        self._sender.close()
