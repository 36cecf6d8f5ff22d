"""Rules as JSON: in a control record that puts or removes one, and in a snapshot of all that run.

    {"name": "oversold", "expression": "rsi_14 < 30", "timeframe": "1m", "severity": "info", "for_s": 60}
    {"action": "put_rule", "rule": {…}}
    {"action": "remove_rule", "name": "oversold"}

What is left out of a rule has its default. Anything that is not of this form is a ParameterError.
"""

from dataclasses import MISSING, fields
from typing import Any

from marketpulse.alerts.inputs import Inputs
from marketpulse.alerts.rule import Rule
from marketpulse.alerts.rule_set import RuleSet, compile_rule
from marketpulse.errors import ParameterError

_NUMBERS = ("for_s", "cooldown_s")
_DEFAULTS = {f.name: f.default for f in fields(Rule) if f.default is not MISSING}
_NAMES = tuple(f.name for f in fields(Rule))


def rule_to_json(rule: Rule) -> dict[str, Any]:
    """The rule's fields by name, without those that have their defaults."""
    found = {name: getattr(rule, name) for name in _NAMES}
    found["symbols"] = list(rule.symbols)
    return {name: value for name, value in found.items() if name not in _DEFAULTS or value not in (_DEFAULTS[name], [])}


def rule_from_json(value: object) -> Rule:
    """The rule of such a JSON value. Raises ParameterError for a field that is missing, unknown or of another type."""
    found = _object(value, "a rule")
    for name in found:
        if name not in _NAMES:
            raise ParameterError(f"alert rule: unknown field {name!r}: there is {', '.join(_NAMES)}")
    for name in _NAMES:
        if name not in found and name not in _DEFAULTS:
            raise ParameterError(f"alert rule: {name} is missing")
    return Rule(**{name: _field(name, given) for name, given in found.items()})


def change_from_json(value: object, rules: RuleSet) -> RuleSet:
    """The rules after the change that a control record states. Raises ParameterError when it is none, or cannot be
    made: its rule cannot be read, or the one to remove is not there."""
    found = _object(value, "a change of the alert rules")
    action = found.get("action")
    if action == "put_rule" and found.keys() == {"action", "rule"}:
        return rules.with_rule(rule_from_json(found["rule"]))
    if action == "remove_rule" and found.keys() == {"action", "name"} and isinstance(found["name"], str):
        return rules.without_rule(found["name"])
    raise ParameterError(
        'alert rules: write {"action": "put_rule", "rule": {…}} or {"action": "remove_rule", "name": "…"}'
    )


def rules_to_json(rules: RuleSet) -> dict[str, Any]:
    """All rules with their numbers, for a snapshot."""
    numbered = [
        {"number": number, "rule": rule_to_json(rule)} for number, rule in zip(rules.numbers, rules.rules, strict=True)
    ]
    return {"next_number": rules.next_number, "rules": numbered}


def rules_from_json(value: Any, inputs: Inputs) -> RuleSet:
    """The rules of a snapshot that `rules_to_json` made. Raises ParameterError when one does not suit the inputs."""
    compiled = [compile_rule(rule_from_json(each["rule"]), each["number"], inputs) for each in value["rules"]]
    return RuleSet(inputs, tuple(compiled), value["next_number"])


def _object(value: object, what: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ParameterError(f"alert rule: expected {what} as a JSON object, found {_type(value)}")
    return value


def _field(name: str, value: object) -> Any:
    """A field's value as the rule takes it."""
    if name in _NUMBERS:
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            return float(value) if abs(value) < 1e300 else float("inf")
        raise ParameterError(f"alert rule: {name} must be a number of seconds, found {_type(value)}")
    if name == "muted":
        if isinstance(value, bool):
            return value
        raise ParameterError(f"alert rule: muted must be true or false, found {_type(value)}")
    if name == "symbols":
        if isinstance(value, list) and all(isinstance(each, str) for each in value):
            return tuple(value)
        raise ParameterError("alert rule: symbols must be a list of names")
    if isinstance(value, str):
        return value
    raise ParameterError(f"alert rule: {name} must be a text, found {_type(value)}")


def _type(value: object) -> str:
    """What JSON calls it."""
    names = {dict: "an object", list: "a list", str: "a text", bool: "true or false", type(None): "null"}
    return names.get(type(value), "a number")
