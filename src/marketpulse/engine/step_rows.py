"""The rows of one step, in the order in which they leave."""

from dataclasses import dataclass, field

import numpy as np

from marketpulse.engine.alerting import ToldAlerts, watch
from marketpulse.engine.config import EngineConfig
from marketpulse.engine.findings import RULE_NAMES, describe
from marketpulse.engine.growth import grow_kept_bars
from marketpulse.engine.indicate import indicate
from marketpulse.engine.late_bars import release_all, seal_longest_series
from marketpulse.engine.layout import (
    BEHIND_WINDOW,
    CLOSED,
    N_CLOSED,
    N_FOUND,
    N_REJECTED,
    N_STALE,
    N_UNTOLD,
    ORIGIN_TRADES,
    QUALITY_RULE,
    REASON_NAMES,
    REJECT,
    TOO_LATE,
    Output,
    Plan,
)
from marketpulse.engine.quality import DROP
from marketpulse.engine.records import chosen, copied, joined
from marketpulse.engine.revise import refresh, tell
from marketpulse.engine.rewind import make_room, make_room_for_quotes
from marketpulse.engine.splits import frame_factors
from marketpulse.engine.state import PartitionState
from marketpulse.indicators.declaration import Floats


@dataclass(frozen=True, slots=True)
class Refusal:
    """One row that the engine refuses: its index in the batch, the reason, and the timeframes that did.
    `detail`: what else there is to say of it."""

    row: int
    reason: str
    timeframes: tuple[str, ...]
    detail: str = ""


def frame_names(config: EngineConfig, frames: int) -> tuple[str, ...]:
    """The names of the timeframes of which a bit is set."""
    return tuple(frame.name for i, frame in enumerate(config.frames) if frames >> i & 1)


@dataclass(slots=True)
class StepRows:
    """What one step has given so far. Closed bars wait in `closed` until their indicators are due: at the
    step's end, and before anything goes back in time."""

    config: EngineConfig
    plan: Plan
    state: PartitionState
    closed: list[np.ndarray] = field(default_factory=list)
    bars_out: list[np.ndarray] = field(default_factory=list)
    indicated: list[np.ndarray] = field(default_factory=list)
    values: list[Floats] = field(default_factory=list)
    alerts: list[ToldAlerts] = field(default_factory=list)
    refused: list[Refusal] = field(default_factory=list)
    behind: list[np.ndarray] = field(default_factory=list)
    found: list[np.ndarray] = field(default_factory=list)
    bars: int = 0

    def drain(self, output: Output) -> None:
        """Copy closed bars and refusals out of the working space."""
        registers = self.state.tables.registers
        if registers[N_CLOSED]:
            self.closed.append(copied(output.closed[: registers[N_CLOSED]]))
            self.bars += int(registers[N_CLOSED])
        found = output.found[: registers[N_FOUND]]
        if found.size:
            self.found.append(copied(found))
        rejected = output.rejected[: registers[N_REJECTED]]
        behind = rejected["reason"] == BEHIND_WINDOW
        if behind.any():
            self.behind.append(copied(rejected[behind]))
        for row in rejected[~behind]:
            names = frame_names(self.config, int(row["frames"]))
            self.refused.append(self._refusal(int(row["row"]), int(row["reason"]), names, found))
        registers[N_CLOSED] = registers[N_REJECTED] = registers[N_FOUND] = 0

    def refuse(self, row: int, reason: int, frames: int = 0, *, history: bool = False) -> None:
        """A rare record is refused, by these timeframes; what is too late of `history` waits for a rebuild."""
        if history and reason == TOO_LATE:
            self.behind.append(np.array([(row, BEHIND_WINDOW, frames)], REJECT))
        else:
            self.refused.append(Refusal(row, REASON_NAMES[reason], frame_names(self.config, frames)))

    def _refusal(self, row: int, reason: int, names: tuple[str, ...], found: np.ndarray) -> Refusal:
        """A row that a rule of data quality drops has that rule's name for a reason."""
        if reason != QUALITY_RULE:
            return Refusal(row, REASON_NAMES[reason], names)
        why = found[(found["row"] == row) & (found["severity"] == DROP)][0]
        return Refusal(row, RULE_NAMES[why["rule"]], names, describe(why))

    def indicate(self) -> None:
        """The indicators of the bars that have closed; from here on their readers know them."""
        if not self.closed:
            return
        closed = joined(self.closed, CLOSED)
        self.closed.clear()
        self.state, values = indicate(self.state, self.config, closed)
        self._give(closed, closed, values)
        revisable = closed["frame"] >= self.plan.ticks
        revisable &= self.state.tables.symbols["origin"][closed["symbol"]] == ORIGIN_TRADES
        self.state.told.add(chosen(closed, revisable), values[revisable])
        factors = frame_factors(self.state.splits, self.state.basis, closed)
        together = revisable | (closed["built"] != 0)
        self._alert(watch(self.state.alerts, self.state.symbols.texts(), closed, values, revisable, together, factors))

    def refresh(self) -> None:
        """Bars are about to close: those that lack a change are built again first."""
        if self.state.tables.registers[N_STALE]:
            self.indicate()
            self.state = refresh(self.state, self.config, self.plan)

    def tell(self) -> None:
        """Every row that a change has made another."""
        if self.state.tables.registers[N_UNTOLD]:
            self.indicate()
            self.state, told = tell(self.state, self.config, self.plan)
            self._give(told.bars, told.indicated, told.values)
            self._alert(told.alerts)
            self.bars += len(told.bars)

    def make_room(self) -> None:
        """The window is full."""
        self.indicate()
        make_room(self.state, self.config, self.plan)

    def make_room_for_bars(self) -> None:
        """No place is free for a bar of a source."""
        if self.state.tables.kept_bars.size < self.plan.kept_bars:
            grow_kept_bars(self.state)
            return
        release_all(self.state)
        self.tell()
        seal_longest_series(self.state)

    def make_room_for_quotes(self) -> None:
        """No place is free for a quote."""
        self.indicate()
        make_room_for_quotes(self.state, self.config, self.plan)

    def _give(self, bars: np.ndarray, indicated: np.ndarray, values: Floats) -> None:
        self.bars_out.append(bars)
        self.indicated.append(indicated)
        self.values.append(values)

    def _alert(self, alerts: ToldAlerts | None) -> None:
        if alerts is not None:
            self.alerts.append(alerts)
