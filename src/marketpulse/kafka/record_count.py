"""How many committed records a topic holds. Its offsets do not tell: ends of transactions and what was aborted stand
between the records."""

import time
from collections.abc import Mapping

from confluent_kafka import KafkaError, TopicPartition

from marketpulse.kafka.client import client_config
from marketpulse.kafka.log_consumer import LogConsumer
from marketpulse.settings import Settings

COUNTED_MAX = 1_000_000
"""Of a partition; what lies further back is taken as records, one an offset."""
_AT_ONCE = 5_000
_TURN_S = 0.5


class RecordCount:
    """Follows the topic and counts. All methods are called from one thread."""

    def __init__(self, settings: Settings, topic: str) -> None:
        self._topic = topic
        self._known = 0
        self._at: dict[int, int] = {}  # the next offset to count, by partition
        self._ends: dict[int, int] = {}  # as they were told last
        self._consumer = LogConsumer(
            settings,
            client_config(
                settings, "consumer", group_id="marketpulse-count", isolation_level="read_committed",
                auto_offset_reset="earliest", queued_max_messages_kbytes=4_096, enable_partition_eof=True,
            )
        )  # fmt: skip

    def up_to(self, ends: Mapping[int, int]) -> int:
        """How many there are, as far as half a second of reading goes. `ends`: where each partition ends now."""
        if any(end < self._ends.get(partition, 0) for partition, end in ends.items()):
            self._known, self._at = 0, {}  # the topic was made anew
        self._ends = dict(ends)
        if new := {p: max(0, end - COUNTED_MAX) for p, end in ends.items() if p not in self._at}:
            self._known += sum(new.values())
            self._at |= new
            self._consumer.assign([TopicPartition(self._topic, p, at) for p, at in self._at.items()])
        deadline = time.monotonic() + _TURN_S
        while any(self._at[p] < end for p, end in ends.items()) and (left := deadline - time.monotonic()) > 0:
            for message in self._consumer.consume(_AT_ONCE, min(left, 0.05)):
                partition, offset, error = message.partition(), message.offset(), message.error()
                if partition is None or offset is None:
                    continue
                if error is None:
                    self._known += 1
                    self._at[partition] = offset + 1
                elif error.code() == KafkaError._PARTITION_EOF:  # behind the end of the last transaction
                    self._at[partition] = max(self._at[partition], offset)
        return self._known

    def close(self) -> None:
        self._consumer.close()
