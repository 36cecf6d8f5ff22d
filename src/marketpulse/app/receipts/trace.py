"""What an explanation is made of, whichever way the row came again: its inputs, its series, and what was told."""

from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from marketpulse.app.receipts.alert_trace import AlertTrace
from marketpulse.engine.config import EngineConfig
from marketpulse.engine.indicate import Memory, values_by_factors
from marketpulse.engine.layout import CLOSED, ORIGIN_TRADES
from marketpulse.engine.state import PartitionState
from marketpulse.indicators.declaration import Floats


@dataclass(frozen=True, slots=True)
class Ask:
    """One value: `name` is `bar`, a column of bars, a column of indicators, or an alert rule. A rule that is named as
    a column is asked for as `alert:high`. `as_shown`: `open_ns` is what a page shows of a bar cut by count."""

    symbol: str
    timeframe: str
    open_ns: int
    name: str
    as_shown: bool = False

    @property
    def rule(self) -> str:
        """The rule that is meant, if one is."""
        return self.name.removeprefix("alert:")


@dataclass(slots=True)
class Input:
    """One record that was, or might have been, an input of the bar. `marks` say what became of it (late, duplicate,
    corrected, cancelled, refused …); `counts` whether the bar holds it; price and size are those that count."""

    kind: Literal["trade", "bar"]
    offset: int
    row: int
    event_time_ns: int
    source: str
    price: float
    size: float
    trade_id: str | None = None
    marks: list[str] = field(default_factory=list)
    counts: bool = True
    bar: dict[str, Any] | None = None  # of a source that only has bars: its own row


@dataclass(frozen=True, slots=True)
class Telling:
    """One revision of the bar, of its indicator row or of a rule's alert on it, and the record upon which it left."""

    table: Literal["bars", "indicators", "alerts"]
    offset: int
    row: int
    record: str  # its type
    values: dict[str, Any]  # the row as it is stored

    @property
    def revision(self) -> int:
        return int(self.values["revision"])


@dataclass(slots=True)
class Base:
    """Of one series: each indicator's state (1, width), and its newest bar's factor (engine.splits)."""

    states: list[Floats]
    factor: float = 1.0


@dataclass(slots=True)
class Trace:
    """The replay of one bar. `series` are the bars of its symbol and timeframe up to itself, in order, after the
    state `base`; `values` its indicator values as the engine gave them."""

    way: str  # a sentence: what was replayed
    inputs: list[Input]
    tellings: list[Telling]
    series: np.ndarray  # (n,) CLOSED, the bar itself last; empty when it is withdrawn or was not found
    base: "Base"
    alert: AlertTrace | None = None  # of the rule that was asked for

    @property
    def from_log(self) -> bool:
        """Whether the log itself was replayed, and not the lake's trades."""
        return bool(self.tellings) and self.tellings[0].offset >= 0


@dataclass(slots=True)
class Series:
    """The bars of one symbol and timeframe as readers know them, and the indicators' state before the first."""

    base: Base
    bars: dict[tuple[int, int], np.void] = field(default_factory=dict)

    @classmethod
    def of(cls, state: PartitionState, config: EngineConfig, symbol: str, frame: int) -> "Series":
        """As a state has them: its anchor, and the rows told since; what cannot be revised stands in the state."""
        number = state.symbols.find(symbol)
        if number < 0:
            return cls(Base([spec.fresh_state(1) for spec in config.indicators]))
        row = number * len(config.frames) + frame
        revisable = frame >= config.ticks and state.tables.symbols["origin"][number] == ORIGIN_TRADES
        memory = Memory.at_anchor(state) if revisable else Memory.live(state)
        one = memory.of(np.array([row]))
        found = cls(Base(one.indicators, float(one.basis["factor"][0])))
        if revisable:
            told, _, _ = state.told.rows(len(config.columns()))
            found.take(told[(told["symbol"] == number) & (told["frame"] == frame)], by_count=False)
        return found

    def take(self, bars: np.ndarray, *, by_count: bool) -> None:
        """Bars of the series that were told: a later revision takes the place of an earlier one."""
        for bar in bars:
            key = (int(bar["open_ns"]), int(bar["first_offset"]) if by_count else 0)
            if by_count:
                key = (len(self.bars), 0)
            if np.isnan(bar["open"]):
                self.bars.pop(key, None)
            else:
                self.bars[key] = bar

    def up_to(self, last: np.void | None) -> np.ndarray:
        """The bars in order, up to this one."""
        if last is None:
            return np.empty(0, CLOSED)
        found = np.array([self.bars[key] for key in sorted(self.bars)], CLOSED)
        same = (found["open_ns"] == last["open_ns"]) & (found["first_offset"] == last["first_offset"])
        at = np.flatnonzero(same)
        return found[: at[-1] + 1] if at.size else np.empty(0, CLOSED)


def states_before(config: EngineConfig, trace: Trace) -> list[Floats]:
    """Each indicator's state (1, width) when the traced bar came."""
    states = [state.copy() for state in trace.base.states]
    bars = trace.series[:-1]
    values_by_factors(states, config, bars, changes_of_factor(trace)[:-1])
    return states


def changes_of_factor(trace: Trace) -> NDArray[np.bool_]:
    """(n,) which bars of the series are the first behind a split."""
    changed: NDArray[np.bool_] = np.diff(trace.series["factor"], prepend=trace.base.factor) != 0.0
    return changed
