"""Membership of a consumer group: what its callbacks raise, and leaving it in bounded time."""

import threading
import time
from collections.abc import Callable, Sequence

from confluent_kafka import Consumer, KafkaException, TopicPartition

from marketpulse.telemetry import CLIENTS_LEFT_BEHIND, get_logger

_CLOSE_S = 10.0
_GIVE_BACK_S = 5.0
_FENCED_CLOSE_S = 1.0  # a client that was fenced often does not close at all

Partitions = list[TopicPartition]
Rebalanced = Callable[[Consumer, Partitions], None]


class Membership:
    """A consumer's membership of its group, from `join` to `leave`. Both, and `poll`, are called from one thread.

    A KafkaException in a callback comes out of `poll` as what `judge` makes of it. The client raises what
    a callback raises, but before Python 3.12 only if Python code raised it: what its own methods raise
    there (`committed` while the broker is away) comes out as a bare KafkaError, which is no exception and
    which no `except` catches. So it is judged inside.
    """

    def __init__(self, consumer: Consumer, judge: Callable[[KafkaException], Exception]) -> None:
        self._consumer, self._judge = consumer, judge
        self._refused: set[tuple[str, int]] = set()  # assigned while it left
        self._is_leaving = self._is_closing = self._has_moved = False

    def join(self, topics: Sequence[str], on_assign: Rebalanced, on_revoke: Rebalanced, on_lost: Rebalanced) -> None:
        """Subscribe. `on_assign` calls the client's `assign` or `incremental_assign`, also for no partitions."""

        def assign(consumer: Consumer, partitions: Partitions) -> None:
            if self._is_leaving:  # its owner has let go of what it would read them with
                self._refused |= {(p.topic, p.partition) for p in partitions}
                partitions = []
            on_assign(consumer, partitions)

        self._consumer.subscribe(
            list(topics), on_assign=self._guarded(assign), on_revoke=self._guarded(on_revoke),
            on_lost=self._guarded(on_lost),
        )  # fmt: skip

    def leave(self, close_s: float = _CLOSE_S) -> None:
        """Give the partitions back and close the consumer. What its callbacks raise comes out of here.

        The callbacks run in the calling thread, before the client begins to close: once it has begun, it may
        never answer them when its broker died in the middle of a rebalance
        (https://github.com/confluentinc/librdkafka/issues/4884). A client that does not close within
        `close_s` is left behind, with its threads, counted and logged: the group forgets it when its session
        ends, and a process does not wait for it to end. A callback that comes while it closes, perhaps
        minutes later, never returns: what follows it is the client's own `incremental_unassign`, which holds
        Python's lock while it waits for an answer that may never come.
        """
        self._is_leaving = True
        try:
            try:
                self._consumer.unsubscribe()
            except KafkaException as error:  # another instance has its membership: there is nothing to give back
                get_logger().info("left_already", error=str(error))
                close_s = min(close_s, _FENCED_CLOSE_S)
            deadline = time.monotonic() + _GIVE_BACK_S
            self._has_moved = True
            while (self._has_moved or self._consumer.assignment()) and time.monotonic() < deadline:
                self._has_moved = False  # an assignment may wait that was never served, and its revocation behind it
                self._consumer.poll(0.05)
        finally:
            self._close(close_s)

    def _guarded(self, callback: Rebalanced) -> Rebalanced:
        def call(consumer: Consumer, partitions: Partitions) -> None:
            if self._is_closing:
                threading.Event().wait()
            self._has_moved = True
            try:
                callback(consumer, [p for p in partitions if (p.topic, p.partition) not in self._refused])
            except KafkaException as error:
                raise self._judge(error) from error

        return call

    def _close(self, within_s: float) -> None:
        raised: list[BaseException] = []

        def close() -> None:
            try:
                self._consumer.close()
            except BaseException as error:  # noqa: BLE001  (raised again by the caller's thread)
                raised.append(error)

        self._is_closing = True
        closing = threading.Thread(target=close, name="leave group", daemon=True)
        closing.start()
        closing.join(within_s)
        if closing.is_alive():
            CLIENTS_LEFT_BEHIND.inc()
            get_logger().warning("client_left_behind", after_s=within_s)
        if raised:
            raise raised[0]
