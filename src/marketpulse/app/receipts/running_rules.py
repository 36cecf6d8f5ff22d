"""Which alert rules run, and since when: what the log does not say of those that a start of the pipeline has put.

the engine's newest snapshot -> its rules, and for each symbol the close time after which a rule sees its rows
a replay from before that    -> the same rules, which begin there
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa

from marketpulse.alerts.life import NEVER
from marketpulse.alerts.rule import Rule
from marketpulse.alerts.rule_set import computes_of
from marketpulse.app.receipts.compare import Mask
from marketpulse.engine.checkpoint import ForeignState, state_from_bytes
from marketpulse.engine.config import EngineConfig
from marketpulse.engine.state import PartitionState
from marketpulse.kafka.log_reader import LogReader
from marketpulse.kafka.snapshot import SnapshotGone

Begins = Mapping[tuple[str, str], int]
"""By rule and symbol, the close time after which the rule sees the symbol's rows; those not named it sees from
the first."""


@dataclass(frozen=True, slots=True)
class RunningRules:
    """The rules of a partition, and where they began."""

    rules: tuple[Rule, ...]
    begins_ns: Begins


def told_by(alerts: pa.Table, names: Collection[str], begins_ns: Begins) -> Mask:
    """(n,) which stored alerts are of these very rules, and not of others that had a name of theirs before.
    Where there is none, there need be no columns either."""
    if not alerts.num_rows:
        return np.empty(0, np.bool_)
    columns = (alerts[name].to_pylist() for name in ("rule", "symbol", "event_time_ns"))
    mask: Mask = np.array(
        [
            rule in names and time > begins_ns.get((rule, symbol), NEVER)
            for rule, symbol, time in zip(*columns, strict=True)
        ],
        np.bool_,
    )
    return mask


def rules_of(state: PartitionState) -> RunningRules:
    """Those of a state."""
    alerts, names = state.alerts, state.symbols.texts()
    begins = alerts.live.life["begins_ns"]
    found = {
        (rule.name, names[symbol]): int(begins[symbol, place])
        for place, rule in enumerate(alerts.rules.rules)
        for symbol in np.flatnonzero(begins[: alerts.live.symbols, place] != NEVER).tolist()
    }
    return RunningRules(alerts.rules.rules, found)


def running_rules(log: LogReader, config: EngineConfig, partition: int) -> RunningRules | None:
    """Those that run in a partition now; None: no snapshot of this computation tells, so all began with the log."""
    found = newest_state(log, config, partition)
    return None if found is None else rules_of(found[0])


def newest_state(log: LogReader, config: EngineConfig, partition: int) -> tuple[PartitionState, int] | None:
    """The state that the newest commit names, and the offset that it covers; None: none of this computation."""
    _, pointer = log.committed().get(partition, (0, None))
    if pointer is None:
        return None
    try:
        return state_from_bytes(log.read_snapshot(partition, pointer), config), pointer.covered
    except (ForeignState, SnapshotGone):
        return None


def begin_as(state: PartitionState, running: RunningRules) -> Begins:
    """Have the rules of a replay's first state begin where they did; gives the places of these."""
    alerts = state.alerts
    numbers = {computes_of(rule): n for n, rule in zip(alerts.rules.numbers, alerts.rules.rules, strict=True)}
    same = {rule.name: numbers[computes_of(rule)] for rule in running.rules if computes_of(rule) in numbers}
    begins = {(name, symbol): time for (name, symbol), time in running.begins_ns.items() if name in same}
    alerts.rules = replace(alerts.rules, begins={(same[name], s): time for (name, s), time in begins.items()})
    for (name, symbol), time in begins.items():
        row, place = state.symbols.find(symbol), alerts.rules.numbers.index(same[name])
        for one in (alerts.live, alerts.anchor):
            if 0 <= row < one.symbols:
                one.life["begins_ns"][row, place] = max(time, int(one.life["begins_ns"][row, place]))
    return begins
