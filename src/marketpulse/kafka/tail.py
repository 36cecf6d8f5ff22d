"""A topic's rows as they pass, for a person to look at."""

from collections.abc import Iterator
from typing import Any, cast

import orjson
from confluent_kafka import OFFSET_BEGINNING, OFFSET_END, Consumer, KafkaError, KafkaException, Message, TopicPartition

from marketpulse.errors import Fatal, ParameterError
from marketpulse.foreign_json import parse_json
from marketpulse.kafka.client import client_config, error_of
from marketpulse.kafka.frame_bounds import bounded_table
from marketpulse.kafka.log_consumer import LogConsumer
from marketpulse.kafka.market_contract import Refused
from marketpulse.kafka.records import is_frame
from marketpulse.settings import Settings

_CALL_S = 10.0
_TURN_S = 0.2
_SHOWN_BYTES = 200


def tail(
    settings: Settings, topic: str, *, follow: bool = True, from_beginning: bool = False, limit: int | None = None
) -> Iterator[dict[str, Any]]:
    """Rows of a topic of ours (`bars`, `market` …), committed ones, each with its partition, offset and row.

    `follow`: wait for more at the end; else stop where every partition ended. Without
    `from_beginning` it begins at the end. A record that cannot be read is shown with the field
    `unreadable`, which says why. Raises Fatal when there is no such topic, Retryable while the
    broker is away.
    """
    if limit is not None and limit < 1:
        raise ParameterError(f"limit must be 1 or more, found {limit}")
    consumer = LogConsumer(
        settings,
        client_config(
            settings, "consumer", group_id="marketpulse-tail", isolation_level="read_committed",
            auto_offset_reset="earliest", enable_partition_eof=True, fetch_wait_max_ms=10,
        )
    )  # fmt: skip
    try:
        open_ends = _assign(consumer, settings.topic(topic), from_beginning)
        shown = 0
        while follow or open_ends:
            message = consumer.poll(_TURN_S)
            if message is None:
                continue
            if (error := message.error()) is not None:
                if error.code() != KafkaError._PARTITION_EOF:
                    raise error_of(error)
                open_ends.discard(cast(int, message.partition()))
                continue
            for row in _rows(message):
                yield row
                shown += 1
                if shown == limit:
                    return
    finally:
        consumer.close()


def _assign(consumer: Consumer, topic: str, from_beginning: bool) -> set[int]:
    try:
        found = consumer.list_topics(timeout=_CALL_S).topics
    except KafkaException as error:
        raise error_of(error) from None
    if topic not in found:
        ours = ", ".join(sorted(name for name in found if not name.startswith("__")))
        raise Fatal(f"there is no topic {topic}: choose one of {ours}, or create ours with `marketpulse topics`")
    offset = OFFSET_BEGINNING if from_beginning else OFFSET_END
    partitions = sorted(found[topic].partitions)
    consumer.assign([TopicPartition(topic, partition, offset) for partition in partitions])
    return set(partitions)


def _rows(message: Message) -> Iterator[dict[str, Any]]:
    place = {"partition": message.partition(), "offset": message.offset()}
    value = message.value()
    try:
        if value is None:
            yield {**place, "unreadable": "no value (a tombstone)", "key": _shown(message.key())}
        elif is_frame(message):
            for number, row in enumerate(bounded_table(value).to_pylist()):
                yield {**place, "row": number, **{k: v for k, v in row.items() if v is not None}}
        else:
            decoded = parse_json(value)
            yield {**place, "row": 0, **(decoded if isinstance(decoded, dict) else {"value": decoded})}
    except (orjson.JSONDecodeError, Refused) as error:
        yield {**place, "unreadable": str(error), "value": _shown(value)}


def _shown(content: bytes | None) -> str | None:
    """The beginning of some bytes as text."""
    if content is None:
        return None
    text = content[:_SHOWN_BYTES].decode(errors="backslashreplace")
    return text if len(content) <= _SHOWN_BYTES else f"{text}… ({len(content):,} bytes)"
