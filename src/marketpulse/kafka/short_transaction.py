"""One transaction by hand: a few records that count together or not at all, written by a person's command."""

import contextlib
from collections.abc import Iterator

from confluent_kafka import KafkaException

from marketpulse.errors import Retryable
from marketpulse.kafka.client import LogProducer, client_config, error_of
from marketpulse.settings import Settings

CALL_S = 15.0


@contextlib.contextmanager
def short_transaction(settings: Settings, writer: str, longest_ms: int, look: str) -> Iterator[LogProducer]:
    """A producer in a transaction, which is committed at the end of the block.

    A second one by the same `writer` takes over from the first, whose records then do not count. A killed one holds up
    committed readers for `longest_ms`. Raises Retryable while the broker is away, Fatal when it refuses; without a
    commit nothing is seen. Where it is not known whether it was committed, the message says to `look`.
    """
    producer = LogProducer(
        client_config(
            settings, "producer", transactional_id=f"{settings.kafka.topic_prefix}marketpulse-{writer}",
            transaction_timeout_ms=longest_ms, linger_ms=0,
        )
    )  # fmt: skip
    committing = False
    try:
        producer.init_transactions(CALL_S)
        producer.begin_transaction()
        yield producer
        committing = True
        producer.commit_transaction(CALL_S)
    except KafkaException as error:
        with contextlib.suppress(KafkaException):
            producer.abort_transaction(CALL_S)
        found = error_of(error)
        if committing and isinstance(found, Retryable):
            raise Retryable(f"it is not known whether this was written: {look}; {found}") from None
        raise found from None
