"""Writes a rebuild into `market`: all of its records in one transaction, in the symbol's partition."""

from collections.abc import Sequence

from confluent_kafka import KafkaError, KafkaException, Message

from marketpulse.kafka.short_transaction import short_transaction
from marketpulse.settings import Settings

_LONGEST_MS = 60_000
_FLUSH_S = 50.0


def write_rebuild(settings: Settings, partition: int, symbol: str, values: Sequence[bytes]) -> int:
    """Returns the offset of the last record when all are committed. Raises as `short_transaction`."""
    offsets: list[int] = []
    faults: list[KafkaError] = []

    def delivered(error: KafkaError | None, message: Message) -> None:
        if error is not None:
            faults.append(error)
        else:
            offsets.append(message.offset() or 0)

    with short_transaction(
        settings, "heal", _LONGEST_MS, "look with `marketpulse heal --dry-run`"
    ) as producer:
        for value in values:
            producer.produce(
                settings.topic("market"), value, symbol, partition=partition, on_delivery=delivered
            )
            producer.poll(0)
        if left := producer.flush(_FLUSH_S):
            raise KafkaException(KafkaError(KafkaError._TIMED_OUT, f"{left} records were not taken"))
        if faults:
            raise KafkaException(faults[0])
    return max(offsets)
