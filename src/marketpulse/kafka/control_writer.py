"""Writes what people change: in one transaction to `control` and into every partition of `market`.

So a change is there everywhere or nowhere, and a replay of `market` meets it where it happened.
"""

import contextlib
import time
from collections.abc import Callable, Sequence
from typing import Any

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, Producer, TopicPartition

from marketpulse.kafka.client import client_config
from marketpulse.kafka.control_record import control_value, offsets_headers
from marketpulse.kafka.short_transaction import CALL_S, short_transaction
from marketpulse.settings import Settings

_LONGEST_MS = 10_000
_LOOK_EVERY_S = 0.005


def write_change(
    settings: Settings,
    key: str,
    change: dict[str, Any],
    begins: Callable[[], Sequence[int]] = tuple,
    topic: str = "market",
) -> list[int]:
    """The change's offsets in `market` (or the `topic` that it is heard in), by partition, when it is committed and can be read. Raises as
    `short_transaction`.

    `begins` is called when no other writer can come between any more, and may still refuse by raising: then nothing is
    written. It says where what is changed began, by partition (none: here).
    """
    written: list[Message] = []
    with short_transaction(settings, "control", _LONGEST_MS, "look at what runs now") as producer:
        began = begins()
        value = control_value(change)
        offsets = _write_everywhere(producer, settings.topic(topic), value)
        producer.produce(
            settings.topic("control"), value, key, headers=offsets_headers(offsets, began),
            on_delivery=lambda _, message: written.append(message),
        )  # fmt: skip
    for message in written:
        _await_visible(settings, TopicPartition(message.topic() or "", message.partition() or 0, message.offset() or 0))
    return offsets


def _await_visible(settings: Settings, place: TopicPartition) -> None:
    """Return when readers of what is committed see the record: the broker ends a transaction in its topics a moment
    after it has answered the commit. Whoever is impatient or cut off may read the past a little longer."""
    consumer = Consumer(
        client_config(
            settings, "consumer", group_id=settings.group("marketpulse-control"), isolation_level="read_committed"
        )
    )
    give_up = time.monotonic() + CALL_S
    with contextlib.closing(consumer):
        while time.monotonic() < give_up:
            with contextlib.suppress(KafkaException):
                _, end = consumer.get_watermark_offsets(place, timeout=CALL_S)
                if end > place.offset:
                    return
            time.sleep(_LOOK_EVERY_S)


def _write_everywhere(producer: Producer, topic: str, value: bytes) -> list[int]:
    """The record's offset in each partition, once the broker has them all."""
    found = producer.list_topics(topic, timeout=CALL_S).topics[topic]
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
    if left := producer.flush(CALL_S):
        raise KafkaException(KafkaError(KafkaError._TIMED_OUT, f"{left} records are not acknowledged"))
    if faults:
        raise KafkaException(faults[0])
    return [offsets[partition] for partition in sorted(offsets)]
