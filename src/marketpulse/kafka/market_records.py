"""What one source's Polled comes to: records for `market` and `dead-letters`, in the order of the log."""

import uuid
from collections import Counter
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc

from marketpulse.kafka.dead_letter import encode_dead_letter
from marketpulse.kafka.market_encoder import encode_market
from marketpulse.kafka.row_codec import RowRecords, lay_out_rows
from marketpulse.model.market import ABSENT, DeadLetter
from marketpulse.ports import Hello, Polled, RejectedInput
from marketpulse.settings import Settings

_ROW_BYTES_MAX = 100_000

Headers = list[tuple[str, str | bytes | None]] | None


class Outgoing(NamedTuple):
    """One record as the client takes it; partition -1 leaves the choice to the key."""

    topic: str
    partition: int
    key: bytes | None
    value: bytes
    headers: Headers = None


class OutgoingRows(NamedTuple):
    """Rows of `market` on the JSON wire, keyed by their symbols, end to end in memory."""

    topic: str
    rows: RowRecords


class MarketRecords:
    """Makes records; remembers the run that the source is in. `in_rows`: rows on the JSON wire may be laid end to end.

    Of such rows the client does not tell what became of each, only that a transaction fails.
    """

    def __init__(self, settings: Settings, source: str, *, in_rows: bool = False, topic: str = "market") -> None:
        self._in_rows = in_rows and settings.kafka.wire == "json"
        self._wire = settings.kafka.wire
        self._market, self._dead_letters = settings.topic(topic), settings.topic("dead-letters")
        self._source = source
        self._run_id: str | None = None
        self.sender = uuid.uuid4().hex[:8]  # in each hello: the engine counts by it (kafka.source_counts)

    def of(self, polled: Polled, partitions: int) -> list[Outgoing | OutgoingRows]:
        """Hello (to every partition), rows, rejected rows, goodbye (to every partition)."""
        found: list[Outgoing | OutgoingRows] = []
        if polled.hello is not None:
            found += self._everywhere({**_hello(polled.hello), "sender": self.sender}, partitions)
            found += self.clock(partitions)  # log time may have stood still for long
        for batch in polled.batches:
            rows = self._rows(batch)
            found += self._records(batch, partitions) if rows is None else [rows]
        found += [self._dead_letter(item) for item in polled.rejected]
        if polled.hello is not None:
            self._run_id = polled.hello.run_id
        if polled.goodbye_watermark_ns is not None:
            goodbye = {"type": "goodbye", "source": self._source, "watermark_ns": polled.goodbye_watermark_ns}
            found += self._everywhere(self._in_run(goodbye), partitions)
        return found

    def _rows(self, batch: pa.RecordBatch) -> OutgoingRows | None:
        """The batch end to end; None where its records are to be made one by one."""
        if not self._in_rows or "body" in batch.schema.names or batch.column("symbol").null_count:
            return None
        rows = lay_out_rows(batch, nulls=False)
        if len(rows) and int(np.diff(rows.value_ends).max()) > _ROW_BYTES_MAX:
            return None  # so that the client says which one it was, should the broker refuse it
        return OutgoingRows(self._market, rows)

    def _records(self, batch: pa.RecordBatch, partitions: int) -> Iterator[Outgoing]:
        for encoded in encode_market(batch, wire=self._wire, partitions=partitions):
            place = -1 if encoded.partition is None else encoded.partition
            headers: Headers = None if encoded.headers is None else list(encoded.headers)
            yield Outgoing(self._market, place, encoded.key, encoded.value, headers)

    def clock(self, partitions: int) -> list[Outgoing]:
        return list(self._everywhere({"type": "clock"}, partitions))

    def heartbeat(self, source: str, event_time_ns: int, partitions: int) -> list[Outgoing]:
        record: dict[str, object] = {"type": "heartbeat", "source": source, "event_time_ns": event_time_ns}
        return list(self._everywhere(self._in_run(record), partitions))

    def _in_run(self, record: dict[str, object]) -> dict[str, object]:
        return record if self._run_id is None else {**record, "run_id": self._run_id}

    def _everywhere(self, record: dict[str, object], partitions: int) -> Iterator[Outgoing]:
        value = orjson.dumps(record)
        return (Outgoing(self._market, partition, None, value) for partition in range(partitions))

    def _dead_letter(self, item: RejectedInput) -> Outgoing:
        letter = DeadLetter(item.reason, item.detail, item.origin, -1, item.row, ABSENT, None, item.value)
        key, value = encode_dead_letter(letter)
        return Outgoing(self._dead_letters, -1, key, value)


def count_by_type(polled: Polled) -> Counter[str]:
    """How many rows of each `type` there are."""
    found: Counter[str] = Counter()
    for batch in polled.batches:
        for entry in pc.value_counts(batch.column("type")).to_pylist():
            found[entry["values"]] += entry["counts"]
    return found


def _hello(hello: Hello) -> dict[str, object]:
    record: dict[str, object] = {
        "type": "hello", "source": hello.source, "mode": hello.mode, "run_id": hello.run_id,
        "lateness_ns": hello.lateness_ns, "simulated": hello.simulated,
    }  # fmt: skip
    return record if hello.calendar is None else {**record, "calendar": hello.calendar}
