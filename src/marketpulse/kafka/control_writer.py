"""Writes what people change: in one transaction to `control` and into every partition of `market`.

So a change is there everywhere or nowhere, and a replay of `market` meets it where it happened.
"""

import contextlib
from typing import Any

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from marketpulse.errors import Retryable
from marketpulse.kafka.client import LogProducer, client_config, error_of
from marketpulse.kafka.control_record import control_value, offsets_header
from marketpulse.settings import Settings

_CALL_S = 15.0
_TRANSACTION_MS = 10_000  # a killed writer holds up committed readers that long


def write_change(settings: Settings, key: str, change: dict[str, Any]) -> None:
    """Returns when the change is committed.

    A second writer at the same time takes over from the first, whose change is then not made. Raises Retryable
    while the broker is away, Fatal when it refuses; without a commit nothing of the change is seen.
    """
    producer = LogProducer(
        client_config(
            settings, "producer", transactional_id=f"{settings.kafka.topic_prefix}marketpulse-control",
            transaction_timeout_ms=_TRANSACTION_MS, linger_ms=0,
        )
    )  # fmt: skip
    committing = False
    try:
        producer.init_transactions(_CALL_S)
        producer.begin_transaction()
        value = control_value(change)
        offsets = _write_everywhere(producer, settings.topic("market"), value)
        producer.produce(settings.topic("control"), value, key, headers=[offsets_header(offsets)])
        committing = True
        producer.commit_transaction(_CALL_S)
    except KafkaException as error:
        with contextlib.suppress(KafkaException):
            producer.abort_transaction(_CALL_S)
        found = error_of(error)
        if committing and isinstance(found, Retryable):
            raise Retryable(
                f"it is not known whether the change was made: look at what runs now; {found}"
            ) from None
        raise found from None


def _write_everywhere(producer: Producer, topic: str, value: bytes) -> list[int]:
    """The record's offset in each partition, once the broker has them all."""
    found = producer.list_topics(topic, timeout=_CALL_S).topics[topic]
    if found.error is not None:
        raise KafkaException(found.error)
    offsets: dict[int, int] = {}
    faults: list[KafkaError] = []

    def delivered(error: KafkaError | None, message: Message) -> None:
        if error is not None:
            faults.append(error)
        else:
            offsets[message.partition() or 0] = message.offset() or 0

    for partition in found.partitions:
        producer.produce(topic, value, partition=partition, on_delivery=delivered)
    if left := producer.flush(_CALL_S):
        raise KafkaException(KafkaError(KafkaError._TIMED_OUT, f"{left} records are not acknowledged"))
    if faults:
        raise KafkaException(faults[0])
    return [offsets[partition] for partition in sorted(offsets)]
