"""Records that another client read from the log, such as Spark's, as the messages that ours would give."""

from confluent_kafka import TIMESTAMP_LOG_APPEND_TIME, Message


def relayed_message(
    topic: str,
    partition: int,
    offset: int,
    append_time_ms: int,
    key: bytes | None,
    value: bytes | None,
    content_type: bytes | None,
) -> Message:
    """One record at its place in the log, with the broker's append time and its content-type header, if any."""
    return Message(
        topic=topic,
        partition=partition,
        offset=offset,
        timestamp=(TIMESTAMP_LOG_APPEND_TIME, append_time_ms),
        key=key,
        value=value,
        headers=[] if content_type is None else [("content-type", content_type)],
    )
