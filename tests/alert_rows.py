"""Rows that alert rules read, and a desk of rules in memory."""

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from marketpulse.alerts.evaluate import AlertRows, evaluate
from marketpulse.alerts.events import STATE_NAMES
from marketpulse.alerts.inputs import Inputs, inputs_of
from marketpulse.alerts.rule import Rule
from marketpulse.alerts.rule_json import rule_from_json, rule_to_json
from marketpulse.alerts.rule_set import RuleSet, rule_set
from marketpulse.alerts.state import AlertState, learn_symbols, new_state
from marketpulse.app.alert_language import check_fields, language
from marketpulse.app.alert_rules import version_of
from marketpulse.app.engine_config import engine_config
from marketpulse.app.trial.run import try_rule
from marketpulse.errors import ChangedMeanwhile, ParameterError, QueryCancelled, Retryable
from marketpulse.model.timeframe import parse_timeframes
from marketpulse.ports import AlertTrial
from marketpulse.settings import Settings

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


PARTITIONS = 4
Row = Mapping[str, Any]


class DeskInMemory:
    """`away`: the log is away. `held`: trials wait until it is set, or they are cancelled. `behind`: the engine has
    taken no change yet."""

    def __init__(self, settings: Settings, rules: tuple[Rule, ...] = ()) -> None:
        self.settings, self.config = settings, engine_config(settings.engine)
        self.running = {rule.name: rule for rule in (*self.config.alerts, *rules)}
        self.away = self.behind = False
        self.held: threading.Event | None = None
        self._changes: dict[str, dict[str, Any]] = {}
        self._offset = 40

    def rules(self) -> Row:
        self._reach()
        rules = [
            {
                **rule_to_json(rule), "message": rule.message, "severity": rule.severity, "muted": rule.muted,
                "timeframe": rule.timeframe or self.config.frames[0].name, "version": version_of(rule),
                "from": "configuration" if rule in self.config.alerts else "control", "begins": [0] * PARTITIONS,
            }
            for rule in self.running.values()
        ]  # fmt: skip
        taken = 1 if self.behind else PARTITIONS
        return {
            "rules": rules, "changes": [{**c, "taken": taken} for c in self._changes.values()], "partitions": PARTITIONS,
        }  # fmt: skip

    def language(self) -> Row:
        return language(self.config)

    def check(self, fields: Row) -> Row:
        return check_fields(fields, self.config)

    def put(self, fields: Row, version: str) -> Row:
        rule = rule_from_json(dict(fields))
        self.config.alert_rules().with_rule(rule)
        self._expect(rule.name, version)
        return self._change(rule, f"rule {rule.name!r} is put")

    def mute(self, name: str, muted: bool, version: str) -> Row:
        self._expect(name, version)
        fields = {**rule_to_json(self.running[name]), "muted": muted}
        return self._change(rule_from_json(fields), f"rule {name!r} is {'muted' if muted else 'not muted any more'}")

    def remove(self, name: str, version: str) -> Row:
        self._expect(name, version)
        found = self._change(self.running[name], f"rule {name!r} is removed")
        del self.running[name]
        self._changes[name]["action"] = "remove_rule"
        return found

    def attempt(self, trial: AlertTrial, cancelled: threading.Event, progress: Callable[[int, int], None]) -> Row:
        progress(3, 10)
        while self.held is not None and not self.held.is_set():
            if cancelled.wait(0.01):
                raise QueryCancelled("the trial was stopped")
        return try_rule(self.settings, trial, cancelled, progress)

    def close(self) -> None:
        self.away = True

    def _reach(self) -> None:
        if self.away:
            raise Retryable("the broker is away: wait until it is back")

    def _expect(self, name: str, version: str) -> None:
        self._reach()
        known = self.running.get(name)
        if ("" if known is None else version_of(known)) == version:
            return
        if version and known is None and name not in self._changes:
            raise ParameterError(f"alert rules: there is no rule {name!r}")
        raise ChangedMeanwhile(f"somebody else has changed rule {name!r} meanwhile: look at what runs now")

    def _change(self, rule: Rule, said: str) -> Row:
        self.running[rule.name] = rule
        self._offset += 1
        offsets = [self._offset] * PARTITIONS
        now_ms = time.time_ns() // 10**6
        self._changes[rule.name] = {"name": rule.name, "action": "put_rule", "time_ms": now_ms, "offsets": offsets}
        return {"said": said, "offsets": offsets}


def _place(row: dict[str, Any]) -> tuple[int, str, str]:
    return row["event_time_ns"], row["symbol"], row["rule"]
