"""Which alert rules the lake's trades can tell of again: those that read no quotes, and began at a place that is known.

With a broker the engine's newest snapshot tells of all that run. Without one, those of the configuration are taken
to have run from the first trade on; those that a control record has put or removed are left out, for the lake has
neither heartbeats nor clocks, and cannot say which bars had closed by then.
"""

from dataclasses import replace

import orjson
import pyarrow.compute as pc

from marketpulse.alerts.inputs import Inputs
from marketpulse.alerts.program import CompiledRule
from marketpulse.alerts.rule import Rule
from marketpulse.alerts.rule_set import compile_rule
from marketpulse.alerts.tree import columns_of
from marketpulse.app.receipts.lake_trades import LakeInputs
from marketpulse.app.receipts.running_rules import RunningRules
from marketpulse.engine.config import EngineConfig
from marketpulse.model.rows import LIVE_NAME


def lake_rules(config: EngineConfig, inputs: LakeInputs, running: RunningRules | None) -> RunningRules:
    """Those rules, each with its timeframe's name and an empty message."""
    if running is None:
        changed = _changed_by_control(inputs)
        running = RunningRules(tuple(rule for rule in config.alerts if rule.name not in changed), {})
    of_quotes = {LIVE_NAME.get(name, name) for spec in config.indicators if spec.reads_quotes for name in spec.columns}
    all_inputs = config.alert_rules().inputs
    compiled = [compile_rule(rule, 0, all_inputs) for rule in running.rules]
    return RunningRules(
        tuple(_plain(config, one) for one in compiled if not of_quotes & _columns(one, all_inputs)), running.begins_ns
    )


def _plain(config: EngineConfig, compiled: CompiledRule) -> Rule:
    """The rule without what hangs on the other timeframes that there are, and on columns that it does not compare."""
    return replace(compiled.rule, timeframe=config.frames[compiled.frame].name, message="")


def _columns(compiled: CompiledRule, inputs: Inputs) -> set[str]:
    """The names of all columns that the rule compares."""
    expressions = [node for node in (compiled.condition, compiled.clear) if node is not None]
    return {inputs.columns[column.column] for node in expressions for column in columns_of(node)}


def _changed_by_control(inputs: LakeInputs) -> set[str]:
    """The names of the rules that control records have put or removed."""
    if not inputs.events.num_rows:
        return set()
    controls = inputs.events.filter(pc.equal(inputs.events["type"], "control"))
    names = set()
    for event in controls.select(["body", "offset", "row"]).to_pylist():
        if (event["offset"], event["row"]) not in inputs.refused:
            match orjson.loads(event["body"]).get("change"):
                case {"rule": {"name": str(name)}} | {"name": str(name)}:
                    names.add(name)
    return names
