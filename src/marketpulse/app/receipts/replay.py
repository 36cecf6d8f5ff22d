"""A partition's engine, run again: from the log's beginning, or from a snapshot that lies before what is asked for."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields, replace

import numpy as np
import pyarrow as pa

from marketpulse.engine.alerting import ToldAlerts
from marketpulse.engine.checkpoint import ForeignState, state_from_bytes
from marketpulse.engine.config import EngineConfig
from marketpulse.engine.rows import bar_rows, indicator_rows, told_alert_rows
from marketpulse.engine.splits import frame_factors
from marketpulse.engine.state import PartitionState, new_state
from marketpulse.engine.step import Stepper, StepResult
from marketpulse.indicators.declaration import Floats
from marketpulse.kafka.log_reader import LogReader
from marketpulse.kafka.snapshot import SnapshotGone
from marketpulse.model.market import MarketBatch
from marketpulse.query.stored_rows import Wanted


@dataclass(frozen=True, slots=True)
class Start:
    """A state, and the first record that it has not seen."""

    state: PartitionState
    offset: int
    from_snapshot: bool


def find_start(log: LogReader, config: EngineConfig, partition: int, before: int | None = None) -> Start | None:
    """The latest sound start for what follows the record `before` (None: the earliest there is).

    The log's beginning is one while nothing was deleted from it; so is a snapshot of this very computation
    whose next record the log still holds. None: there is neither. Where history was loaded, the log alone does not
    say what follows: then nothing before the end of the last load is a start.
    """
    held = log.span(partition)
    loads = log.loads(partition)
    if loads and (before is None or loads[-1][0].covered <= before):
        return _from_snapshot(log, config, partition, before, loads[-1][0].state_offset)
    whole = held.first == 0
    if whole and not before:
        return Start(new_state(config), 0, from_snapshot=False)
    found = _from_snapshot(log, config, partition, before)
    if found is not None:
        return found
    return Start(new_state(config), 0, from_snapshot=False) if whole else None


def _from_snapshot(
    log: LogReader, config: EngineConfig, partition: int, before: int | None, since: int = 0
) -> Start | None:
    """The newest usable snapshot that covers no more than what is `before`; without that, the oldest. Only those that
    stand in `state` from the place `since` on."""
    first = log.span(partition).first
    usable = [
        p
        for p in log.snapshots(partition)
        if p.covered >= first and p.state_offset >= since and (before is None or p.covered <= before)
    ]
    for pointer in reversed(usable) if before is not None else usable:
        try:
            state = state_from_bytes(log.read_snapshot(partition, pointer), config)
        except (ForeignState, SnapshotGone):
            continue
        return Start(state, pointer.covered, from_snapshot=True)
    return None


@dataclass(frozen=True, slots=True)
class Rows:
    """What one step gave, in order of emission: bars, indicator rows and alerts as they are stored."""

    bars: pa.RecordBatch
    indicators: pa.RecordBatch
    alerts: list[pa.RecordBatch]
    result: StepResult
    factors: Floats  # of the indicator rows (engine.splits.frame_factors)
    timeframes: tuple[str, ...]  # whose they are


class Replay:
    """Steps one partition's engine over its log. `wanted` and `takes` (of a symbol) keep only rows that someone asks for.
    `rules` are the names of all alert rules that ran."""

    def __init__(
        self,
        config: EngineConfig,
        topic: str,
        partition: int,
        state: PartitionState,
        wanted: Wanted | None = None,
        takes: Callable[[str], bool] | None = None,
    ) -> None:
        self.config, self.state = config, state
        names = None if wanted is None or wanted.symbols is None else wanted.symbols.__contains__
        self._tests = [test for test in (names, takes) if test is not None]
        self._taken = np.zeros(0, np.bool_)  # by symbol
        self._topic, self._partition, self._wanted = topic, partition, wanted
        self._stepper = Stepper(config)
        self._last_rules = state.alerts.rules
        self.rules = {rule.name for rule in self._last_rules.rules}

    def take(self, batch: MarketBatch) -> Iterator[Rows]:
        """Take a batch in; its rows as they come."""
        for state, result in self._stepper.steps(self.state, batch):
            self.state = state
            if state.alerts.rules is not self._last_rules:
                self._last_rules = state.alerts.rules
                self.rules |= {rule.name for rule in self._last_rules.rules}
            bars, row = self._asked_for(result.closed), self._asked_for(result.indicated)
            yield Rows(
                bar_rows(state, self.config, result.closed[bars], self._topic, self._partition),
                indicator_rows(
                    state, self.config, result.indicated[row], result.values[row], self._topic, self._partition
                ),
                [
                    told_alert_rows(state, self.config, told, self._topic, self._partition)
                    for told in self._alerts(result)
                ],
                result,
                frame_factors(state.splits, state.basis, result.indicated[row]),
                tuple(frame.name for frame in self.config.frames),
            )

    def _alerts(self, result: StepResult) -> Iterator[ToldAlerts]:
        """Those that are asked for, by the times of their events."""
        for told in result.alerts:
            mask = self._asked_for(told.events, "event_time_ns")
            if mask.any():
                yield ToldAlerts(told.rules, *(column[mask] for column in told[1:]))

    def _asked_for(self, rows: np.ndarray, time: str = "open_ns") -> np.ndarray:
        if self._wanted is None:
            return np.ones(len(rows), np.bool_)
        mask = (rows[time] >= self._wanted.from_ns) & (rows[time] < self._wanted.to_ns)
        if self._tests:
            symbols = self.state.symbols.texts()
            if len(self._taken) < len(symbols):
                self._taken = np.array([all(test(symbol) for test in self._tests) for symbol in symbols], np.bool_)
            mask &= self._taken[rows["symbol"]]
        found: np.ndarray = mask
        return found


_PER_ROW = tuple(
    f.name
    for f in fields(MarketBatch)
    if f.name not in {"topic", "partition", "strings", "data", "rare", "append_time_of"}
)


def part_of(batch: MarketBatch, begin: int, end: int) -> MarketBatch:
    """The rows [begin, end) of a batch, on the same memory."""
    columns = {name: getattr(batch, name)[begin:end] for name in _PER_ROW}
    rare = {row - begin: record for row, record in batch.rare.items() if begin <= row < end}
    return replace(batch, **columns, rare=rare)
