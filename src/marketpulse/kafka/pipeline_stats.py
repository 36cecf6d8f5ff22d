"""What the log says about the pipeline: counted from offsets, asked for in the background."""

import time
from concurrent.futures import Future, wait
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

from confluent_kafka import Consumer, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec  # type: ignore[attr-defined]

from marketpulse.errors import Retryable
from marketpulse.kafka.background import in_background
from marketpulse.kafka.client import client_config, offset_of
from marketpulse.kafka.handle import remind_of_brokers
from marketpulse.kafka.record_count import RecordCount
from marketpulse.ports import PipelineStats
from marketpulse.settings import Settings
from marketpulse.telemetry import get_logger

_FRESH_S = 1.0
_AWAY_S = 3.0  # no answer for so long: the broker counts as away
_LATE_S = 2 * _AWAY_S + 2.0  # no answer at all, though each question has its time
_FIRST_WAIT_S = 0.3
_CALL_S = 2.0
_COUNTED = ("market", "bars", "dead-letters")

_LATEST: Any = OffsetSpec.latest()  # type: ignore[no-untyped-call]


class StatsProbe:
    """Asks for offsets and never waits for them: an answer is used by the first call after it came.

    Records are counted by offsets, in which the end marks of transactions are included; dead letters, which people
    count too, one by one. Where the broker hung, the library forgets a question now and then, and perhaps all that its
    client is asked from then on: then others ask.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._offsets = _Offsets(settings)
        self._letters = RecordCount(settings, settings.topic("dead-letters"))
        self._answer: Future[_Answer] | None = None
        self._counted: Future[int] | None = None
        self._asked_at = self._answered_at = float("-inf")
        self._known = PipelineStats(0, 0, 0, 0, broker_reachable=False)
        self._moved: dict[int, tuple[int, float]] = {}  # by partition of `market`: the committed offset, and since when

    def stats(self) -> PipelineStats:
        """The newest counts. `broker_reachable` says whether the broker answered lately."""
        now = time.monotonic()
        if self._answer is None and now - self._asked_at >= _FRESH_S:
            self._asked_at, self._answer = now, in_background(self._offsets.ask, "offsets")
            if self._answered_at == float("-inf"):
                wait([self._answer], _FIRST_WAIT_S)
        if self._answer is not None and self._answer.done():
            answer, self._answer = self._answer, None
            try:
                self._take(answer.result())
            except (KafkaException, Retryable):
                self._offsets.remind()
        elif self._answer is not None and now - self._asked_at > _LATE_S:
            get_logger().warning("offsets_unanswered", seconds=round(now - self._asked_at, 1))
            self._answer, self._offsets = None, _Offsets(self._settings)
        reachable = time.monotonic() - self._answered_at < _FRESH_S + _AWAY_S
        return replace(self._known, broker_reachable=reachable)

    def close(self) -> None:
        """Close the clients; one that does not answer is left to the end of the process."""
        asked: tuple[tuple[Future[Any] | None, _Offsets | RecordCount], ...]
        asked = ((self._answer, self._offsets), (self._counted, self._letters))
        for answer, client in asked:
            with suppress(TimeoutError):
                if answer is not None:
                    answer.exception(_LATE_S)
                client.close()

    def _take(self, answer: "_Answer") -> None:
        self._answered_at = time.monotonic()
        count = {name: sum(ends.values()) for name, ends in answer.ends.items()}
        lags = self._lags(answer)
        lag = self._known.engine_lag_records if lags is None else sum(lags.values())
        stalled = self._known.stalled if lags is None else {p: self._answered_at - self._moved[p][1] for p in lags}
        letters = self._letters_up_to(answer.ends["dead-letters"])
        self._known = PipelineStats(
            count["market"], lag, letters, count["bars"], broker_reachable=True, stalled=stalled
        )

    def _letters_up_to(self, ends: dict[int, int]) -> int:
        """As last counted; the next count is begun."""
        counted = self._known.dead_letters
        if self._counted is not None:
            if not self._counted.done():
                return counted
            if self._counted.exception() is None:
                counted = self._counted.result()
        self._counted = in_background(lambda: self._letters.up_to(ends), "letters")
        return counted

    def _lags(self, answer: "_Answer") -> dict[int, int] | None:
        """Records by partition that the engine's group has not committed; None: its coordinator did not say. A difference
        of one in a partition is the end mark of the last transaction."""
        done = answer.committed
        if done is None:
            return None
        lags = {p: end - done.get(p, 0) for p, end in answer.ends["market"].items()}
        for p, lag in lags.items():
            before = self._moved.get(p)
            if before is None or before[0] != done.get(p, 0) or lag <= 1:
                self._moved[p] = done.get(p, 0), self._answered_at
        return {p: lag for p, lag in lags.items() if lag > 1}


@dataclass(frozen=True, slots=True)
class _Answer:
    """`ends`: the next offset by contract topic and partition. `committed`: the engine's, by partition of `market`; None:
    its coordinator did not say."""

    ends: dict[str, dict[int, int]]
    committed: dict[int, int] | None


class _Offsets:
    """The clients that ask. `ask` is called by one thread at a time.

    What the group has committed is asked for by a consumer that never joins it: the admin client's
    call of the same name ends the process (librdkafka 2.16, SIGSEGV in rd_kafka_cgrp_op) when the
    broker answers that its coordinator is still loading, as it does right after a start.
    """

    def __init__(self, settings: Settings) -> None:
        self._names = {settings.topic(name): name for name in _COUNTED}
        self._admin = AdminClient(client_config(settings, "admin"))
        group = settings.group(settings.process.group)
        config = client_config(settings, "consumer", group_id=group, isolation_level="read_uncommitted")
        self._observer = Consumer(config)
        self._bootstrap = config["bootstrap.servers"]
        self._places: list[TopicPartition] = []

    def ask(self) -> _Answer:
        """Raises KafkaException or Retryable without an answer."""
        self._places = self._places or self._find_places()
        asked = self._admin.list_offsets(dict.fromkeys(self._places, _LATEST), request_timeout=_AWAY_S)
        market = [p for p in self._places if self._names[p.topic] == "market"]
        committed = None
        with suppress(KafkaException):
            found = self._observer.committed(market, _AWAY_S)
            committed = {p.partition: p.offset for p in found if p.offset >= 0}
        ends: dict[str, dict[int, int]] = {name: {} for name in _COUNTED}
        try:
            for place, answer in asked.items():
                ends[self._names[place.topic]][place.partition] = offset_of(answer)
        except KafkaException:
            self._places = []  # perhaps the topics were made anew
            raise
        return _Answer(ends, committed)

    def remind(self) -> None:
        """Let both clients look for the brokers that they may have forgotten."""
        for client in (self._admin, self._observer):
            remind_of_brokers(client, self._bootstrap)

    def close(self) -> None:
        self._observer.close()

    def _find_places(self) -> list[TopicPartition]:
        found = self._admin.list_topics(timeout=_CALL_S).topics
        places = [TopicPartition(t, p) for t in self._names if t in found for p in sorted(found[t].partitions)]
        if not places:
            raise Retryable("there are no topics yet")
        return places
