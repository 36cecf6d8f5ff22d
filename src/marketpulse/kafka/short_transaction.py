"""One transaction by hand: a few records that count together or not at all, written by a person's command."""

import contextlib
import time
from collections.abc import Iterator

from confluent_kafka import KafkaException

from marketpulse.errors import Retryable
from marketpulse.kafka.client import FENCED, LogProducer, client_config, error_of
from marketpulse.settings import Settings

CALL_S = 15.0


@contextlib.contextmanager
def short_transaction(settings: Settings, writer: str, longest_ms: int, look: str) -> Iterator[LogProducer]:
    """A producer in a transaction, which is committed at the end of the block.

    A second one by the same `writer` takes over from the first, whose records then do not count. A killed one holds up
    committed readers for `longest_ms`. Raises Retryable while the broker is away, Fatal when it refuses; without a
    commit nothing is seen, nor of a block that took longer than that. Where it is not known whether it was committed, the message says to `look`.
    """
    producer = LogProducer(
        client_config(
            settings, "producer", transactional_id=f"{settings.kafka.topic_prefix}marketpulse-{writer}",
            transaction_timeout_ms=longest_ms, linger_ms=0,
        )
    )  # fmt: skip
    committing, began = False, time.monotonic()
    try:
        producer.init_transactions(CALL_S)
        producer.begin_transaction()
        began = time.monotonic()
        yield producer
        committing = True
        producer.commit_transaction(CALL_S)
    except KafkaException as error:
        with contextlib.suppress(KafkaException):
            producer.abort_transaction(CALL_S)
        open_s = time.monotonic() - began
        if error.args[0].code() in FENCED and 1_000 * open_s >= longest_ms:
            raise Retryable(
                f"nothing was written: it took {open_s:.1f} s, and the broker gives it {longest_ms / 1_000:g} s: do it again"
            ) from None
        found = error_of(error)
        if committing and isinstance(found, Retryable):
            raise Retryable(f"it is not known whether this was written: {look}; {found}") from None
        raise found from None
