"""A rule on stored history, before it is saved: the engine's own operator over the lake's bars and indicators.

stored bars, beside their indicators -> the rows that the engine evaluated -> its events -> firings

It is as if the rule had been put at the range's beginning: it sees what closes behind it and remembers nothing of before.
Rows are as they stand now, revised and all; so the firings are those that a late trade has left standing.
"""

import itertools
import threading
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from marketpulse.alerts.closed_rows import alert_rows
from marketpulse.alerts.evaluate import evaluate
from marketpulse.alerts.events import RAISED
from marketpulse.alerts.inputs import BAR_COLUMNS, inputs_of
from marketpulse.alerts.message import message_of
from marketpulse.alerts.program import CompiledRule
from marketpulse.alerts.rule import Rule
from marketpulse.alerts.rule_json import rule_from_json
from marketpulse.alerts.rule_set import RuleSet, rule_set
from marketpulse.alerts.state import AlertState, learn_symbols, new_state
from marketpulse.alerts.tree import COMPARISONS, CROSSINGS, Column, Node, Number, Operation, columns_of
from marketpulse.app.alert_language import computable, with_computable
from marketpulse.app.engine_config import engine_config
from marketpulse.engine.config import EngineConfig
from marketpulse.engine.indicate import values_of
from marketpulse.engine.layout import CLOSED
from marketpulse.errors import ParameterError, QueryCancelled
from marketpulse.indicators.catalogue import Spec
from marketpulse.indicators.declaration import Floats
from marketpulse.model.rows import LIVE_NAME
from marketpulse.ports import AlertTrial
from marketpulse.query.duck import LakeQuery
from marketpulse.query.how import How
from marketpulse.settings import Settings

ROWS_MAX = 5_000_000  # about a minute on 2 cores
FLAP_BARS = 3
"""A firing that comes so few bars after the last one was cleared is a flap."""
_CHUNK = 200_000  # rows evaluated at once
_SYMBOLS_AT_ONCE = 500  # names in one query
_LISTED = 500
_CHARTS, _POINTS = 6, 400
_CHART_SYMBOLS = 500
_STORED = "SELECT * FROM indicators LIMIT 0"
_COUNTED = """
    SELECT symbol, timeframe, count(*) AS n, min(close_time_ns) AS first_ns, max(close_time_ns) AS last_ns,
           bool_or(trade_count IS NULL) AS of_source
    FROM bars WHERE {where} GROUP BY symbol, timeframe ORDER BY symbol, timeframe"""
_ROWS = """
    SELECT b.*{columns} FROM (SELECT symbol, timeframe, open_time_ns, close_time_ns, session_date, open, high, low, close,
        volume, vwap, trade_count, receipt.last_offset AS at_offset, receipt.last_row AS at_row, {nth} AS nth
        FROM bars WHERE {where}) AS b"""
_BESIDE = """
    LEFT JOIN (SELECT symbol, timeframe, open_time_ns, {nth} AS nth{columns} FROM indicators WHERE {where}) AS i
    ON b.symbol = i.symbol AND b.timeframe = i.timeframe AND b.open_time_ns = i.open_time_ns AND b.nth = i.nth"""
# Only bars that are cut by count share an open time.
_NTH = (
    "row_number() OVER (PARTITION BY symbol, timeframe, open_time_ns "
    "ORDER BY close_time_ns, receipt.last_offset, receipt.last_row)"
)
Progress = Callable[[int, int], None]
"""Rows evaluated, and rows in all."""


@dataclass(frozen=True, slots=True)
class _Counted:
    """The stored rows of one symbol and timeframe."""

    rows: int
    first_ns: int
    last_ns: int
    of_source: bool


@dataclass(slots=True)
class _Firing:
    symbol: str
    raised_ns: int
    open_ns: int
    value: float
    message: str
    bar: int  # its row's number among those of its symbol
    cleared_ns: int | None = None
    cleared_bar: int | None = None
    flap: bool = False


@dataclass(slots=True)
class _Line:
    """What a chart is drawn of: (close time, close, left, right) of some rows of a symbol."""

    step: int
    parts: list[Floats] = field(default_factory=list)


@dataclass(slots=True)
class _Plan:
    """What the trial reads: the rule over as few columns as it needs."""

    config: EngineConfig
    rule: Rule
    rules: RuleSet
    frames: list[int]  # that it reads
    stored: list[str]  # indicator columns, by their names in the lake
    computed: list[Spec]
    together: dict[str, bool] = field(default_factory=dict)

    @property
    def compiled(self) -> CompiledRule:
        return self.rules.compiled[0]

    @property
    def by_count(self) -> bool:
        return self.compiled.frame < self.config.ticks


def try_rule(
    settings: Settings, trial: AlertTrial, cancelled: threading.Event, progress: Progress = lambda *_: None
) -> dict[str, Any]:
    """The answer for JSON; times are milliseconds.

    Raises ParameterError for a rule that cannot be read, a range that is none or holds too much, QueryCancelled, and
    what LakeQuery.run does.
    """
    if not trial.from_ns < trial.to_ns:
        raise ParameterError("the range's end lies before its beginning: choose a later end")
    query = LakeQuery(settings)
    try:
        how = How(cancelled)
        plan = _plan(query, how, engine_config(settings.engine), trial)
        counted = _count(query, how, plan, trial)
        run = _Run(plan, trial, sorted({symbol for symbol, _ in counted}), counted)
        done, total = 0, sum(one.rows for one in counted.values())
        progress(0, total)
        for table in _chunks(query, how, plan, trial, counted):
            if cancelled.is_set():
                raise QueryCancelled("the trial was stopped")
            run.take(table)
            done += table.num_rows
            progress(done, total)
        return run.answer()
    finally:
        query.close()


class _Run:
    """Evaluates chunk by chunk, each symbol's in order, and gathers what comes of it."""

    def __init__(
        self,
        plan: _Plan,
        trial: AlertTrial,
        symbols: Sequence[str],
        counted: Mapping[tuple[str, str], _Counted],
    ) -> None:
        self._plan, self._trial, self._symbols = plan, trial, list(symbols)
        self._number = {symbol: i for i, symbol in enumerate(symbols)}
        self._state: AlertState = learn_symbols(new_state(plan.rules), plan.rules, self._symbols)
        self._memory = [
            spec.fresh_state(max(1, len(symbols)) * len(plan.config.frames)) for spec in plan.computed
        ]
        self._firings: list[_Firing] = []
        self._last: dict[str, _Firing] = {}
        self._bars = np.zeros(len(symbols), np.int64)
        self._sides = _sides(plan.compiled.condition, plan.compiled.frame)
        self._rows = 0
        frame = plan.config.frames[plan.compiled.frame].name
        own = [(s, one) for (s, name), one in counted.items() if name == frame]
        self._span = (
            min((o.first_ns for _, o in own), default=None),
            max((o.last_ns for _, o in own), default=None),
        )
        largest = sorted(own, key=lambda pair: -pair[1].rows)[:_CHART_SYMBOLS]
        self._lines = {symbol: _Line(max(1, one.rows // _POINTS)) for symbol, one in largest}

    def take(self, table: pa.Table) -> None:
        bars, values = self._closed(table)
        inside = bars["close_ns"] > self._trial.from_ns
        bars, values = bars[inside], values[inside]
        if not len(bars):
            return
        together = np.array([self._plan.together[s] for s in self._symbols], np.bool_)[bars["symbol"]]
        together &= bars["frame"] >= self._plan.config.ticks
        rows = alert_rows(bars, values, together)
        self._state, events = evaluate(self._state, self._plan.rules, rows)
        own = bars["frame"] == self._plan.compiled.frame
        number = self._numbers(bars["symbol"], own)
        self._rows += int(np.count_nonzero(own))
        for event in events:
            self._tell(event, int(number[event["row"]]), rows.values[event["row"]])
        self._draw(bars, rows.values, own, number, events)

    def answer(self) -> dict[str, Any]:
        firings = sorted(self._firings, key=lambda f: (f.raised_ns, f.symbol))
        counts: dict[str, int] = defaultdict(int)
        for firing in firings:
            counts[firing.symbol] += 1
        by_count = sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))
        charted = [symbol for symbol, _ in by_count if symbol in self._lines][:_CHARTS]
        charted = charted or list(self._lines)[:1]
        return {
            "firings": len(firings),
            "flaps": sum(f.flap for f in firings),
            "standing": sum(f.cleared_ns is None for f in firings),
            "symbols": len(self._symbols),
            "by_symbol": [{"symbol": symbol, "firings": n} for symbol, n in by_count[:100]],
            "rows": self._rows,
            "timeframe": self._plan.config.frames[self._plan.compiled.frame].name,
            "from_ms": _ms(self._span[0]),
            "to_ms": _ms(self._span[1]),
            "flap_bars": FLAP_BARS,
            "computed": [spec.text for spec in self._plan.computed],
            "list": [_shown(f) for f in firings[-_LISTED:][::-1]],
            "more": max(0, len(firings) - _LISTED),
            "charts": [self._chart(symbol) for symbol in charted],
        }

    def _closed(self, table: pa.Table) -> tuple[np.ndarray, Floats]:
        """The rows as the engine has them, in its order, and their values (n, columns beyond the bar's)."""
        plan = self._plan
        bars = np.zeros(table.num_rows, CLOSED)
        frames = {frame.name: i for i, frame in enumerate(plan.config.frames)}
        bars["symbol"] = _coded(table["symbol"], self._number)
        bars["frame"] = _coded(table["timeframe"], frames)
        bars["open_ns"], bars["close_ns"] = (table[n].to_numpy() for n in ("open_time_ns", "close_time_ns"))
        for name in ("open", "high", "low", "close", "volume", "vwap"):
            bars[name] = _floats(table[name])
        bars["trade_count"] = table["trade_count"].fill_null(-1).to_numpy()
        bars["session_date"] = table["session_date"].cast(pa.int32()).fill_null(0).to_numpy()
        stored = {name: _floats(table[f"i_{name}"]) for name in plan.stored}
        if plan.by_count:
            order = np.lexsort(
                (table["at_row"].fill_null(0), table["at_offset"].fill_null(-1), bars["symbol"])
            )
        else:
            order = np.lexsort((bars["frame"], bars["symbol"], bars["close_ns"]))
        bars = bars[order]
        values = np.full((len(bars), len(plan.rules.inputs.columns) - len(BAR_COLUMNS)), np.nan)
        names = plan.rules.inputs.columns[len(BAR_COLUMNS) :]
        for name, column in stored.items():
            values[:, names.index(LIVE_NAME.get(name, name))] = column[order]
        if plan.computed:
            typical = (bars["high"] + bars["low"] + bars["close"]) / 3.0
            bars["notional"] = np.where(np.isnan(bars["vwap"]), typical, bars["vwap"]) * bars["volume"]
            for name in ("bid", "bid_size", "ask", "ask_size"):
                bars[name] = np.nan
            own = replace(plan.config, indicators=tuple(plan.computed), alerts=())
            computed = values_of(self._memory, own, bars)
            for place, name in enumerate(own.columns()):
                if (shown := LIVE_NAME.get(name, name)) in names:
                    values[:, names.index(shown)] = computed[:, place]
        return bars, values

    def _numbers(self, symbols: NDArray[np.int32], own: NDArray[np.bool_]) -> NDArray[np.int64]:
        """Of each row of the rule's timeframe, how many there were of its symbol before it."""
        numbers = np.full(len(symbols), -1, np.int64)
        at = np.flatnonzero(own)
        order = at[np.argsort(symbols[at], kind="stable")]
        sorted_symbols = symbols[order]
        begins = (
            np.flatnonzero(np.append(True, sorted_symbols[1:] != sorted_symbols[:-1])) if len(order) else at
        )
        sizes = np.diff(np.append(begins, len(order)))
        within = np.arange(len(order)) - np.repeat(begins, sizes)
        numbers[order] = within + self._bars[sorted_symbols]
        np.add.at(self._bars, symbols[at], 1)
        return numbers

    def _tell(self, event: np.void, bar: int, row: Floats) -> None:
        symbol = self._symbols[int(event["symbol"])]
        last = self._last.get(symbol)
        if event["state"] != RAISED:
            if last is not None:
                last.cleared_ns, last.cleared_bar = int(event["event_time_ns"]), bar
            return
        said = message_of(self._plan.rule, symbol, event, self._plan.rules.inputs.columns, row.tolist())
        firing = _Firing(
            symbol, int(event["event_time_ns"]), int(event["open_ns"]), float(event["value"]), said, bar
        )
        firing.flap = (
            last is not None and last.cleared_bar is not None and bar - last.cleared_bar <= FLAP_BARS
        )
        self._last[symbol] = firing
        self._firings.append(firing)

    def _draw(
        self,
        bars: np.ndarray,
        values: Floats,
        own: NDArray[np.bool_],
        number: NDArray[np.int64],
        events: np.ndarray,
    ) -> None:
        kept = np.zeros(len(bars), np.bool_)
        kept[events["row"]] = True
        steps = np.array([self._lines[s].step if s in self._lines else 0 for s in self._symbols])[
            bars["symbol"]
        ]
        kept |= (steps > 0) & (number % np.maximum(steps, 1) == 0)
        kept &= own
        points = np.full((len(bars), 4), np.nan)
        points[:, 0], points[:, 1] = bars["close_ns"], bars["close"]
        for place, side in enumerate(self._sides):
            if isinstance(side, Column):
                points[:, 2 + place] = values[:, side.column]
        for symbol in np.unique(bars["symbol"][kept]).tolist():
            if (line := self._lines.get(self._symbols[symbol])) is not None:
                line.parts.append(points[kept & (bars["symbol"] == symbol)])

    def _chart(self, symbol: str) -> dict[str, Any]:
        points = np.concatenate([np.empty((0, 4)), *self._lines[symbol].parts])
        names = [
            self._plan.rules.inputs.columns[s.column] if isinstance(s, Column) else None for s in self._sides
        ]
        lines = [{"name": "close", "values": _listed(points[:, 1])}]
        lines += [
            {"name": name, "values": _listed(points[:, 2 + i])}
            for i, name in enumerate(names)
            if name not in (None, "close")
        ]
        levels = [side.value for side in self._sides if isinstance(side, Number)]
        return {
            "symbol": symbol,
            "times_ms": [int(t) for t in (points[:, 0] / 1e6).round()],
            "lines": lines,
            "levels": levels,
            "level_of": next((n for n in names if n is not None), None),
        }


def _plan(query: LakeQuery, how: How, config: EngineConfig, trial: AlertTrial) -> _Plan:
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
    names = [
        *stored,
        *(name for spec in computed for name in spec.columns if LIVE_NAME.get(name, name) in needed),
    ]
    narrow = inputs_of(names, wide.frames)
    frames = sorted({compiled.frame, *(column.frame for column in columns)})
    return _Plan(wide, rule, rule_set(narrow, [rule]), frames, stored, computed)


def _count(query: LakeQuery, how: How, plan: _Plan, trial: AlertTrial) -> dict[tuple[str, str], _Counted]:
    """The stored rows by symbol and timeframe, of the symbols that the rule takes."""
    found = {}
    where = _where(plan, trial, [])
    for row in query.run(_COUNTED.format(where=where), how).to_pylist():
        symbol = row["symbol"]
        if plan.rule.takes(symbol) and (not trial.symbols or symbol in trial.symbols):
            found[symbol, row["timeframe"]] = _Counted(
                row["n"], row["first_ns"], row["last_ns"], bool(row["of_source"])
            )
    total = sum(one.rows for one in found.values())
    if total > ROWS_MAX:
        raise ParameterError(
            f"the range holds {total:,} bars, a trial takes {ROWS_MAX:,}: choose fewer symbols, a shorter range or a "
            "longer timeframe"
        )
    origin = plan.config.bars_from
    for symbol, _ in found:
        of_source = any(one.of_source for (name, _), one in found.items() if name == symbol)
        plan.together[symbol] = origin == "trades" or (origin != "source" and not of_source)
    return found


def _where(plan: _Plan, trial: AlertTrial, symbols: Sequence[str]) -> str:
    """Of the bars that are read; indicators that are computed need all from the first on."""
    frames = ", ".join(_text(plan.config.frames[f].name) for f in plan.frames)
    parts = [f"timeframe IN ({frames})", f"close_time_ns <= {trial.to_ns}"]
    if not plan.computed:
        parts.append(f"close_time_ns > {trial.from_ns}")
    if symbols:
        parts.append(f"symbol IN ({', '.join(map(_text, symbols))})")
    return " AND ".join(parts)


def _chunks(
    query: LakeQuery,
    how: How,
    plan: _Plan,
    trial: AlertTrial,
    counted: Mapping[tuple[str, str], _Counted],
) -> Iterator[pa.Table]:
    """Rows of some symbols at once, or of one symbol stretch by stretch; what closes at one instant stays together."""
    sizes: dict[str, int] = defaultdict(int)
    for (symbol, _), one in counted.items():
        sizes[symbol] += one.rows
    group: list[str] = []
    for symbol in sorted(sizes):
        full = len(group) == _SYMBOLS_AT_ONCE or sum(sizes[s] for s in group) + sizes[symbol] > _CHUNK
        if group and full:
            yield from _stretches(query, how, plan, trial, group, sizes, counted)
            group = []
        group.append(symbol)
    if group:
        yield from _stretches(query, how, plan, trial, group, sizes, counted)


def _stretches(
    query: LakeQuery,
    how: How,
    plan: _Plan,
    trial: AlertTrial,
    group: Sequence[str],
    sizes: Mapping[str, int],
    counted: Mapping[tuple[str, str], _Counted],
) -> Iterator[pa.Table]:
    mine = [one for (symbol, _), one in counted.items() if symbol in group]
    first, last = min(one.first_ns for one in mine), max(one.last_ns for one in mine)
    count = (
        1 if plan.by_count else -(-sum(sizes[s] for s in group) // _CHUNK)
    )  # those follow the log, not time
    bounds = [first - 1 + (last - first + 1) * k // count for k in range(count + 1)]
    nth = _NTH if plan.by_count else "1"
    columns = "".join(f", i.{_name(name)} AS {_name('i_' + name)}" for name in plan.stored)
    for begin, end in itertools.pairwise(bounds):
        where = f"{_where(plan, trial, group)} AND close_time_ns > {begin} AND close_time_ns <= {end}"
        sql = _ROWS.format(columns=columns, nth=nth, where=where)
        if plan.stored:
            own = "".join(f", {_name(name)}" for name in plan.stored)
            sql += _BESIDE.format(nth=nth, columns=own, where=where)
        yield query.run(sql, how)


def _sides(node: Node, frame: int) -> tuple[Node | None, Node | None]:
    """What stands on both sides of the first comparison, where it is a column of the rule's own rows or a number."""
    if not isinstance(node, Operation):
        return None, None
    if node.name in (*COMPARISONS, *CROSSINGS):
        left, right = (
            part if isinstance(part, Number) or (isinstance(part, Column) and part.frame == frame) else None
            for part in node.parts
        )
        return left, right
    return next((found for part in node.parts if any(found := _sides(part, frame))), (None, None))


def _coded(column: pa.ChunkedArray, numbers: Mapping[str, int]) -> NDArray[np.int64]:
    coded = (
        column.combine_chunks().dictionary_encode()
        if column.num_chunks != 1
        else column.chunk(0).dictionary_encode()
    )
    if isinstance(coded, pa.ChunkedArray):
        coded = coded.combine_chunks()
    table = np.array([numbers[text] for text in coded.dictionary.to_pylist()], np.int64)
    found: NDArray[np.int64] = table[coded.indices.to_numpy()] if len(table) else np.empty(0, np.int64)
    return found


def _floats(column: pa.ChunkedArray) -> Floats:
    found: Floats = column.cast(pa.float64()).fill_null(float("nan")).to_numpy()
    return found


def _shown(firing: _Firing) -> dict[str, Any]:
    held = None if firing.cleared_ns is None else _ms(firing.cleared_ns - firing.raised_ns)
    return {
        "symbol": firing.symbol, "raised_ms": _ms(firing.raised_ns), "open_ms": _ms(firing.open_ns),
        "cleared_ms": _ms(firing.cleared_ns), "held_ms": held, "message": firing.message, "flap": firing.flap,
        "value": None if np.isnan(firing.value) else firing.value,
        "bars": None if firing.cleared_bar is None else firing.cleared_bar - firing.bar,
    }  # fmt: skip


def _listed(values: Floats) -> list[float | None]:
    return [None if np.isnan(v) else float(v) for v in values]


def _ms(time_ns: int | None) -> float | None:
    return None if time_ns is None else time_ns / 1e6


def _text(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _name(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
