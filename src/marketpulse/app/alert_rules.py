"""The alert rules that run, and changes of them: what `marketpulse alerts` reads, checks and writes.

the engine's newest snapshot (else the configuration) -> the changes of `control` behind it -> the rules that run
"""

import tomllib
from typing import Any

import orjson

from marketpulse.alerts.rule import Rule
from marketpulse.alerts.rule_json import change_from_json, rule_from_json, rule_to_json
from marketpulse.alerts.rule_set import RuleSet, computes_of
from marketpulse.app.engine_config import engine_config
from marketpulse.app.receipts.running_rules import newest_state
from marketpulse.engine.config import EngineConfig
from marketpulse.errors import ParameterError
from marketpulse.kafka.control_writer import write_change
from marketpulse.kafka.log_reader import LogReader
from marketpulse.settings import Settings

_PARTITION = 0  # a change stands in all of them


def read_fields(text: str, where: str) -> dict[str, Any]:
    """A rule's fields out of one JSON object or a TOML table. Raises ParameterError that says where it cannot be read."""
    try:
        found = orjson.loads(text) if text.lstrip().startswith("{") else tomllib.loads(text)
    except (orjson.JSONDecodeError, tomllib.TOMLDecodeError) as error:
        raise ParameterError(f"{where}: neither a JSON object nor TOML: {error}") from None
    return dict(found)


def rules_that_run(settings: Settings, config: EngineConfig) -> RuleSet:
    """Those that run once the engine has come to the log's end, were it started with this configuration.

    Raises Retryable while the broker is away, EnvironmentProblem when there is none.
    """
    log = LogReader(settings)
    try:
        rules, covered = _newest_rules(log, config)
        for record in log.changes():
            if record.is_behind(_PARTITION, covered):
                rules = _after(rules, record.change)
    finally:
        log.close()
    return rules


def put_rule(settings: Settings, fields: dict[str, Any]) -> str:
    """Have the rule run; gives what happened in words. Nothing is written for one that already runs just so.

    Raises ParameterError, before anything is written, for a rule that cannot be read; else as `rules_that_run`.
    """
    rule, config = rule_from_json(fields), engine_config(settings.engine)
    config.alert_rules().with_rule(rule)  # what is wrong with it is said without a broker
    before = rules_that_run(settings, config)
    before.with_rule(rule)
    known = next((one for one in before.rules if one.name == rule.name), None)
    if known == rule:
        return f"rule {rule.name!r} runs already, just so"
    write_change(settings, _key(rule.name), {"action": "put_rule", "rule": rule_to_json(rule)})
    if known is None:
        return f"rule {rule.name!r} is put: it sees the bars that close from now on"
    if computes_of(known) == computes_of(rule):
        return f"rule {rule.name!r} goes on, with another severity or message"
    return f"rule {rule.name!r} takes the place of the one of its name, and begins anew with the bars that close from now on"


def remove_rule(settings: Settings, name: str) -> str:
    """Have the rule run no more; gives what happened in words. Raises ParameterError when there is none of this name."""
    rules_that_run(settings, engine_config(settings.engine)).without_rule(name)
    write_change(settings, _key(name), {"action": "remove_rule", "name": name})
    return f"rule {name!r} is removed: nothing is told of it any more, and its raised alerts are not cleared"


def described(settings: Settings) -> list[dict[str, Any]]:
    """The rules that run, each with its fields, the name of its timeframe, and in `from` who has put it."""
    config = engine_config(settings.engine)
    return [
        {
            **rule_to_json(compiled.rule),
            "timeframe": config.frames[compiled.frame].name,
            "severity": compiled.rule.severity,
            "from": _origin(compiled.rule, config),
        }
        for compiled in rules_that_run(settings, config).compiled
    ]


def _origin(rule: Rule, config: EngineConfig) -> str:
    return "configuration" if rule in config.alerts else "control"


def _key(name: str) -> str:
    """What a change of this rule has as its key in `control`."""
    return f"rule/{name}"


def _newest_rules(log: LogReader, config: EngineConfig) -> tuple[RuleSet, int]:
    """The rules of the engine's newest snapshot, and the offset that it covers; of an engine without one that can be
    gone on from, what it begins with: the configured rules, where the log begins."""
    found = newest_state(log, config, _PARTITION)
    if found is None:
        return config.alert_rules(), log.span(_PARTITION).first
    state, covered = found
    return state.alerts.rules, covered


def _after(rules: RuleSet, change: dict[str, Any]) -> RuleSet:
    """The rules after a change; the same where the engine has set it aside."""
    try:
        return change_from_json(change, rules)
    except ParameterError:
        return rules
