"""A desk of alert rules in memory: it keeps ports.AlertDesk's promises without a log, and takes each change at once.

Rules are checked, and tried on the lake of its settings, as the real one does it.
"""

import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

from marketpulse.alerts.rule import Rule
from marketpulse.alerts.rule_json import rule_from_json, rule_to_json
from marketpulse.app.alert_language import check_fields, language
from marketpulse.app.alert_rules import version_of
from marketpulse.app.engine_config import engine_config
from marketpulse.app.trial.run import try_rule
from marketpulse.errors import ChangedMeanwhile, ParameterError, QueryCancelled, Retryable
from marketpulse.ports import AlertTrial
from marketpulse.settings import Settings

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
