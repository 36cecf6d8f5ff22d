"""Which rules the lake's trades tell of: those that read no quotes, and of which it is known since when they run."""

import json
from typing import Any

import numpy as np
import pyarrow as pa

from market_rows import config_of
from marketpulse.alerts.rule import Rule
from marketpulse.app.receipts.lake_rules import lake_rules
from marketpulse.app.receipts.lake_trades import LakeInputs
from marketpulse.app.receipts.running_rules import RunningRules
from marketpulse.model.tables import TABLES

RULES = (
    Rule("plain", "close > sma_3", message="{close} beside {spread}"), Rule("wide", "spread > 1"),
    Rule("closing", "close > 1", clear="mid < 2"), Rule("gone", "close > 2"), Rule("other", "close > 3"),
)  # fmt: skip
CONFIG = config_of(["3t", "1s", "1m"], "sma(3),spread,mid", alerts=RULES)
NOBODY = np.empty(0, np.bool_)


def lake(*changes: Any, refused: frozenset[tuple[int, int]] = frozenset()) -> LakeInputs:
    """A lake without trades, with these changes as control records."""
    schema = TABLES["events"][1]
    events = [
        {"type": "control", "partition": 0, "offset": i, "row": 0, "body": json.dumps({"type": "control", "change": c})}
        for i, c in enumerate(changes)
    ]  # fmt: skip
    return LakeInputs("market", 0, pa.table({}), NOBODY, pa.Table.from_pylist(events, schema), refused)


def names(rules: RunningRules) -> list[str]:
    return [rule.name for rule in rules.rules]


def test_without_a_broker_those_that_control_records_name_are_left_out() -> None:
    changes = (
        {"action": "remove_rule", "name": "gone"},
        {"action": "put_rule", "rule": {"name": "other", "expression": "close > 4"}},
    )
    assert names(lake_rules(CONFIG, lake(), None)) == ["plain", "gone", "other"]
    assert names(lake_rules(CONFIG, lake(*changes), None)) == ["plain"]
    assert names(lake_rules(CONFIG, lake(*changes, refused=frozenset({(1, 0)})), None)) == ["plain", "other"]
    assert names(lake_rules(CONFIG, lake(None, 7, {"rule": 5}), None)) == ["plain", "gone", "other"]


def test_a_snapshot_tells_of_all_that_run_and_since_when() -> None:
    running = RunningRules((RULES[0], RULES[1], Rule("mine", "close > 9")), {("mine", "A"): 5})
    found = lake_rules(CONFIG, lake({"action": "remove_rule", "name": "plain"}), running)
    assert names(found) == ["plain", "mine"]
    assert found.begins_ns == {("mine", "A"): 5}
    assert [(rule.timeframe, rule.message) for rule in found.rules] == [("1s", "")] * 2
