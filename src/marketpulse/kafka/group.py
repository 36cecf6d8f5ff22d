"""Being a member of a consumer group: what its callbacks raise, and leaving it in bounded time."""

import threading
import time
from collections.abc import Callable

from confluent_kafka import Consumer, KafkaException, TopicPartition

from marketpulse.telemetry import CLIENTS_LEFT_BEHIND, get_logger

_CLOSE_S = 10.0
_GIVE_BACK_S = 5.0
_FENCED_CLOSE_S = 1.0  # a client that was fenced often does not close at all


Rebalanced = Callable[[Consumer, list[TopicPartition]], None]


def judging(callback: Rebalanced, judge: Callable[[KafkaException], Exception]) -> Rebalanced:
    """The callback, but a KafkaException in it comes out of `poll` as what `judge` makes of it.

    The client raises what a callback raises, but before Python 3.12 only if Python code raised it: what
    its own methods raise there (`committed` while the broker is away) comes out as a bare KafkaError,
    which is no exception and which no `except` catches. So it is judged inside.
    """

    def call(consumer: Consumer, partitions: list[TopicPartition]) -> None:
        try:
            callback(consumer, partitions)
        except KafkaException as error:
            raise judge(error) from error

    return call


def leave(consumer: Consumer, close_s: float = _CLOSE_S) -> None:
    """Give the partitions back and close the consumer. What its callbacks raise comes out of here.

    The callbacks run in the calling thread, before the client begins to close: once it has begun, it may
    never answer them when its broker died in the middle of a rebalance
    (https://github.com/confluentinc/librdkafka/issues/4884). A client that does not close within
    `close_s` is left behind, with its threads, counted and logged: the group forgets it when its session
    ends, and a process does not wait for it to end.
    """
    try:
        try:
            consumer.unsubscribe()
        except KafkaException as error:  # its place in the group was taken: there is nothing to give back
            get_logger().info("left_already", error=str(error))
            close_s = min(close_s, _FENCED_CLOSE_S)
        deadline = time.monotonic() + _GIVE_BACK_S
        while consumer.assignment() and time.monotonic() < deadline:
            consumer.poll(0.05)
    finally:
        _close(consumer, close_s)


def _close(consumer: Consumer, within_s: float) -> None:
    raised: list[BaseException] = []

    def close() -> None:
        try:
            consumer.close()
        except BaseException as error:  # noqa: BLE001  (raised again by the caller's thread)
            raised.append(error)

    closing = threading.Thread(target=close, name="leave group", daemon=True)
    closing.start()
    closing.join(within_s)
    if closing.is_alive():
        CLIENTS_LEFT_BEHIND.inc()
        get_logger().warning("client_left_behind", after_s=within_s)
    if raised:
        raise raised[0]
