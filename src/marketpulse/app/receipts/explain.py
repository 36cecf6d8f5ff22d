"""`explain`: one stored value, its inputs, the state before, the arithmetic and the revisions.

    what readers know of the row -> the same row again by the engine's own operators -> the arithmetic in words

Three ways to the value are held against each other, bit for bit: what is stored, what the replay gives, and
what the words come to.
"""

import struct
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from marketpulse.alerts.rule import Rule
from marketpulse.app.engine_config import engine_config
from marketpulse.app.receipts.alert_words import Change, Words, life_lines
from marketpulse.app.receipts.bar_arithmetic import COLUMNS, explain_column
from marketpulse.app.receipts.compare import Table
from marketpulse.app.receipts.known import Known, find_known
from marketpulse.app.receipts.loaded import loaded_inputs
from marketpulse.app.receipts.running_rules import running_rules
from marketpulse.app.receipts.sought import Sought
from marketpulse.app.receipts.trace import Ask, Trace, changes_of_factor, states_before
from marketpulse.app.receipts.trace_lake import trace_lake
from marketpulse.app.receipts.trace_log import Say, trace_log
from marketpulse.engine.config import EngineConfig
from marketpulse.errors import EnvironmentProblem, Fatal, ParameterError
from marketpulse.indicators.bar_columns import NAMES as BAR_INPUTS
from marketpulse.indicators.rebase import explain_rebased
from marketpulse.kafka.log_reader import LogReader
from marketpulse.model.rows import LIVE_NAME
from marketpulse.query.stored_rows import ALWAYS, StoredRows, Wanted
from marketpulse.settings import Settings

_SHARED = {shown: name for name, shown in LIVE_NAME.items()}  # session_vwap -> vwap: the indicator of that name


@dataclass(slots=True)
class Value:
    """One column of the row, three times: as readers know it, as replayed, as the words have it."""

    name: str
    known: float | int | None
    replayed: float | int | None
    worked_out: float | int | None
    lines: list[str]
    before: dict[str, Any] = field(default_factory=dict)

    @property
    def same(self) -> bool:
        return same_bits(self.known, self.replayed) and same_bits(self.replayed, self.worked_out)


@dataclass(slots=True)
class Alert:
    """A rule on the row: the change of its alert three times, and the words."""

    rule: Rule
    columns: dict[str, float | None]  # what it reads of the row
    before: list[str]
    rows_before: int
    lines: list[str]
    known: Change
    replayed: Change
    worked_out: Change

    @property
    def same(self) -> bool:
        return all(
            self.known.state == other.state and same_bits(self.known.value, other.value)
            for other in (self.replayed, self.worked_out)
        )


@dataclass(slots=True)
class Explanation:
    """Everything that `explain` shows."""

    ask: Ask
    known: Known
    trace: Trace
    values: list[Value]
    receipt: dict[str, Any]
    row_same: bool  # whether the replay gave the whole row that readers know
    late_same: bool | None  # whether as many inputs are marked late as the receipt counts; None: cannot be told
    alert: Alert | None = None

    @property
    def same(self) -> bool:
        alert = self.alert is None or self.alert.same
        return self.row_same and alert and all(value.same for value in self.values)


def explain(settings: Settings, ask: Ask, say: Say = lambda *_: None) -> Explanation:
    """Explain one value. Raises ParameterError for what this configuration does not compute, Fatal when there is
    no such row or its inputs are gone, Retryable while the log or the lake does not answer."""
    config = engine_config(settings.engine)
    stored = StoredRows(settings)
    rules = rule_names(stored, config, ask)
    column = checked_name(config, ask, rules)
    log = _open_log(settings)
    try:
        known = find_known(settings, stored, log, ask)
        ask = known.ask
        sought = _sought(known, ask, config, ask.rule if column is None and ask.name != "bar" else "")
        trace, running = None, None
        if log is not None and sought.topic == settings.topic("market"):
            running = running_rules(log, config, sought.partition) if sought.rule else None
            trace = trace_log(log, config, sought, running, say)
        if trace is not None and known.begins_before_the_log():
            trace.inputs[:0] = loaded_inputs(stored, ask, known.close_ns())
        trace = trace or trace_lake(stored, config, sought, running)
    finally:
        if log is not None:
            log.close()
    if trace is None or not trace.tellings:
        raise Fatal(
            f"the inputs of {ask.symbol} {ask.timeframe} are gone: the log {sought.topic}/{sought.partition} no longer "
            "holds them, no snapshot lies before them, and the lake has no trades that give this bar"
        )
    return _assembled(config, sought, column, known, trace)


def rule_names(stored: StoredRows, config: EngineConfig, ask: Ask) -> list[str]:
    """The rules that NAME may mean: the configured ones, and those that have told of the symbol. Columns go first."""
    configured = [rule.name for rule in config.alerts]
    if ask.rule in configured or ask.name in {"bar", *COLUMNS, *config.columns(), *_SHARED}:
        return configured
    told = stored.table("alerts", Wanted(*ALWAYS, frozenset({ask.symbol}))).rows
    others = set(told["rule"].unique().to_pylist()) if told.num_rows else set()
    return [*configured, *sorted(others - set(configured))]


def checked_name(config: EngineConfig, ask: Ask, rules: Sequence[str] = ()) -> str | None:
    """The column that NAME means; None for the whole bar and for one of the rules. `vwap` is the bar's; the session's
    is `session_vwap`."""
    frames = [frame.name for frame in config.frames]
    if ask.timeframe not in frames:
        raise ParameterError(f"timeframe {ask.timeframe!r} is not built: choose one of {', '.join(frames)}")
    if ask.name == "bar":
        return None
    columns = config.columns()
    if ask.name in COLUMNS or ask.name in columns or _SHARED.get(ask.name) in columns:
        return ask.name
    if ask.rule in rules:
        return None
    others = [LIVE_NAME.get(name, name) for name in columns]
    raise ParameterError(f"{ask.name!r} is not computed: choose one of bar, {', '.join([*COLUMNS, *others, *rules])}")


def same_bits(left: float | None, right: float | None) -> bool:
    """Whether two values are the same double, or both are missing."""
    if left is None or right is None:
        return left is right
    return struct.pack("<d", left) == struct.pack("<d", right)


def _assembled(config: EngineConfig, sought: Sought, column: str | None, known: Known, trace: Trace) -> Explanation:
    ask = sought.ask
    last = {t.table: t.values for t in trace.tellings}
    of_indicators = column is not None and column not in COLUMNS
    table: Table = "alerts" if known.rows["alerts"] and sought.rule else "indicators" if of_indicators else "bars"
    told, again = known.rows[table][-1], last.get(table, {})
    names = () if sought.rule else COLUMNS if column is None else (column,)
    values = [
        _indicator(config, trace, told, again, name)
        if of_indicators
        else _bar_column(config, ask, trace, told, again, name)
        for name in names
    ]
    row_same = _same_row(told, again, whole=trace.from_log)
    if table == "alerts" and not trace.from_log and told["state"] == "withdrawn":
        row_same = not again  # the sorted trades never gave it
    receipt = known.rows["bars"][-1]["receipt"] if known.rows["bars"] else told["receipt"]
    late = sum(any(m == "late" or "after it had closed" in m for m in r.marks) for r in trace.inputs)
    return Explanation(
        ask, known, trace, values, receipt,
        row_same=row_same,
        late_same=late == receipt["late_count"] if trace.from_log else None,
        alert=_alert(config, sought, known, trace) if sought.rule else None,
    )  # fmt: skip


def _alert(config: EngineConfig, sought: Sought, known: Known, trace: Trace) -> Alert:
    told = known.rows["alerts"][-1] if known.rows["alerts"] else None
    change = Change() if told is None or told["state"] == "withdrawn" else Change(told["state"], told["value"])
    alert = trace.alert
    if alert is None:
        rule = next((rule for rule in config.alerts if rule.name == sought.rule), Rule(sought.rule, ""))
        return Alert(rule, {}, [], 0, ["the bar is withdrawn: no rule runs on it"], change, Change(), Change())
    words = Words(alert.compiled, alert.inputs, alert.memory, alert.row)
    worked_out = words.change(alert.close_ns)
    return Alert(
        alert.compiled.rule, words.columns, life_lines(alert.memory.life), int(alert.memory.life["rows"]), words.lines,
        change, alert.change, worked_out,
    )  # fmt: skip


def _bar_column(
    config: EngineConfig, ask: Ask, trace: Trace, told: dict[str, Any], again: dict[str, Any], name: str
) -> Value:
    by_count = config.frame_index(ask.timeframe) < config.ticks
    lines, value = explain_column(name, trace.inputs, by_count=by_count)
    if not any(record.counts for record in trace.inputs) and told.get("close") is not None:
        value = _of_filled(name, trace)  # the engine fills it in: its close is the one before
    elif name in ("volume", "trade_count") and value is None and again.get(name) == 0:
        value = 0  # withdrawn
    return Value(name, told.get(name), again.get(name), value, lines)


def _of_filled(name: str, trace: Trace) -> float | int | None:
    if name in ("volume", "trade_count", "vwap"):
        return None if name == "vwap" else 0
    return float(trace.series[-2]["close"]) if len(trace.series) > 1 else None


def _indicator(config: EngineConfig, trace: Trace, told: dict[str, Any], again: dict[str, Any], name: str) -> Value:
    column = _SHARED.get(name, name)
    place, spec = next((i, s) for i, s in enumerate(config.indicators) if column in s.columns)
    if not len(trace.series):
        return Value(name, told.get(column), again.get(column), None, ["the bar is withdrawn: no values"])
    if spec.reads_quotes and not trace.from_log:
        raise Fatal(
            f"{name} hangs on a quote, and the log no longer holds it: only the log tells which quotes were in time"
        )
    before = states_before(config, trace)[place]
    bar = trace.series[-1]
    inputs = np.array([float(bar[field]) for field in BAR_INPUTS])
    begins = bool(changes_of_factor(trace)[-1])
    explained = explain_rebased(spec, before[0], inputs, int(bar["session_date"]), float(bar["factor"]), begins=begins)
    value = explained.values[spec.columns.index(column)]
    shown = {"indicator": spec.text, "formula": spec.indicator.formula, "bars_before": len(trace.series) - 1}
    shown |= {"state": before[0].tolist(), "bar": {field: float(bar[field]) for field in spec.indicator.reads}}
    missing = bool(np.isnan(value))
    return Value(name, told.get(column), again.get(column), None if missing else value, list(explained.lines), shown)


def _same_row(told: dict[str, Any], again: dict[str, Any], *, whole: bool) -> bool:
    """Whether both have the same bits; what only the log can tell is left out unless `whole`. Columns that the
    stored row lacks were not computed then."""
    passed_over = set() if whole else {"revision", "receipt", "late", "was", "message", "severity"}
    for name in set(told) & set(again) - passed_over:
        left, right = told[name], again[name]
        same = same_bits(left, right) if isinstance(left, float) or isinstance(right, float) else left == right
        if not same:
            return False
    return bool(again)


def _sought(known: Known, ask: Ask, config: EngineConfig, rule: str) -> Sought:
    bars, rows = known.rows["bars"], known.rows["indicators"]
    newest = (bars or rows)[-1]
    receipt = (bars or rows)[0]["receipt"]
    by_count = config.frame_index(ask.timeframe) < config.ticks
    return Sought(
        ask, receipt["topic"], receipt["partition"],
        min((r["receipt"]["first_offset"] for r in [*bars, *rows] if r["receipt"]["first_offset"] is not None), default=None),
        {t: found[-1]["revision"] if found else -1 for t, found in known.rows.items() if rule or t != "alerts"},
        (newest["receipt"]["first_offset"], newest["receipt"]["first_row"]) if by_count else None,
        rule,
    )  # fmt: skip


def _open_log(settings: Settings) -> LogReader | None:
    try:
        return LogReader(settings)
    except EnvironmentProblem:
        return None
