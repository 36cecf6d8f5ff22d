"""One dead letter for what cannot be read, however many readers meet it and however often they begin again.

Every reader may be the first. Whoever is takes the one transactional id of these letters, which ends what another was
about to write, looks whether the place has its letter already, and writes what is missing before it gives the id away.
"""

import random
import time
from collections.abc import Collection, Sequence
from typing import cast

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, TopicPartition

from marketpulse.errors import Fatal, Retryable
from marketpulse.kafka.client import LogProducer, client_config, error_of
from marketpulse.kafka.dead_letter import encode_dead_letter
from marketpulse.kafka.short_transaction import short_transaction
from marketpulse.kafka.unreadable import UNREADABLE, find_unreadable
from marketpulse.model.market import DeadLetter
from marketpulse.settings import Settings
from marketpulse.telemetry import DEAD_LETTERS

_TRIES = 10
_AGAIN_S, _AGAIN_S_MOST = 0.1, 2.0
_LONGEST_MS = 10_000
_CALL_S = 10.0
_READ_S = 30.0
_AT_ONCE, _WAIT_MS = 2_000, 10


def write_dead_letters(settings: Settings, letters: Sequence[DeadLetter]) -> None:
    """Write those that do not stand in `dead-letters` yet. Their records' keys say the place: `market/3@17`.

    Raises Retryable when they could not be written in time, Fatal where this user may not.
    """
    pending = {_key_of(letter): letter for letter in letters}
    for number in range(_TRIES):
        try:
            if not pending.keys() - _written_keys(settings, pending.keys()):
                return  # by another reader, or before this one began again
            with short_transaction(settings, "unreadable", _LONGEST_MS, "it is tried again") as producer:
                written = _written_keys(settings, pending.keys())
                missing = [letter for key, letter in pending.items() if key not in written]
                _produce(producer, settings.topic("dead-letters"), missing)
        except (Retryable, Fatal):  # another reader has taken the id, or the broker is away
            if number == _TRIES - 1:
                raise
            time.sleep(random.uniform(0.2, 1) * min(_AGAIN_S * 2**number, _AGAIN_S_MOST))
            continue
        for letter in missing:
            DEAD_LETTERS.labels(letter.reason).inc()
        return


def _key_of(letter: DeadLetter) -> bytes:
    return f"{letter.topic}/{letter.partition}@{letter.offset}".encode()


def _produce(producer: LogProducer, topic: str, letters: Sequence[DeadLetter]) -> None:
    faults: list[KafkaError] = []
    for letter in letters:
        producer.produce(
            topic, encode_dead_letter(letter)[1], _key_of(letter),
            on_delivery=lambda error, _: faults.append(error) if error is not None else None,
        )  # fmt: skip
    if producer.flush(_CALL_S):
        raise KafkaException(KafkaError(KafkaError._TIMED_OUT, "the dead letters are not acknowledged"))
    if faults:
        raise KafkaException(faults[0])


def _written_keys(settings: Settings, keys: Collection[bytes]) -> set[bytes]:
    """Those of the keys that a committed record of `dead-letters` has. Nobody else can write one meanwhile."""
    topic = settings.topic("dead-letters")
    config = client_config(
        settings, "consumer", group_id="marketpulse-unreadable", isolation_level="read_committed",
        auto_offset_reset="earliest", enable_partition_eof=True, fetch_wait_max_ms=_WAIT_MS,
    )  # fmt: skip
    consumer = Consumer(config)
    found: set[bytes] = set()
    give_up = time.monotonic() + _READ_S
    try:
        known = consumer.list_topics(topic, timeout=_CALL_S).topics[topic]
        if known.error is not None:
            raise error_of(known.error)
        open_ends = set(known.partitions)
        consumer.assign([TopicPartition(topic, p, OFFSET_BEGINNING) for p in open_ends])
        while open_ends and time.monotonic() < give_up:
            for message in consumer.consume(_AT_ONCE, _WAIT_MS / 1e3):
                error, partition = message.error(), cast(int, message.partition())
                if error is None:
                    found |= {message.key()} & set(keys)  # type: ignore[arg-type]
                elif error.code() == KafkaError._PARTITION_EOF:
                    open_ends.discard(partition)
                elif error.code() in UNREADABLE:  # what these letters are about may stand among them
                    broken = find_unreadable(config, topic, partition, cast(int, message.offset()))
                    behind = broken[-1].last + 1 if broken else cast(int, message.offset())
                    consumer.seek(TopicPartition(topic, partition, behind))
                else:
                    raise error_of(error)
    except KafkaException as error:
        raise error_of(error) from None
    finally:
        consumer.close()
    if open_ends:
        raise Retryable(f"the dead letters could not be read in {_READ_S:.0f} s: try again")
    return found
