"""What a trial reads: the rule over the columns that it needs, and how many stored bars there are of each symbol."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import cast

import numpy as np
from numpy.typing import NDArray

from marketpulse.alerts.inputs import inputs_of
from marketpulse.alerts.program import CompiledRule
from marketpulse.alerts.rule import Rule
from marketpulse.alerts.rule_json import rule_from_json
from marketpulse.alerts.rule_set import RuleSet, rule_set
from marketpulse.alerts.tree import columns_of
from marketpulse.app.alert_language import computable, with_computable
from marketpulse.engine.config import EngineConfig
from marketpulse.errors import ParameterError
from marketpulse.indicators.catalogue import Spec
from marketpulse.model.rows import LIVE_NAME
from marketpulse.model.session import SessionTable
from marketpulse.ports import AlertTrial
from marketpulse.query.duck import LakeQuery
from marketpulse.query.how import How

ROWS_MAX = 5_000_000  # some minutes on 2 cores
_STORED = "SELECT * FROM indicators LIMIT 0"
_COUNTED = """
    SELECT symbol, timeframe, count(*) AS n, min(close_time_ns) AS first_ns, max(close_time_ns) AS last_ns,
           bool_or(trade_count IS NULL) AS of_source, any_value(venue) AS venue
    FROM bars WHERE {where} GROUP BY symbol, timeframe ORDER BY symbol, timeframe"""


@dataclass(frozen=True, slots=True)
class Counted:
    """The stored rows of one symbol and timeframe."""

    rows: int
    first_ns: int
    last_ns: int


@dataclass(slots=True)
class Plan:
    """What the trial reads: the rule over as few columns as it needs."""

    config: EngineConfig
    rule: Rule
    rules: RuleSet
    frames: list[int]  # that it reads
    stored: list[str]  # indicator columns, by their names in the lake
    computed: list[Spec]
    built_from: dict[str, int] = field(default_factory=dict)
    """The smallest timeframe of each symbol whose bars are built, from trades or from those of a source."""
    closes: dict[str, NDArray[np.int64]] = field(default_factory=dict)
    """When its sessions close."""

    @property
    def compiled(self) -> CompiledRule:
        return self.rules.compiled[0]

    @property
    def by_count(self) -> bool:
        return self.compiled.frame < self.config.ticks


def make_plan(query: LakeQuery, how: How, config: EngineConfig, trial: AlertTrial) -> Plan:
    """The rule read over the columns that it needs."""
    wide = with_computable(trial.rule, config)
    rule = rule_from_json(dict(trial.rule))
    whole = rule_set(wide.alert_rules().inputs, [rule])
    (compiled,) = whole.compiled
    nodes = [node for node in (compiled.condition, compiled.clear) if node is not None]
    columns = [column for node in nodes for column in columns_of(node)]
    needed = {whole.inputs.columns[column.column] for column in columns}
    needed |= {name for name in whole.inputs.columns if "{" + name + "}" in rule.message}
    in_lake = set(query.run(_STORED, how).column_names)
    stored, computed = [], list(computable(trial.rule, config))
    for spec in config.indicators:
        for name in spec.columns:
            if LIVE_NAME.get(name, name) in needed:
                if name in in_lake:
                    stored.append(name)
                elif spec not in computed:
                    computed.append(spec)
    if quoted := next((spec for spec in computed if spec.reads_quotes), None):
        raise ParameterError(
            f"{quoted.text} reads quotes, which stored bars do not hold: try the rule on what is stored since the engine computes it"
        )
    names = [*stored, *(name for spec in computed for name in spec.columns if LIVE_NAME.get(name, name) in needed)]
    degrees = dict(zip(wide.columns(), wide.degrees(), strict=True))
    narrow = inputs_of(names, wide.frames, tuple(degrees[name] for name in names))
    frames = sorted({compiled.frame, *(column.frame for column in columns)})
    return Plan(wide, rule, rule_set(narrow, [rule]), frames, stored, computed)


def count_rows(query: LakeQuery, how: How, plan: Plan, trial: AlertTrial) -> dict[tuple[str, str], Counted]:
    """The stored rows by symbol and timeframe, of the symbols that the rule takes; `plan` learns how their bars close."""
    config, frames = plan.config, [frame.name for frame in plan.config.frames]
    rows = [
        row | {"frame": frames.index(row["timeframe"])}
        for row in query.run(_COUNTED.format(where=_within(plan, trial)), how).to_pylist()
        if plan.rule.takes(row["symbol"]) and (not trial.symbols or row["symbol"] in trial.symbols)
        if row["timeframe"] in frames
    ]
    sources = {row["symbol"] for row in rows if row["of_source"] and config.bars_from != "trades"}
    for row in rows:
        symbol, frame = row["symbol"], row["frame"]
        built = frame + 1 if symbol in sources or config.bars_from == "source" else config.ticks
        plan.built_from[symbol] = min(plan.built_from.get(symbol, built), built)
        calendar = config.calendar_of_venue(row["venue"]) or config.calendar
        plan.closes[symbol] = cast("SessionTable", config.sessions_of(calendar)).close_ns
    found = {
        (row["symbol"], row["timeframe"]): Counted(row["n"], row["first_ns"], row["last_ns"])
        for row in rows
        if row["frame"] in plan.frames
    }
    total = sum(one.rows for one in found.values())
    if total > ROWS_MAX:
        raise ParameterError(
            f"the range holds {total:,} bars, a trial takes {ROWS_MAX:,}: choose fewer symbols, a shorter range or a "
            "longer timeframe"
        )
    return found


def where_of(plan: Plan, trial: AlertTrial, symbols: Sequence[str]) -> str:
    """Of the bars that are read; indicators that are computed need all from the first on."""
    frames = ", ".join(quoted(plan.config.frames[f].name) for f in plan.frames)
    return f"timeframe IN ({frames}) AND {_within(plan, trial)} AND symbol IN ({', '.join(map(quoted, symbols))})"


def _within(plan: Plan, trial: AlertTrial) -> str:
    since = "" if plan.computed else f" AND close_time_ns > {trial.from_ns}"
    return f"close_time_ns <= {trial.to_ns}{since}"


def quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
