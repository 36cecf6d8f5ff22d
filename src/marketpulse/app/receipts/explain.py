"""`explain`: one stored value, its inputs, the state before, the arithmetic and the revisions.

    what readers know of the row -> the same row again by the engine's own operators -> the arithmetic in words

Three ways to the value are held against each other, bit for bit: what is stored, what the replay gives, and
what the words come to.
"""

import struct
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from marketpulse.app.engine_config import engine_config
from marketpulse.app.receipts.bar_arithmetic import COLUMNS, explain_column
from marketpulse.app.receipts.known import Known, find_known
from marketpulse.app.receipts.trace import Ask, Trace, states_before
from marketpulse.app.receipts.trace_lake import trace_lake
from marketpulse.app.receipts.trace_log import Say, Sought, trace_log
from marketpulse.engine.config import EngineConfig
from marketpulse.errors import EnvironmentProblem, Fatal, ParameterError
from marketpulse.indicators.bar_columns import NAMES as BAR_INPUTS
from marketpulse.kafka.log_reader import LogReader
from marketpulse.model.rows import LIVE_NAME
from marketpulse.query.stored_rows import StoredRows
from marketpulse.settings import Settings

_SHARED = {
    shown: name for name, shown in LIVE_NAME.items()
}  # session_vwap -> vwap: the indicator of that name


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
class Explanation:
    """Everything that `explain` shows."""

    ask: Ask
    known: Known
    trace: Trace
    values: list[Value]
    receipt: dict[str, Any]
    row_same: bool  # whether the replay gave the whole row that readers know
    late_same: (
        bool | None
    )  # whether as many inputs are marked late as the receipt counts; None: cannot be told

    @property
    def same(self) -> bool:
        return self.row_same and all(value.same for value in self.values)


def explain(settings: Settings, ask: Ask, say: Say = lambda *_: None) -> Explanation:
    """Explain one value. Raises ParameterError for what this configuration does not compute, Fatal when there is
    no such row or its inputs are gone, Retryable while the log or the lake does not answer."""
    config = engine_config(settings.engine)
    column = checked_name(config, ask)
    log = _open_log(settings)
    stored = StoredRows(settings)
    try:
        known = find_known(settings, stored, log, ask)
        sought = _sought(known, ask, config)
        trace = None
        if log is not None and sought.topic == settings.topic("market"):
            trace = trace_log(log, config, sought, say)
        trace = trace or trace_lake(stored, config, sought)
    finally:
        if log is not None:
            log.close()
    if trace is None or not trace.tellings:
        raise Fatal(
            f"the inputs of {ask.symbol} {ask.timeframe} are gone: the log {sought.topic}/{sought.partition} no longer "
            "holds them, no snapshot lies before them, and the lake has no trades that give this bar"
        )
    return _assembled(config, ask, column, known, trace)


def checked_name(config: EngineConfig, ask: Ask) -> str | None:
    """The column that NAME means; None for the whole bar. `vwap` is the bar's; the session's is `session_vwap`."""
    frames = [frame.name for frame in config.frames]
    if ask.timeframe not in frames:
        raise ParameterError(f"timeframe {ask.timeframe!r} is not built: choose one of {', '.join(frames)}")
    if ask.name == "bar":
        return None
    columns = config.columns()
    if ask.name in COLUMNS or ask.name in columns or _SHARED.get(ask.name) in columns:
        return ask.name
    others = [LIVE_NAME.get(name, name) for name in columns]
    raise ParameterError(f"{ask.name!r} is not computed: choose one of bar, {', '.join([*COLUMNS, *others])}")


def same_bits(left: float | None, right: float | None) -> bool:
    """Whether two values are the same double, or both are missing."""
    if left is None or right is None:
        return left is right
    return struct.pack("<d", left) == struct.pack("<d", right)


def _assembled(config: EngineConfig, ask: Ask, column: str | None, known: Known, trace: Trace) -> Explanation:
    last = {t.table: t.values for t in trace.tellings}
    of_indicators = column is not None and column not in COLUMNS
    told = known.rows["indicators" if of_indicators else "bars"][-1]
    again = last.get("indicators" if of_indicators else "bars", {})
    names = COLUMNS if column is None else (column,)
    values = [
        _indicator(config, trace, told, again, name)
        if of_indicators
        else _bar_column(config, ask, trace, told, again, name)
        for name in names
    ]
    receipt = known.rows["bars"][-1]["receipt"] if known.rows["bars"] else told["receipt"]
    late = sum(any(m == "late" or "after it had closed" in m for m in r.marks) for r in trace.inputs)
    return Explanation(
        ask, known, trace, values, receipt,
        row_same=_same_row(told, again, whole=trace.from_log),
        late_same=late == receipt["late_count"] if trace.from_log else None,
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


def _indicator(
    config: EngineConfig, trace: Trace, told: dict[str, Any], again: dict[str, Any], name: str
) -> Value:
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
    explained = spec.explain(before[0], inputs, int(bar["session_date"]))
    value = explained.values[spec.columns.index(column)]
    shown = {"indicator": spec.text, "formula": spec.indicator.formula, "bars_before": len(trace.series) - 1}
    shown |= {
        "state": before[0].tolist(),
        "bar": {field: float(bar[field]) for field in spec.indicator.reads},
    }
    missing = bool(np.isnan(value))
    return Value(
        name, told.get(column), again.get(column), None if missing else value, list(explained.lines), shown
    )


def _same_row(told: dict[str, Any], again: dict[str, Any], *, whole: bool) -> bool:
    """Whether both have the same bits; what only the log can tell is left out unless `whole`. Columns that the
    stored row lacks were not computed then."""
    passed_over = set() if whole else {"revision", "receipt"}
    for name in set(told) & set(again) - passed_over:
        left, right = told[name], again[name]
        same = (
            same_bits(left, right) if isinstance(left, float) or isinstance(right, float) else left == right
        )
        if not same:
            return False
    return bool(again)


def _sought(known: Known, ask: Ask, config: EngineConfig) -> Sought:
    bars, rows = known.rows["bars"], known.rows["indicators"]
    newest = (bars or rows)[-1]
    receipt = (bars or rows)[0]["receipt"]
    by_count = config.frame_index(ask.timeframe) < config.ticks
    return Sought(
        ask, receipt["topic"], receipt["partition"],
        min((r["receipt"]["first_offset"] for r in [*bars, *rows] if r["receipt"]["first_offset"] is not None), default=None),
        (bars[-1]["revision"] if bars else -1, rows[-1]["revision"] if rows else -1),
        (newest["receipt"]["first_offset"], newest["receipt"]["first_row"]) if by_count else None,
    )  # fmt: skip


def _open_log(settings: Settings) -> LogReader | None:
    try:
        return LogReader(settings)
    except EnvironmentProblem:
        return None
