"""Whether the lake holds everything that the engine has told: what a history is made from must be whole."""

from collections.abc import Mapping

import numpy as np

from marketpulse.clock import Clock
from marketpulse.errors import Retryable
from marketpulse.kafka.log_reader import LogReader
from marketpulse.kafka.partitioner import partitions_of
from marketpulse.model.market import Kind
from marketpulse.query.stored_rows import StoredRows
from marketpulse.settings import Settings

_OUTPUTS = ("bars", "indicators", "alerts", "dead-letters")
_LOOK_EVERY_S = 0.5


def wait_until_stored(
    settings: Settings, log: LogReader, stored: StoredRows, symbols: Mapping[str, int], clock: Clock, patience_s: float
) -> dict[int, int]:
    """By partition of `market`, how far (exclusive) the engine has come, once the lake holds what it says of the rows up to
    there, which stands behind them, and all that it told of these symbols, each with its partition.

    Raises Retryable when that takes longer than `patience_s`.
    """
    committed = {partition: offset for partition, (offset, _) in log.committed().items()}
    keys = [symbol.encode() for symbol in symbols]
    places = {
        (topic, int(partition))
        for topic in _OUTPUTS
        if (count := log.partitions(topic))
        for partition in partitions_of(keys, count)
    }
    ends = {place: log.span(place[1], place[0]).end for place in places}
    inputs = {p: log.span(p).end for p in set(symbols.values()) & committed.keys()}
    give_up = clock.monotonic() + patience_s
    while True:
        stored.files()
        behind = [f"{t}/{p}" for (t, p), end in sorted(ends.items()) if not _holds(settings, log, stored, t, p, end)]
        behind += [
            f"market/{p}" for p, end in sorted(inputs.items()) if not _holds_market(settings, log, stored, p, end)
        ]
        if not behind:
            return {partition: committed[partition] for partition in inputs}
        if clock.monotonic() >= give_up:
            raise Retryable(
                f"the lake does not hold yet what {', '.join(behind)} holds: `marketpulse sink lake` stores it, and "
                "runs in `marketpulse up`; then try again"
            )
        clock.sleep(_LOOK_EVERY_S)


def _holds(settings: Settings, log: LogReader, stored: StoredRows, topic: str, partition: int, end: int) -> bool:
    held = stored.held_up_to(settings.topic(topic), partition)
    return held >= end or not log.goes_on(topic, partition, held)


def _holds_market(settings: Settings, log: LogReader, stored: StoredRows, partition: int, end: int) -> bool:
    """Heartbeats and clocks are not stored: with nothing but them behind what is, all of it is."""
    held = max(stored.held_up_to(settings.topic("market"), partition), log.span(partition).first)
    return all(
        np.isin(decoded.batch.kind, (Kind.HEARTBEAT, Kind.CLOCK)).all() for decoded in log.read(partition, held, end)
    )
