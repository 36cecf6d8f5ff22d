"""One rule on one symbol again: the rows that it ran on as readers know them, and what it remembered before each.

what it remembered at the replay's start + the rows since -> what it remembered before the row -> the row
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, cast

import numpy as np
import pyarrow as pa

from marketpulse.alerts.evaluate import AlertRows, evaluate
from marketpulse.alerts.events import STATE_NAMES
from marketpulse.alerts.inputs import BAR_COLUMNS, Inputs
from marketpulse.alerts.program import CompiledRule
from marketpulse.alerts.rule_set import rule_set
from marketpulse.alerts.state import AlertState, learn_symbols, new_state
from marketpulse.app.receipts.alert_words import Change, Memory
from marketpulse.engine.alerting import Alerting
from marketpulse.engine.config import EngineConfig
from marketpulse.engine.layout import ORIGIN_TRADES
from marketpulse.engine.rows import bar_rows, indicator_rows
from marketpulse.engine.splits import frame_factors
from marketpulse.engine.state import PartitionState
from marketpulse.engine.step import StepResult
from marketpulse.errors import Fatal, ParameterError
from marketpulse.indicators.declaration import Floats
from marketpulse.model.rows import LIVE_NAME

Remembered = tuple[np.void, Floats]  # LIFE and memory of one rule and symbol
Place = tuple[int, int, int, int]  # timeframe, open time, and of bars cut by count the first record


@dataclass(frozen=True, slots=True)
class _Row:
    """One closed bar: its place, its close, and the numbers of Inputs.columns, NaN where unknown."""

    frame: int
    open_ns: int
    close_ns: int
    numbers: list[float]
    factors: list[float]  # by timeframe (alerts.evaluate.AlertRows)


@dataclass(slots=True)
class AlertTrace:
    """The rule; what it remembered before the row; the row's numbers and close; and what the kernel made of it."""

    compiled: CompiledRule
    inputs: Inputs
    memory: Memory
    row: list[float]
    close_ns: int
    change: Change


@dataclass(slots=True)
class AlertSeries:
    """All closed bars of a symbol, in every timeframe, and what its rules remembered before the first of them.

    `together`: its time bars are built from trades, so those of one close time close as one.
    """

    inputs: Inputs
    symbol: str
    together: bool = True
    remembered: dict[int, Remembered] = field(default_factory=dict)  # by the rule's number
    rows: dict[Place, "_Row"] = field(default_factory=dict)

    @classmethod
    def of(cls, state: PartitionState, config: EngineConfig, symbol: str, *, by_count: bool) -> "AlertSeries":
        """As a state has them: the anchor, and the rows told since; what cannot be revised as it stands."""
        found, number = cls(config.alert_rules().inputs, symbol), state.symbols.find(symbol)
        if number < 0:
            return found
        found.together = bool(state.tables.symbols["origin"][number] == ORIGIN_TRADES)
        revisable = found.together and not by_count
        alerts = state.alerts
        found.remembered = _remembered(alerts, alerts.anchor if revisable else alerts.live, number)
        if revisable:
            bars, values, _ = state.told.rows(len(config.columns()))
            own = bars["symbol"] == number
            found.take(
                bar_rows(state, config, bars[own], "", 0),
                indicator_rows(state, config, bars[own], values[own], "", 0),
                frame_factors(state.splits, state.basis, bars[own]),
            )
        return found

    def take(
        self, bars: pa.RecordBatch, indicators: pa.RecordBatch, factors: Floats, timeframes: Sequence[str] | None = None
    ) -> None:
        """Rows that were told of the same bars, one beside the other, with their `factors` (engine.splits.frame_factors) in
        these timeframes (None: in all): a later revision takes the place of an earlier one."""
        each = np.ones((bars.num_rows, len(self.inputs.frames)))
        known = [f for f, frame in enumerate(self.inputs.frames) if timeframes is None or frame.name in timeframes]
        each[:, known] = factors
        for bar, values, own in zip(bars.to_pylist(), indicators.to_pylist(), each.tolist(), strict=True):
            if bar["symbol"] == self.symbol:
                self._take(bar, values, own)

    def take_step(self, state: PartitionState, config: EngineConfig, result: StepResult) -> None:
        """The symbol's rows of a step: every bar that was told has an indicator row with it."""
        own = result.indicated["symbol"] == state.symbols.find(self.symbol)
        if own.any():
            bars = result.indicated[own]
            self.together = bool(state.tables.symbols["origin"][bars["symbol"][0]] == ORIGIN_TRADES)
            self.take(
                bar_rows(state, config, bars, "", 0),
                indicator_rows(state, config, bars, result.values[own], "", 0),
                frame_factors(state.splits, state.basis, bars),
            )

    def _take(self, bar: dict[str, Any], values: dict[str, Any], factors: list[float]) -> None:
        frame = cast("int", self.inputs.frame(bar["timeframe"]))  # the engine builds no others
        place = self.place(frame, bar)
        if bar["close"] is None:
            self.rows.pop(place, None)
            return
        named = {LIVE_NAME.get(name, name): value for name, value in values.items()}
        named |= {name: bar[name] for name in BAR_COLUMNS}
        numbers = [named.get(name) for name in self.inputs.columns]
        self.rows[place] = _Row(
            frame,
            bar["open_time_ns"],
            bar["close_time_ns"],
            [np.nan if n is None else float(n) for n in numbers],
            factors,
        )

    def place(self, frame: int, bar: dict[str, Any]) -> Place:
        """Where a bar as it is stored belongs."""
        receipt, counted = bar["receipt"], self.inputs.cut_by_count(frame)
        begins = (receipt["first_offset"], receipt["first_row"]) if counted else (0, 0)
        return frame, bar["open_time_ns"], *begins

    def trace(self, compiled: CompiledRule, begins_ns: int, bar: dict[str, Any]) -> AlertTrace | None:
        """The rule on this bar; None when the bar is withdrawn. `begins_ns`: since when it sees the symbol's rows,
        where the replay's start did not know it."""
        place = self.place(compiled.frame, bar)
        if place not in self.rows:
            return None
        rules = rule_set(self.inputs, [replace(compiled.rule, timeframe=bar["timeframe"])])
        state = learn_symbols(new_state(rules), rules, [self.symbol])
        state.life["begins_ns"][0, 0] = begins_ns
        if compiled.id in self.remembered:
            state.life[0, 0], state.memory[0] = self.remembered[compiled.id]
        before, instant = self._up_to(place)
        state, _ = evaluate(state, rules, self._alert_rows(before))
        row = self.rows[place]
        together = {
            (other.frame, column): _moved(
                number, other.factors[other.frame], row.factors[other.frame], self.inputs.degree(column)
            )
            for other in instant
            if row.close_ns > state.life["begins_ns"][0, 0]
            for column, number in enumerate(other.numbers)
        }
        program = rules.program
        units = zip(program.memory_frame.tolist(), program.memory_degree.tolist(), strict=True)
        numbers = [
            _moved(number, 1.0, row.factors[frame], degree)
            for number, (frame, degree) in zip(state.memory[0].tolist(), units, strict=True)
        ]
        memory = Memory(state.life[0, 0].copy(), numbers, together)
        state, events = evaluate(state, rules, self._alert_rows(instant))
        change = Change()
        for event in events[events["open_ns"] == row.open_ns]:
            value = float(event["value"])
            change = Change(STATE_NAMES[event["state"]], None if np.isnan(value) else value)
        return AlertTrace(rules.compiled[0], self.inputs, memory, row.numbers, row.close_ns, change)

    def _up_to(self, place: Place) -> tuple[list[_Row], list[_Row]]:
        """The rows before that one, in the order in which rules take them; and it, with those that close with it."""
        asked = self.rows[place]
        if self.together and not self.inputs.cut_by_count(place[0]):
            timed = [row for row in self.rows.values() if not self.inputs.cut_by_count(row.frame)]
            timed.sort(key=lambda row: (row.close_ns, row.frame))
            before = [row for row in timed if row.close_ns < asked.close_ns]
            return before, [row for row in timed if row.close_ns == asked.close_ns]
        rows, at = list(self.rows.values()), list(self.rows).index(place)
        first, last = at, at + 1
        built_from = self._built_from()
        if asked.frame >= built_from:
            with_it = [row.close_ns == asked.close_ns and row.frame >= built_from for row in rows]
            first = next((i + 1 for i in range(at, -1, -1) if not with_it[i]), 0)
            last = next((i for i in range(at, len(rows)) if not with_it[i]), len(rows))
        return rows[:first], rows[first:last]

    def _built_from(self) -> int:
        """The smallest timeframe whose bars are made of trades or smaller bars: the smallest bars of a source are its own.
        Those that are cut by count stand before all others."""
        frames = range(len(self.inputs.frames))
        if self.together:
            return next((frame for frame in frames if not self.inputs.cut_by_count(frame)), len(frames))
        return min((row.frame for row in self.rows.values()), default=-1) + 1

    def _alert_rows(self, rows: list[_Row]) -> AlertRows:
        n, built_from = len(rows), self._built_from()
        return AlertRows(
            symbol=np.zeros(n, np.int32),
            frame=np.array([row.frame for row in rows], np.int32),
            open_ns=np.array([row.open_ns for row in rows], np.int64),
            close_ns=np.array([row.close_ns for row in rows], np.int64),
            together=np.array([row.frame >= built_from for row in rows], np.bool_),
            values=np.array([row.numbers for row in rows], np.float64).reshape(n, len(self.inputs.columns)),
            factors=np.array([row.factors for row in rows], np.float64).reshape(n, len(self.inputs.frames)),
        )


def rule_at(
    state: PartitionState, config: EngineConfig, name: str, symbol: str, timeframe: str
) -> tuple[CompiledRule, int]:
    """The rule of this name that runs at this place of a replay, and since when it sees the symbol's rows. Raises
    Fatal when there is none of that name, ParameterError when it runs on another timeframe."""
    number, rules = state.symbols.find(symbol), state.alerts.rules.compiled
    for place, compiled in enumerate(rules):
        if compiled.rule.name == name:
            own = config.frames[compiled.frame].name
            if own != timeframe:
                raise ParameterError(f"rule {name!r} runs on {own}: ask for a bar of that timeframe")
            return compiled, int(state.alerts.live.life["begins_ns"][number, place])
    raise Fatal(f"no rule {name!r} ran when this bar was told: it was put later, or removed before")


def _moved(number: float, factor: float, to_factor: float, degree: int) -> float:
    """A number of this degree from the units of one bar into those of another, by way of the first bar's."""
    for _ in range(abs(degree)):
        number = number * factor if degree > 0 else number / factor
    for _ in range(abs(degree)):
        number = number / to_factor if degree > 0 else number * to_factor
    return number


def _remembered(alerts: Alerting, state: AlertState, symbol: int) -> dict[int, Remembered]:
    """What each rule remembers of the symbol; nothing of one that has yet to meet it."""
    if symbol >= state.symbols:
        return {}
    table = alerts.rules.program.rules
    return {
        number: (
            state.life[symbol, place].copy(),
            state.memory[symbol, table["memory"][place] : table["memory_stop"][place]].copy(),
        )
        for place, number in enumerate(alerts.rules.numbers)
    }
