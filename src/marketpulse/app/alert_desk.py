"""ports.AlertDesk: the rules of the log, the language of the engine's configuration, the history of the lake."""

import threading
from collections.abc import Callable, Mapping
from typing import Any

from marketpulse.alerts.rule_json import rule_to_json
from marketpulse.app.alert_language import check_fields, language
from marketpulse.app.alert_rules import (
    NEW,
    Change,
    RuleBook,
    Standing,
    mute_rule,
    origin_of,
    put_rule,
    remove_rule,
    version_of,
)
from marketpulse.app.engine_config import engine_config
from marketpulse.app.trial.run import try_rule
from marketpulse.clock import Clock, SystemClock
from marketpulse.ports import AlertTrial
from marketpulse.settings import Settings

_FRESH_S = 0.5  # many pages ask at once: the log is read for all of them together


class PipelineAlertDesk:
    """The desk of this pipeline. What it gives of rules is at most half a second old."""

    def __init__(self, settings: Settings, clock: Clock | None = None) -> None:
        self._settings, self._clock = settings, clock or SystemClock()
        self._config = engine_config(settings.engine)
        self._book = RuleBook(settings, self._config)
        self._reading, self._writing = threading.Lock(), threading.Lock()
        self._read: Mapping[str, Any] | None = None
        self._read_at = 0.0

    def rules(self) -> Mapping[str, Any]:
        with self._reading:
            now = self._clock.monotonic()
            if self._read is None or now - self._read_at >= _FRESH_S:
                self._read, self._read_at = self._described(self._book.read()), now
            return self._read

    def language(self) -> Mapping[str, Any]:
        return language(self._config)

    def check(self, fields: Mapping[str, Any]) -> Mapping[str, Any]:
        return check_fields(fields, self._config)

    def put(self, fields: Mapping[str, Any], version: str) -> Mapping[str, Any]:
        return self._changed(lambda: put_rule(self._settings, dict(fields), version or NEW))

    def mute(self, name: str, muted: bool, version: str) -> Mapping[str, Any]:
        return self._changed(lambda: mute_rule(self._settings, name, muted=muted, version=version))

    def remove(self, name: str, version: str) -> Mapping[str, Any]:
        return self._changed(lambda: remove_rule(self._settings, name, version))

    def attempt(
        self, trial: AlertTrial, cancelled: threading.Event, progress: Callable[[int, int], None]
    ) -> Mapping[str, Any]:
        return try_rule(self._settings, trial, cancelled, progress)

    def close(self) -> None:
        self._book.close()

    def _changed(self, work: Callable[[], Change]) -> Mapping[str, Any]:
        """One change at a time: of two writers of one name the log lets only the later one through. Whoever is told that
        another was first reads what that one wrote."""
        try:
            with self._writing:
                change = work()
        finally:
            with self._reading:
                self._read = None
        return {"said": change.said, "offsets": list(change.offsets)}

    def _described(self, now: Standing) -> dict[str, Any]:
        rules = []
        for compiled in now.rules.compiled:
            rule = compiled.rule
            rules.append({
                **rule_to_json(rule),
                "message": rule.message,
                "severity": rule.severity,
                "timeframe": self._config.frames[compiled.frame].name,
                "muted": rule.muted,
                "version": version_of(rule),
                "from": origin_of(rule, self._config),
                "begins": list(now.began(rule.name)),
            })  # fmt: skip
        changes = [
            {
                "name": key.removeprefix("rule/"), "action": record.change.get("action"), "time_ms": record.time_ms,
                "offsets": list(record.market_offsets), "taken": now.taken(record),
            }
            for key, record in now.changes.items()
        ]  # fmt: skip
        return {"rules": rules, "changes": changes, "partitions": len(now.engine_at)}
