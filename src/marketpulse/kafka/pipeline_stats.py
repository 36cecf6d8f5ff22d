"""What the log says about the pipeline: counted from offsets, asked for in the background."""

import time
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from typing import Any

from confluent_kafka import Consumer, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec  # type: ignore[attr-defined]

from marketpulse.kafka.client import client_config, offset_of
from marketpulse.kafka.record_count import RecordCount
from marketpulse.ports import PipelineStats
from marketpulse.settings import Settings

_FRESH_S = 1.0
_AWAY_S = 3.0  # no answer for so long: the broker counts as away
_LATE_S = _AWAY_S + 2.0  # no answer at all, though each question has its time
_FIRST_WAIT_S = 0.3
_CALL_S = 2.0
_COUNTED = ("market", "bars", "dead-letters")

_LATEST: Any = OffsetSpec.latest()  # type: ignore[no-untyped-call]
_Answers = dict[TopicPartition, "Future[Any]"]


class StatsProbe:
    """Asks for offsets and never waits for them: an answer is used by the first call after it came.

    Records are counted by offsets, in which the end marks of transactions are included; dead letters, which people
    count too, one by one.

    What the group has committed is asked for by a consumer that never joins it: the admin client's
    call of the same name ends the process (librdkafka 2.16, SIGSEGV in rd_kafka_cgrp_op) when the
    broker answers that its coordinator is still loading, as it does right after a start.
    """

    def __init__(self, settings: Settings) -> None:
        self._topics = {name: settings.topic(name) for name in _COUNTED}
        self._group = settings.group(settings.process.group)
        self._admin = AdminClient(client_config(settings, "admin"))
        self._observer = Consumer(
            client_config(settings, "consumer", group_id=self._group, isolation_level="read_uncommitted")
        )
        self._asking = ThreadPoolExecutor(1, thread_name_prefix="lag")
        self._letters = RecordCount(settings, self._topics["dead-letters"])
        self._counted: Future[int] | None = None
        self._places: list[TopicPartition] = []
        self._asked_at = float("-inf")
        self._latest: _Answers = {}
        self._committed: Future[Any] | None = None
        self._known = PipelineStats(0, 0, 0, 0, broker_reachable=False)
        self._answered_at = float("-inf")
        self._moved: dict[int, tuple[int, float]] = {}  # by partition of `market`: the committed offset, and since when

    def stats(self) -> PipelineStats:
        """The newest counts. `broker_reachable` says whether the broker answered lately."""
        now = time.monotonic()
        if self._pending():
            self._take_answers()
        elif now - self._asked_at >= _FRESH_S:
            self._ask()
            if self._answered_at == float("-inf"):
                self._wait(_FIRST_WAIT_S)
        reachable = time.monotonic() - self._answered_at < _FRESH_S + _AWAY_S
        return replace(self._known, broker_reachable=reachable)

    def close(self) -> None:
        self._forget()
        self._asking.shutdown(cancel_futures=True)
        self._observer.close()
        self._letters.close()

    def _forget(self) -> None:
        self._latest, self._committed = {}, None

    def _pending(self) -> bool:
        return bool(self._latest) or self._committed is not None

    def _ask(self) -> None:
        self._asked_at = time.monotonic()
        try:
            if not self._places and not self._find_places():
                return
            market = [p for p in self._places if p.topic == self._topics["market"]]
            self._latest = self._admin.list_offsets(dict.fromkeys(self._places, _LATEST), request_timeout=_AWAY_S)
            self._committed = self._asking.submit(self._observer.committed, market, _AWAY_S)
        except KafkaException:
            self._forget()

    def _find_places(self) -> bool:
        found = self._admin.list_topics(timeout=_CALL_S).topics
        for topic in self._topics.values():
            if topic in found:
                self._places += [TopicPartition(topic, p) for p in sorted(found[topic].partitions)]
        return bool(self._places)

    def _wait(self, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while self._pending() and time.monotonic() < deadline:
            time.sleep(0.01)
            self._take_answers()

    def _take_answers(self) -> None:
        late = time.monotonic() - self._asked_at > _LATE_S
        if not all(future.done() for future in self._latest.values()):
            if late:  # the library forgets a question now and then where a broker hung
                self._forget()
            return
        latest, committed = self._latest, self._committed
        if committed is not None and not committed.done():
            if not late:
                return
            committed.cancel()
            committed = None  # its thread may wait on
            self._asking = ThreadPoolExecutor(1, thread_name_prefix="lag")
        self._forget()
        try:
            ends = {(p.topic, p.partition): offset_of(f) for p, f in latest.items()}
        except KafkaException:
            self._places = []  # perhaps the topics were made anew
            return
        self._answered_at = time.monotonic()
        count = {name: sum(end for (t, _), end in ends.items() if t == topic) for name, topic in self._topics.items()}
        lags = self._lags(ends, committed)
        lag = self._known.engine_lag_records if lags is None else sum(lags.values())
        stalled = self._known.stalled if lags is None else {p: self._answered_at - self._moved[p][1] for p in lags}
        letters = self._letters_up_to(ends)
        self._known = PipelineStats(
            count["market"], lag, letters, count["bars"], broker_reachable=True, stalled=stalled
        )

    def _letters_up_to(self, ends: dict[tuple[str, int], int]) -> int:
        """As last counted; the next count is begun."""
        counted = self._known.dead_letters
        if self._counted is not None:
            if not self._counted.done():
                return counted
            if self._counted.exception() is None:
                counted = self._counted.result()
        own = {partition: end for (topic, partition), end in ends.items() if topic == self._topics["dead-letters"]}
        self._counted = self._asking.submit(self._letters.up_to, own)
        return counted

    def _lags(self, ends: dict[tuple[str, int], int], committed: "Future[Any] | None") -> dict[int, int] | None:
        """Records by partition that the engine's group has not committed; None: its coordinator did not say. A difference
        of one in a partition is the end mark of the last transaction."""
        if committed is None:
            return None
        try:
            done = {p.partition: p.offset for p in committed.result() if p.offset >= 0}
        except KafkaException:
            return None
        lags = {p: end - done.get(p, 0) for (topic, p), end in ends.items() if topic == self._topics["market"]}
        for p, lag in lags.items():
            before = self._moved.get(p)
            if before is None or before[0] != done.get(p, 0) or lag <= 1:
                self._moved[p] = done.get(p, 0), self._answered_at
        return {p: lag for p, lag in lags.items() if lag > 1}
