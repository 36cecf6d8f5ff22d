"""Dead letters for a person: the newest ones, and one of them sent again once it is mended."""

import base64
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any, TypeVar, cast

import orjson
from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from marketpulse.errors import ParameterError, Retryable
from marketpulse.kafka.client import client_config, error_of
from marketpulse.kafka.log_consumer import LogConsumer
from marketpulse.kafka.market_contract import Refused, checked
from marketpulse.kafka.one_record import read_object
from marketpulse.kafka.short_transaction import short_transaction
from marketpulse.model.market import OF_ENGINE, WITHOUT_SYMBOL
from marketpulse.settings import Settings

_CALL_S = 5.0
_READ_S = 10.0
_AGAIN_S = 0.2
_SHOWN_CHARACTERS = 20_000  # of a record; one may have fifteen million bytes
_LONGEST_MS = 20_000
_NOT_TO_SEND = WITHOUT_SYMBOL | OF_ENGINE  # what only the pipeline itself writes
_REMEMBERED = 10_000

T = TypeVar("T")
Place = tuple[int, int]


class KafkaDeadLetters:
    """A DeadLetterDesk over the topic `dead-letters`. It remembers what it has sent again for as long as it lives."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._topic = settings.topic("dead-letters")
        self._one_at_a_time = threading.Lock()
        self._consumer: Consumer | None = None
        self._sent: dict[Place, dict[str, Any]] = {}

    def newest(self, limit: int) -> list[Mapping[str, Any]]:
        """As ports.DeadLetterDesk."""
        with self._one_at_a_time:
            messages = _patiently(lambda: self._newest_messages(limit))
            messages.sort(key=lambda m: (m.timestamp()[1], m.offset() or 0), reverse=True)
            return [self._shown(message) for message in messages[:limit]]

    def send_again(self, partition: int, offset: int, value: bytes) -> Mapping[str, Any]:
        """As ports.DeadLetterDesk."""
        record = read_object(value)
        kind = checked(record)
        if kind in _NOT_TO_SEND:
            raise Refused("unknown_type", f"a {kind.name.lower()} is written by the pipeline alone")
        with self._one_at_a_time:
            if (partition, offset) in self._sent:
                raise ParameterError("this letter was sent again already")
            if _patiently(lambda: self._at(partition, offset)) is None:
                raise ParameterError(f"no dead letter stands at {self._topic}/{partition}@{offset}")
            place = self._write(str(record["symbol"]), orjson.dumps(record), partition, offset)
            if len(self._sent) >= _REMEMBERED:
                self._sent.pop(next(iter(self._sent)))
            self._sent[partition, offset] = place
            return place

    def close(self) -> None:
        with self._one_at_a_time:
            if self._consumer is not None:
                self._consumer.close()
                self._consumer = None

    def _reader(self) -> Consumer:
        if self._consumer is None:
            self._consumer = LogConsumer(
                self._settings,
                client_config(
                    self._settings, "consumer", group_id="marketpulse-dead-letters", isolation_level="read_committed",
                    auto_offset_reset="earliest", enable_partition_eof=True,
                )
            )  # fmt: skip
        return self._consumer

    def _newest_messages(self, limit: int) -> list[Message]:
        reader = self._reader()
        known = reader.list_topics(self._topic, timeout=_CALL_S).topics[self._topic]
        if known.error is not None:
            return []  # nothing was ever set aside
        places = []
        for partition in known.partitions:
            low, high = reader.get_watermark_offsets(TopicPartition(self._topic, partition), timeout=_CALL_S)
            if high > low:  # every second record may be the end of a transaction
                places.append(TopicPartition(self._topic, partition, max(low, high - 2 * limit)))
        return self._read(places)

    def _at(self, partition: int, offset: int) -> Message | None:
        found = self._read([TopicPartition(self._topic, partition, offset)], most=1)
        return found[0] if found and found[0].offset() == offset else None

    def _read(self, places: list[TopicPartition], most: int | None = None) -> list[Message]:
        """The committed records from each place on, up to where the log ends."""
        if not places:
            return []
        reader, open_ends = self._reader(), len(places)
        reader.assign(places)
        found: list[Message] = []
        try:
            give_up = time.monotonic() + _READ_S
            while open_ends and (most is None or len(found) < most):
                message = reader.poll(0.1)
                if message is None:
                    if time.monotonic() > give_up:
                        raise Retryable("the dead letters could not be read in time: try again")
                elif (error := message.error()) is None:
                    found.append(message)
                elif error.code() == KafkaError._PARTITION_EOF:
                    open_ends -= 1
                elif error.code() == KafkaError._AUTO_OFFSET_RESET or error.code() == KafkaError.OFFSET_OUT_OF_RANGE:
                    return []
                else:
                    raise error_of(error)
            return found
        finally:
            reader.unassign()

    def _shown(self, message: Message) -> dict[str, Any]:
        place = (cast(int, message.partition()), cast(int, message.offset()))
        fields = {"letter_partition": place[0], "letter_offset": place[1], "appended_ms": message.timestamp()[1]}
        fields["sent_to"] = self._sent.get(place)  # type: ignore[assignment]
        try:
            letter = orjson.loads(message.value() or b"{}")
        except orjson.JSONDecodeError as error:
            return {
                **fields,
                "reason": "not_json",
                "detail": f"the letter itself cannot be read: {error}",
                "value": None,
            }
        text = letter.get("value")
        if text is None and letter.get("value_base64"):
            text = base64.b64decode(letter["value_base64"]).decode(errors="backslashreplace")
        cut = text is not None and len(text) > _SHOWN_CHARACTERS
        letter.pop("value_base64", None)
        return {**letter, **fields, "value": text[:_SHOWN_CHARACTERS] if cut else text, "cut": cut}

    def _write(self, symbol: str, value: bytes, partition: int, offset: int) -> dict[str, Any]:
        topic = self._settings.topic("market")
        places: list[Message] = []
        faults: list[KafkaError] = []

        def delivered(error: KafkaError | None, message: Message) -> None:
            if error is None:
                places.append(message)
            else:
                faults.append(error)

        origin = f"{self._topic}/{partition}@{offset}".encode()
        look = "look at the newest records with `marketpulse tail market`"
        with short_transaction(self._settings, "dead-letters", _LONGEST_MS, look) as producer:
            producer.produce(topic, value, symbol, headers=[("sent-again-from", origin)], on_delivery=delivered)
            if producer.flush(_READ_S):
                raise KafkaException(KafkaError(KafkaError._TIMED_OUT, "the record is not acknowledged"))
            if faults:
                raise KafkaException(faults[0])
        return {"topic": topic, "partition": places[0].partition(), "offset": places[0].offset()}


def _patiently(read: Callable[[], T]) -> T:
    """What is read; a broker that is just choosing a partition's leader is asked again."""
    give_up = time.monotonic() + _CALL_S
    while True:
        try:
            return read()
        except KafkaException as error:
            fault = error_of(error)
            if not isinstance(fault, Retryable) or time.monotonic() > give_up:
                raise fault from None
        time.sleep(_AGAIN_S)
