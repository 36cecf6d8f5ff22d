"""The bar that an explanation is of, and its rows among those that a step of the engine has told."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from marketpulse.app.receipts.compare import Table
from marketpulse.app.receipts.trace import Ask
from marketpulse.engine.alerting import ToldAlerts
from marketpulse.engine.config import EngineConfig
from marketpulse.engine.rows import bar_rows, indicator_rows, told_alert_rows
from marketpulse.engine.state import PartitionState
from marketpulse.engine.step import StepResult

Place = tuple[int, int]  # offset, row


@dataclass(frozen=True, slots=True)
class Sought:
    """The bar, where its records lie, and the last revisions (of the bar, its row, its alert) that readers know."""

    ask: Ask
    topic: str
    partition: int
    first_offset: int | None  # None: the bar names no record
    last_revisions: dict[Table, int]  # -1: readers know of none
    begins_at: Place | None = None  # of a bar cut by count: its first record
    rule: str = ""  # of an alert


def told_rows(
    state: PartitionState, config: EngineConfig, sought: Sought, result: StepResult, frame: int
) -> list[tuple[Table, dict[str, Any]]]:
    """The rows of the bar that a step has told."""
    rows: list[tuple[Table, dict[str, Any]]] = []
    bars = result.closed[own_bars(state, sought.ask, result.closed, frame)]
    bars = bars[is_sought(bars, sought)]
    if len(bars):
        rows += [("bars", r) for r in bar_rows(state, config, bars, sought.topic, sought.partition).to_pylist()]
    mask = own_bars(state, sought.ask, result.indicated, frame) & is_sought(result.indicated, sought)
    if mask.any():
        values = indicator_rows(
            state, config, result.indicated[mask], result.values[mask], sought.topic, sought.partition
        )
        rows += [("indicators", r) for r in values.to_pylist()]
    for told in result.alerts if sought.rule else ():
        mask = own_bars(state, sought.ask, told.bars, frame) & is_sought(told.bars, sought)
        if mask.any():
            mine = ToldAlerts(told.rules, *(column[mask] for column in told[1:]))
            batch = told_alert_rows(state, config, mine, sought.topic, sought.partition)
            rows += [("alerts", r) for r in batch.to_pylist() if r["rule"] == sought.rule]
    return rows


def own_bars(state: PartitionState, ask: Ask, closed: np.ndarray, frame: int) -> np.ndarray:
    mask: np.ndarray = (closed["symbol"] == state.symbols.find(ask.symbol)) & (closed["frame"] == frame)
    return mask


def is_sought(bars: np.ndarray, sought: Sought) -> np.ndarray:
    mask: np.ndarray = bars["open_ns"] == sought.ask.open_ns
    if sought.begins_at is not None:
        mask &= (bars["first_offset"] == sought.begins_at[0]) & (bars["first_row"] == sought.begins_at[1])
    return mask
