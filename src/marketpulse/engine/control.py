"""What people change while the engine runs: records of the type `control`, met again by every replay of the log.

    {"type": "control", "change": {"action": "put_rule", "rule": {…}}}

A change of the alert rules is all that there is yet.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from marketpulse.alerts.rule import Rule
from marketpulse.alerts.rule_json import change_from_json
from marketpulse.alerts.rule_set import RuleSet
from marketpulse.engine.alerting import change_alert_rules
from marketpulse.engine.config import EngineConfig
from marketpulse.engine.layout import NEVER
from marketpulse.engine.state import PartitionState


def take_control(state: PartitionState, config: EngineConfig, record: dict[str, Any]) -> None:
    """Do what the record says. All that has closed is evaluated, and lacks no change.

    Raises ParameterError when it says nothing that can be done; then nothing is changed.
    """
    _put_rules(state, config, change_from_json(record.get("change"), state.alerts.rules))


def reconfigure(state: PartitionState, config: EngineConfig, before: Sequence[Rule]) -> None:
    """The configured rules were `before` when the state was made, and are now those of `config`.

    What differs between the two is done to the rules that run; what a control record has put, removed or muted
    stays so. Raises ParameterError when there are too many then.
    """
    rules = state.alerts.rules
    names = {rule.name for rule in config.alerts}
    muted = {rule.name for rule in rules.rules if rule.muted}
    for rule in before:
        if rule.name not in names and _in_any_voice(rule, rules):
            rules = rules.without_rule(rule.name)
    for rule in config.alerts:
        if rule not in before:
            rules = rules.with_rule(replace(rule, muted=rule.muted or rule.name in muted))
    if rules is not state.alerts.rules:
        _put_rules(state, config, rules)


def _in_any_voice(rule: Rule, rules: RuleSet) -> bool:
    """Whether this very rule runs, muted or not."""
    return any(replace(running, muted=rule.muted) == rule for running in rules.rules)


def _put_rules(state: PartitionState, config: EngineConfig, rules: RuleSet) -> None:
    """New ones see what closes behind each symbol's newest time bar."""
    names = state.symbols.texts()
    newest = state.tables.closed_until[: len(names), config.ticks :].max(axis=1, initial=NEVER)
    change_alert_rules(state.alerts, rules, names, newest)
