"""What one source's Polled comes to: records for `market` and `dead-letters`, in the order of the log."""

from collections import Counter
from collections.abc import Iterator
from typing import NamedTuple

import orjson
import pyarrow.compute as pc

from marketpulse.kafka.dead_letter import encode_dead_letter
from marketpulse.kafka.market_encoder import encode_market
from marketpulse.model.market import ABSENT, DeadLetter
from marketpulse.ports import Hello, Polled, RejectedInput
from marketpulse.settings import Settings

Headers = list[tuple[str, str | bytes | None]] | None


class Outgoing(NamedTuple):
    """One record as the client takes it; partition -1 leaves the choice to the key."""

    topic: str
    partition: int
    key: bytes | None
    value: bytes
    headers: Headers = None


class MarketRecords:
    """Makes records; remembers the run that the source is in."""

    def __init__(self, settings: Settings, source: str) -> None:
        self._wire = settings.kafka.wire
        self._market, self._dead_letters = settings.topic("market"), settings.topic("dead-letters")
        self._source = source
        self._run_id: str | None = None

    def of(self, polled: Polled, partitions: int) -> list[Outgoing]:
        """Hello (to every partition), rows, rejected rows, goodbye (to every partition)."""
        found: list[Outgoing] = []
        if polled.hello is not None:
            found += self._everywhere(_hello(polled.hello), partitions)
            found += self._everywhere({"type": "clock"}, partitions)  # log time may have stood still for long
        for batch in polled.batches:
            for encoded in encode_market(batch, wire=self._wire, partitions=partitions):
                place = -1 if encoded.partition is None else encoded.partition
                headers: Headers = None if encoded.headers is None else list(encoded.headers)
                found.append(Outgoing(self._market, place, encoded.key, encoded.value, headers))
        found += [self._dead_letter(item) for item in polled.rejected]
        if polled.hello is not None:
            self._run_id = polled.hello.run_id
        if polled.goodbye_watermark_ns is not None:
            goodbye = {"type": "goodbye", "source": self._source, "watermark_ns": polled.goodbye_watermark_ns}
            found += self._everywhere(self._in_run(goodbye), partitions)
        return found

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
