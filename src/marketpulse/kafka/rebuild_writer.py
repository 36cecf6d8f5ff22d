"""Writes records of rebuilds into `market`, all in one transaction, each in its symbol's partition."""

from collections import defaultdict
from collections.abc import Sequence

from confluent_kafka import KafkaError, KafkaException, Message

from marketpulse.kafka.short_transaction import short_transaction
from marketpulse.settings import Settings

_LONGEST_MS = 60_000
_FLUSH_S = 50.0


def write_rebuild(settings: Settings, records: Sequence[tuple[int, str, bytes]]) -> list[int]:
    """(partition, symbol, value) each; returns their offsets when all are committed. Raises as `short_transaction`."""
    offsets: dict[int, list[int]] = defaultdict(list)
    faults: list[KafkaError] = []

    def delivered(error: KafkaError | None, message: Message) -> None:
        if error is not None:
            faults.append(error)
        else:
            offsets[message.partition() or 0].append(message.offset() or 0)

    with short_transaction(settings, "heal", _LONGEST_MS, "look with `marketpulse heal --dry-run`") as producer:
        for partition, symbol, value in records:
            producer.produce(settings.topic("market"), value, symbol, partition=partition, on_delivery=delivered)
            producer.poll(0)
        if left := producer.flush(_FLUSH_S):
            raise KafkaException(KafkaError(KafkaError._TIMED_OUT, f"{left} records were not taken"))
        if faults:
            raise KafkaException(faults[0])
    order = {partition: iter(sorted(found)) for partition, found in offsets.items()}
    return [next(order[partition]) for partition, _, _ in records]
