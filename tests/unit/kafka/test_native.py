"""The one fact about the Python client that is not public, and the library's functions that kernels call."""

from confluent_kafka import Consumer, Producer

from marketpulse.kafka import native
from marketpulse.kafka.client import LogProducer

NOWHERE = {"bootstrap.servers": "127.0.0.1:1", "client.id": "own-name", "log_level": 0}


def test_the_clients_objects_begin_with_the_librarys_handle() -> None:
    consumer, producer, derived = Consumer({**NOWHERE, "group.id": "g"}), Producer(NOWHERE), LogProducer(NOWHERE)
    names = [native.client_name(native.handle_of(client)) for client in (consumer, producer, derived)]
    assert [name.split(b"-")[0:2] for name in names] == [
        [b"own", b"name#consumer"], [b"own", b"name#producer"], [b"own", b"name#producer"]
    ]  # fmt: skip
    assert len(set(names)) == 3
    consumer.close()
