"""What a source wrote and took back never reaches the engine: on the real broker, as the engine reads it."""

import time

from bare_clients import bare_producer, transaction
from marketpulse.kafka.transaction import BEGINNING, TransactionalLog
from marketpulse.settings import Settings


def test_the_engine_reads_no_record_of_an_aborted_transaction(kafka_settings: Settings) -> None:
    producer = bare_producer(kafka_settings.kafka.bootstrap_servers, f"{kafka_settings.kafka.topic_prefix}writer")
    for value, keep in ((b"first", True), (b"taken back", False), (b"last", True)):
        with transaction(producer, keep=keep):
            producer.produce(kafka_settings.topic("market"), value, partition=0)
    log = TransactionalLog(
        kafka_settings, 0, lambda taken: {t.partition: BEGINNING for t in taken}, lambda _: None, dict
    )
    log.start()
    try:
        found: list[bytes | None] = []
        deadline = time.monotonic() + 30
        while b"last" not in found and time.monotonic() < deadline:
            found += [r.value(i) for r in log.poll(0.1, 100) for i in range(len(r))]
    finally:
        log.close()
    assert found == [b"first", b"last"]
