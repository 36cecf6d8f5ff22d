"""Closed rows for tests of alert rules, written by hand: columns by name, times in minutes."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from marketpulse.alerts.evaluate import AlertRows, evaluate
from marketpulse.alerts.events import STATE_NAMES
from marketpulse.alerts.inputs import Inputs, inputs_of
from marketpulse.alerts.rule import Rule
from marketpulse.alerts.rule_set import RuleSet, rule_set
from marketpulse.alerts.state import AlertState, learn_symbols, new_state
from marketpulse.model.timeframe import parse_timeframes

MINUTE = 60 * 10**9
INPUTS = inputs_of(["sma_20", "rsi_14", "volume_sma_20", "vwap"], parse_timeframes(["100t", "1m", "5m", "1h"]))


class Closed(NamedTuple):
    """One closed row; a column that is not named is unknown."""

    minute: float
    columns: Mapping[str, float]
    timeframe: str = "1m"
    symbol: int = 0
    together: bool = True


def alert_rows_of(closed: Sequence[Closed], inputs: Inputs = INPUTS) -> AlertRows:
    """The rows in this order; each opens a minute before it closes."""
    values = np.full((len(closed), len(inputs.columns)), np.nan)
    for i, row in enumerate(closed):
        for name, value in row.columns.items():
            values[i, inputs.columns.index(name)] = value
    close_ns = np.array([round(row.minute * MINUTE) for row in closed], np.int64)
    return AlertRows(
        symbol=np.array([row.symbol for row in closed], np.int32),
        frame=np.array([inputs.frame(row.timeframe) for row in closed], np.int32),
        open_ns=close_ns - MINUTE,
        close_ns=close_ns,
        together=np.array([row.together for row in closed], np.bool_),
        values=values,
    )


def minutes(**columns: Sequence[float]) -> list[Closed]:
    """Rows of 1m that close at minutes 1, 2, 3 …, from columns by name."""
    rows = enumerate(zip(*columns.values(), strict=True), 1)
    return [Closed(minute, dict(zip(columns, numbers, strict=True))) for minute, numbers in rows]


def started(rules: RuleSet, symbols: Sequence[str] = ("AAA", "BBB", "CCC")) -> AlertState:
    """The state before the first row, with these symbols."""
    return learn_symbols(new_state(rules), rules, symbols)


Events = list[tuple[float, str, str]]
"""(minute, rule's name, state) of each."""


def events_of(rules: Rule | Sequence[Rule], closed: Sequence[Closed], inputs: Inputs = INPUTS) -> Events:
    chosen = rule_set(inputs, [rules] if isinstance(rules, Rule) else rules)
    _, events = evaluate(started(chosen), chosen, alert_rows_of(closed, inputs))
    return readable(chosen, events)


def readable(rules: RuleSet, events: np.ndarray) -> Events:
    names = {number: rule.name for number, rule in zip(rules.numbers, rules.rules, strict=True)}
    return [(float(e["event_time_ns"]) / MINUTE, names[e["rule"]], STATE_NAMES[e["state"]]) for e in events]
