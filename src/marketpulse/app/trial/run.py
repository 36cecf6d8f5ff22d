"""A rule on stored history, before it is saved: the engine's own operator over the lake's bars and indicators.

stored bars, beside their indicators -> the rows that the engine evaluated -> its events -> firings

It is as if the rule had been put at the range's beginning: it sees what closes behind it and remembers nothing of before.
Rows are as they stand now, revised and all; so the firings are those that a late trade has left standing.
"""

import threading
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from marketpulse.alerts.closed_rows import alert_rows
from marketpulse.alerts.evaluate import evaluate
from marketpulse.alerts.events import RAISED
from marketpulse.alerts.message import message_of
from marketpulse.alerts.state import AlertState, learn_symbols, new_state
from marketpulse.alerts.tree import COMPARISONS, CROSSINGS, Column, Node, Number, Operation
from marketpulse.app.engine_config import engine_config
from marketpulse.app.stored_splits import stored_splits
from marketpulse.app.trial.plan import Counted, Plan, count_rows, make_plan
from marketpulse.app.trial.rows import chunks, closed_rows
from marketpulse.engine.indicate import Memory
from marketpulse.engine.splits import Splits
from marketpulse.errors import ParameterError, QueryCancelled
from marketpulse.indicators.declaration import Floats
from marketpulse.ports import AlertTrial
from marketpulse.query.duck import LakeQuery
from marketpulse.query.how import How
from marketpulse.settings import Settings

FLAP_BARS = 3
"""A firing that comes so few bars after the last one was cleared is a flap."""
_LISTED = 500
_CHARTS, _POINTS = 6, 400
_CHART_SYMBOLS = 500
Progress = Callable[[int, int], None]
"""Rows evaluated, and rows in all."""


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
        plan = make_plan(query, how, engine_config(settings.engine), trial)
        counted = count_rows(query, how, plan, trial)
        symbols = sorted({symbol for symbol, _ in counted})
        run = _Run(plan, trial, symbols, counted, stored_splits(query, how, symbols, plan.config))
        done, total = 0, sum(one.rows for one in counted.values())
        progress(0, total)
        for table in chunks(query, how, plan, trial, counted):
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
        plan: Plan,
        trial: AlertTrial,
        symbols: Sequence[str],
        counted: Mapping[tuple[str, str], Counted],
        splits: Splits,
    ) -> None:
        self._plan, self._trial, self._symbols = plan, trial, list(symbols)
        self._number = {symbol: i for i, symbol in enumerate(symbols)}
        self._state: AlertState = learn_symbols(new_state(plan.rules), plan.rules, self._symbols)
        computing = replace(plan.config, indicators=tuple(plan.computed), alerts=())
        self._memory = Memory.fresh(computing, max(1, len(symbols)) * len(computing.frames), splits)
        self._firings: list[_Firing] = []
        self._last: dict[str, _Firing] = {}
        self._bars = np.zeros(len(symbols), np.int64)
        self._sides = _sides(plan.compiled.condition, plan.compiled.frame)
        self._rows = 0
        frame = plan.config.frames[plan.compiled.frame].name
        own = [(s, one) for (s, name), one in counted.items() if name == frame]
        self._span = (min((o.first_ns for _, o in own), default=None), max((o.last_ns for _, o in own), default=None))
        largest = sorted(own, key=lambda pair: -pair[1].rows)[:_CHART_SYMBOLS]
        self._lines = {symbol: _Line(max(1, one.rows // _POINTS)) for symbol, one in largest}

    def take(self, table: pa.Table) -> None:
        bars, values, factors = closed_rows(self._plan, table, self._number, self._memory)
        inside = bars["close_ns"] > self._trial.from_ns
        bars, values = bars[inside], values[inside]
        factors = factors[inside] if len(factors) == len(inside) else factors
        if not len(bars):
            return
        together = bars["frame"] >= np.array([self._plan.built_from[s] for s in self._symbols])[bars["symbol"]]
        rows = alert_rows(bars, values, together, factors)
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

    def _numbers(self, symbols: NDArray[np.int32], own: NDArray[np.bool_]) -> NDArray[np.int64]:
        """Of each row of the rule's timeframe, how many there were of its symbol before it."""
        numbers = np.full(len(symbols), -1, np.int64)
        at = np.flatnonzero(own)
        order = at[np.argsort(symbols[at], kind="stable")]
        sorted_symbols = symbols[order]
        begins = np.flatnonzero(np.append(True, sorted_symbols[1:] != sorted_symbols[:-1])) if len(order) else at
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
        firing = _Firing(symbol, int(event["event_time_ns"]), int(event["open_ns"]), float(event["value"]), said, bar)
        firing.flap = last is not None and last.cleared_bar is not None and bar - last.cleared_bar <= FLAP_BARS
        self._last[symbol] = firing
        self._firings.append(firing)

    def _draw(
        self, bars: np.ndarray, values: Floats, own: NDArray[np.bool_], number: NDArray[np.int64], events: np.ndarray
    ) -> None:
        kept = np.zeros(len(bars), np.bool_)
        kept[events["row"]] = True
        steps = np.array([self._lines[s].step if s in self._lines else 0 for s in self._symbols])[bars["symbol"]]
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
        names = [self._plan.rules.inputs.columns[s.column] if isinstance(s, Column) else None for s in self._sides]
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
