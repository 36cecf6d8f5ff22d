"""A transaction that is lost on the way is written again from memory, rows and position, once: on the real broker."""

import pyarrow as pa
import pytest
from confluent_kafka import Producer

from bare_clients import BareTopic, rows
from marketpulse.errors import Retryable
from marketpulse.kafka.producer import KafkaMarketLog
from marketpulse.model.market import TRADE
from marketpulse.ports import Polled
from marketpulse.settings import Settings

PRICES = [float(n) for n in range(1, 11)]


def trades() -> pa.RecordBatch:
    head = {"type": "trade", "source": "feed", "symbol": "AAA", "size": 1.0}
    told = [{**head, "price": price, "event_time_ns": 1_700_000_000_000_000_000 + int(price)} for price in PRICES]
    return pa.RecordBatch.from_pylist(told, schema=TRADE)


def test_rows_of_a_transaction_that_was_lost_before_its_commit_are_written_again(
    kafka_settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = KafkaMarketLog(kafka_settings, "feed", exactly_once=True)
    assert log.last_position() is None
    lost: list[Producer] = []

    def lose(producer: Producer, *arguments: object) -> None:
        lost.append(producer)
        producer.abort_transaction(20)  # as the broker does of itself with one that is open for too long
        monkeypatch.undo()

    log.write(Polled(batches=[trades()], position="10"))
    monkeypatch.setattr("marketpulse.kafka.source_position.send_offsets", lose)
    with pytest.raises(Retryable):
        log.flush()
    assert len(lost) == 1
    log.flush()
    assert [row["price"] for row in rows(BareTopic.of(kafka_settings).committed()) if row["type"] == "trade"] == PRICES
    assert log.last_position() == "10"
    log.close()
