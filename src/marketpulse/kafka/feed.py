"""The reading end for pages: rows of bars, indicators, alerts and live as soon as the broker has them.

It reads uncommitted rows, so a page may be some milliseconds ahead of the books.
"""

import time
from collections.abc import Iterator, Mapping
from functools import partial
from typing import Literal, cast

from confluent_kafka import KafkaError, KafkaException, Message, TopicPartition

from marketpulse.errors import Fatal
from marketpulse.kafka.client import client_config, error_of
from marketpulse.kafka.codec import decode_rows
from marketpulse.kafka.log_consumer import LogConsumer
from marketpulse.kafka.pipeline_stats import StatsProbe
from marketpulse.kafka.records import is_frame
from marketpulse.ports import FeedBatch, PipelineStats
from marketpulse.settings import Settings
from marketpulse.telemetry import RECORDS_CONSUMED, get_logger

FeedTopic = Literal["bars", "indicators", "live", "alerts"]
_TOPICS: tuple[FeedTopic, ...] = ("bars", "indicators", "live", "alerts")
_RECORDS_MAX = 5_000
_BACK_PER_BAR = 20  # records of a partition that one bar of history is worth: symbols times timeframes in it
_BACK_MAX = 200_000  # records of a topic, where nothing else has them: some 6 s on 2 cores
_LIVE_BACK = 200  # forming bars are replaced within a second
_CALL_S = 2.0
_FETCH_MS = 20  # that a row which people look at may wait for others


class KafkaLiveFeed:
    """A LiveFeed over the broker. `history`: bars per symbol and timeframe that the page keeps.

    `stored` gives, by (topic, partition), the next offset that the page does not have from elsewhere.
    Where it does, reading begins there, or some records back; else as far back as is bearable, since
    most records of a topic are bars of the shortest timeframe.

    It never joins a group: every feed sees all partitions. While the broker is away it yields
    nothing, and goes on by itself. All methods are called from one thread.
    """

    def __init__(self, settings: Settings, history: int, stored: Mapping[tuple[str, int], int] | None = None) -> None:
        self._stored = stored or {}
        self._names: dict[str, FeedTopic] = {settings.topic(name): name for name in _TOPICS}
        self._history = history
        self._probe = StatsProbe(settings)
        self._following = False
        self._consumer = LogConsumer(
            settings,
            client_config(
                settings, "consumer", group_id="marketpulse-feed", isolation_level="read_uncommitted",
                auto_offset_reset="earliest", fetch_wait_max_ms=_FETCH_MS,
            )
        )  # fmt: skip

    def batches(self, timeout_s: float) -> Iterator[FeedBatch]:
        """What has come within `timeout_s`: recent rows first, then rows as they come. Raises Fatal
        when the topics may not be read."""
        deadline = time.monotonic() + timeout_s
        if not self._following and not self._follow():
            time.sleep(max(0.0, deadline - time.monotonic()))
            return
        first = self._consumer.poll(max(0.0, deadline - time.monotonic()))
        while first is not None:
            messages = [first, *self._consumer.consume(_RECORDS_MAX - 1, 0)]
            yield from self._decoded(messages)
            first = self._consumer.poll(0) if len(messages) == _RECORDS_MAX else None

    def stats(self) -> PipelineStats:
        """What the log says about the pipeline, at most a second old. Never waits for the broker long."""
        return self._probe.stats()

    def close(self) -> None:
        self._probe.close()
        self._consumer.close()

    def _follow(self) -> bool:
        """Take all partitions, some records back. False while the broker is away or has no topics yet."""
        try:
            known = self._consumer.list_topics(timeout=_CALL_S).topics
            if not all(name in known for name in self._names):
                return False
            places = [
                self._back(TopicPartition(topic, partition), _BACK_MAX // len(known[topic].partitions))
                for topic in self._names
                for partition in sorted(known[topic].partitions)
            ]
            self._consumer.assign(places)
        except KafkaException as error:
            fault = error_of(error)
            if isinstance(fault, Fatal):
                raise fault from None
            return False
        self._following = True
        return True

    def _back(self, place: TopicPartition, most: int) -> TopicPartition:
        low, high = self._consumer.get_watermark_offsets(place, timeout=_CALL_S)
        back = _LIVE_BACK
        if self._names[place.topic] != "live":
            stored = self._stored.get((place.topic, place.partition), high + 1)
            missing = high - stored if stored <= high else most  # beyond the end: the topic was made anew
            back = max(self._history * _BACK_PER_BAR, min(missing, most))
        return TopicPartition(place.topic, place.partition, max(low, high - back))

    def _decoded(self, messages: list[Message]) -> Iterator[FeedBatch]:
        runs: dict[FeedTopic, list[Message]] = {}
        for message in messages:
            error = message.error()
            if error is None:
                runs.setdefault(self._names[cast(str, message.topic())], []).append(message)
            elif error.code() == KafkaError.UNKNOWN_TOPIC_OR_PART:
                self._following = False  # the topics were made anew: look for them again
            else:
                get_logger().info("feed_error", error=str(error))
        for name, run in runs.items():
            RECORDS_CONSUMED.labels(name).inc(len(run))
            rows = decode_rows(name, [m.value() for m in run], partial(_is_frame_at, run))
            yield FeedBatch(name, rows, max(m.timestamp()[1] for m in run))


def _is_frame_at(run: list[Message], index: int) -> bool:
    return is_frame(run[index])
