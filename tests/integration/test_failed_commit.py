"""A commit that fails is never taken for done: the worker hears that nothing of it counts, on the real broker."""

import time
from collections.abc import Sequence

import pytest
from confluent_kafka import KafkaError, KafkaException

from bare_clients import BareTopic
from marketpulse.kafka.transaction import BEGINNING, AbortedTransaction, Taken, TransactionalLog
from marketpulse.settings import Settings


def test_a_commit_whose_offsets_are_refused_is_aborted_and_says_so(
    kafka_settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise KafkaException(KafkaError(KafkaError.UNKNOWN_MEMBER_ID, "the group does not know this member"))

    owned: set[int] = set()

    def on_take(taken: Sequence[Taken]) -> dict[int, int]:
        owned.update(one.partition for one in taken)
        return {one.partition: BEGINNING for one in taken}

    log = TransactionalLog(kafka_settings, 0, on_take, lambda _: None, lambda: {0: (1, None)})
    log.start()
    try:
        deadline = time.monotonic() + 30
        while not owned and time.monotonic() < deadline:
            log.poll(0.1, 100)
        log.write("bars", [(b"AAA", b"{}")])
        monkeypatch.setattr("marketpulse.kafka.transaction.send_offsets", refuse)
        with pytest.raises(AbortedTransaction, match="commit failed: the group does not know this member"):
            log.commit()
        assert not log.in_transaction
    finally:
        log.close()
    assert list(BareTopic.of(kafka_settings, "bars").committed()) == []
