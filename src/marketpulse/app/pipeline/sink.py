"""`sink`: from the topics to a store, each row once."""

import random
import time

from marketpulse.app.lifecycle import Lifecycle
from marketpulse.errors import Retryable
from marketpulse.kafka.consumer import TableReader
from marketpulse.ports import Sink
from marketpulse.settings import Settings, StoreSettings
from marketpulse.sinks import open_sink, settings_of
from marketpulse.telemetry import SINK_LAG_RECORDS, get_logger

_FIRST_WAIT_S, _LONGEST_WAIT_S = 0.2, 10.0
_PATIENCE_S = 30.0  # rows are held this long for a store that is away; then they are read again when it is back
_HELD_BYTES_MAX = 64 * 1024 * 1024  # whatever the rows are; a poll brings as much again at most
_POLL_S = 0.25
_MEASURE_EVERY_S = 1.0
_DRAIN_S = 3.0  # of a stop: a pipeline that stops from its sources on leaves nothing behind


def run(settings: Settings, life: Lifecycle, which: str) -> int:
    """Store until `life.stop`; returns the exit code. A broker or a store that is away is waited for.

    After a fault the reader begins anew where the store stands, so nothing is lost or doubled.
    """
    sink = open_sink(settings, which)
    limits = settings_of(settings, which)
    wait = _FIRST_WAIT_S
    while not life.stop.is_set():
        try:
            reader = TableReader(settings, sink.tables, settings.topic(f"marketpulse-sink-{which}"), sink.resume)
            reader.on_revoke(sink.flush)
            storing = _Storing(reader, sink, life, limits)
            try:
                while not (reader.has_joined or life.stop.is_set()):
                    storing.turn()
                note, command = sink.todo
                life.announce(
                    url=sink.where, tables=list(sink.tables), **({"note": note, "do": command} if note else {})
                )
                while not life.stop.is_set():
                    if storing.turn():
                        wait = _FIRST_WAIT_S
                storing.finish()
                return 0
            finally:
                sink.close()  # what was not stored is read again: closing the reader must not flush it
                reader.close()
        except Retryable as error:
            life.health.set_not_ready(str(error))
            get_logger().warning("storing_waits", sink=which, error=str(error), retry_in_s=round(wait, 1))
        life.stop.wait(wait * random.uniform(0.5, 1.5))
        wait = min(2 * wait, _LONGEST_WAIT_S)
    return 0


class _Storing:
    """One reader and the sink that it feeds."""

    def __init__(self, reader: TableReader, sink: Sink, life: Lifecycle, limits: StoreSettings) -> None:
        self._reader, self._sink, self._life, self._limits = reader, sink, life, limits
        self._waiting_since: float | None = None
        self._measure_at = 0.0

    def turn(self) -> bool:
        """Take what has come; flush when it is due. Whether anything came."""
        came = self._take()
        if self._is_due():
            self._flush()
        if time.monotonic() >= self._measure_at:
            SINK_LAG_RECORDS.labels(self._sink.name).set(self._reader.lag())
            self._measure_at = time.monotonic() + _MEASURE_EVERY_S
        self._life.health.beat()
        return came

    def finish(self) -> None:
        """Store what stands in the topics still, as far as `_DRAIN_S` allows, and what is held."""
        give_up = time.monotonic() + _DRAIN_S
        while self._take() and time.monotonic() < give_up:
            if self._is_due():
                self._flush()
        self._flush()

    def _take(self) -> bool:
        batches = self._reader.poll(_POLL_S)
        for batch in batches:
            self._sink.write(batch)
        if batches and self._waiting_since is None:
            self._waiting_since = time.monotonic()
        return bool(batches)

    def _is_due(self) -> bool:
        if self._waiting_since is None:
            return False
        age_s = time.monotonic() - self._waiting_since
        full = self._sink.waiting_rows >= self._limits.flush_rows or self._sink.waiting_bytes >= _HELD_BYTES_MAX
        return full or age_s >= self._limits.flush_s

    def _flush(self) -> None:
        """1. rows and offsets are durable in the store; 2. tell Kafka, for the lag."""
        give_up, wait = time.monotonic() + _PATIENCE_S, _FIRST_WAIT_S
        while True:
            try:
                self._sink.flush()
                break
            except Retryable as error:
                useless = not self._sink.waiting_rows  # what was there must be read again
                if useless or self._life.stop.is_set() or time.monotonic() > give_up:
                    raise
                self._life.health.set_not_ready(str(error))
                get_logger().warning("flush_waits", sink=self._sink.name, error=str(error))
                self._life.stop.wait(wait)
                wait = min(2 * wait, _LONGEST_WAIT_S)
        self._life.health.set_ready()
        self._reader.commit()
        self._waiting_since = None
