"""The one loop: a batch of one partition's log through check, bars, indicators and alerts.

    (state, batch) -> (state, StepResult)

The result depends on the rows alone: however the log is cut into batches, the same rows come out,
bit for bit and in the same order. Revised rows leave between the others, at the heartbeat or clock
record that follows the change (engine.revise).

One row can close very many bars (with `fill`, a heartbeat after a night of silence: each second of it
for each symbol). So a step stops after some tens of thousands, and the next one goes on there.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from marketpulse.engine.alerting import ToldAlerts
from marketpulse.engine.announcements import hear_goodbye, hear_hello, is_history
from marketpulse.engine.changes import take_change
from marketpulse.engine.check import ASK, check_time
from marketpulse.engine.closing import DONE, anything_due, close_due
from marketpulse.engine.config import EngineConfig
from marketpulse.engine.control import take_control
from marketpulse.engine.growth import grow_bars, grow_groups
from marketpulse.engine.late_splits import take_split
from marketpulse.engine.layout import (
    CLOSED,
    COUNTS_OF_A_STEP,
    COUNTS_OF_QUOTES,
    DUPLICATES,
    FOUND,
    FUTURE_TIME,
    LATE,
    N_GROUPS,
    NEVER,
    OUT_OF_SESSION,
    REASON_NAMES,
    REJECT,
    TOO_LATE,
    TOO_MANY_SOURCES,
    Output,
    Plan,
)
from marketpulse.engine.payouts import hear_payout
from marketpulse.engine.rebuild import StaleHistory, begin_rebuild, take_part
from marketpulse.engine.records import joined
from marketpulse.engine.rewind import move_anchor
from marketpulse.engine.state import PartitionState
from marketpulse.engine.step_rows import Refusal, StepRows, frame_names
from marketpulse.engine.taking import (
    FINISHED,
    NEED_APPEND_TIME,
    NEED_BARS,
    NEED_GROUPS,
    NEED_KEPT_BARS,
    NEED_QUOTES,
    NEED_ROOM,
    NEED_WINDOW,
    NEW_FRAME,
    NEW_SOURCE,
    NEW_SYMBOL,
    NEW_VENUE,
    RARE,
    REFRESH,
    REFUSED,
    REVISE,
    UNMAPPED,
    take_rows,
)
from marketpulse.engine.translate import Translation
from marketpulse.engine.watermark import hear_source, switch_symbol
from marketpulse.errors import ParameterError
from marketpulse.indicators.declaration import Floats
from marketpulse.model.history import begins_rebuild
from marketpulse.model.market import ABSENT, COMPLETE, Kind, MarketBatch

_ROOM = 4_096
_BAD_CONTROL, _BAD_REBUILD, _STALE_REBUILD = "bad_control", "bad_rebuild", "stale_rebuild"
CLOSED_MOST = 50_000  # a step's bars, but for what one round closes: some 15 MB with their rows


class QuoteCounts(NamedTuple):
    """Quotes of a step: with the bid above the ask or at it; whose bar had closed; and those that entered
    nothing, for they came behind the correction window or lie outside their session."""

    crossed: int = 0
    locked: int = 0
    late: int = 0
    too_late: int = 0
    out_of_session: int = 0


@dataclass(frozen=True, slots=True)
class StepResult:
    """What one step gives: n bars in order of emission, closed (revision 0) or revised; and the m bars
    that have an indicator row, with its revision and values (m, columns). Without revisions both are the same.
    `alerts` are the changes of alerts, in order, those of the same rules together.

    `found` (FOUND) is what the rules of data quality have found, in order. `refused` are the dead letters; `behind` (REJECT)
    the rows of historical sources that came behind the correction window, which wait for a rebuild.

    `next_row` is the first row of the batch that is not done, `more` whether a step must go on with it
    (or with bars that are still due behind the last one).
    """

    closed: np.ndarray
    indicated: np.ndarray
    values: Floats
    alerts: list[ToldAlerts]
    refused: list[Refusal]
    behind: np.ndarray
    out_of_session: int
    late: int
    duplicates: int
    quotes: QuoteCounts
    found: np.ndarray
    next_row: int
    more: bool

    def set_aside(self, config: EngineConfig, batch: MarketBatch) -> list[Refusal]:
        """The dead letters for those who have no rebuild: what is `behind` as well, but for quotes, on which nothing hangs."""
        behind = [
            Refusal(int(one["row"]), REASON_NAMES[TOO_LATE], frame_names(config, int(one["frames"])))
            for one in self.behind[batch.kind[self.behind["row"]] != Kind.QUOTE]
        ]
        return [*self.refused, *behind]


class Stepper:
    """Drives the operators over batches; holds only working space, no state of the stream."""

    def __init__(self, config: EngineConfig, closed_most: int = CLOSED_MOST) -> None:
        self.config = config
        self.closed_most = closed_most
        self._plan: Plan = config.plan()
        self._translations: dict[int, Translation] = {}
        self._output: Output | None = None

    def steps(self, state: PartitionState, batch: MarketBatch) -> Iterator[tuple[PartitionState, StepResult]]:
        """Take a whole batch in, in as many steps as it needs: at least one."""
        row, more = 0, True
        while more:
            state, result = self.step(state, batch, row)
            row, more = result.next_row, result.more
            yield state, result

    def step(self, state: PartitionState, batch: MarketBatch, first: int = 0) -> tuple[PartitionState, StepResult]:
        """Take in the batch from row `first` on, or the part of it that closes `closed_most` bars.

        The state passed in is spent; go on with the one returned.
        """
        registers = state.tables.registers
        registers[COUNTS_OF_A_STEP] = 0
        translation = self._translation(state, batch)
        taken = StepRows(self.config, self._plan, state)
        row, more = first, True
        while more and taken.bars < self.closed_most:
            output = self._room_for(state)
            # What an earlier step or a rare record has left to close comes before the next row.
            if anything_due(state.tables):
                taken.refresh()
                if close_due(state.tables, state.sessions, self._plan, output) != DONE:
                    taken.drain(output)
                    continue
            why, row = take_rows(state.tables, state.sessions, self._plan, translation.columns(batch), output, row)
            taken.drain(output)
            if why == FINISHED:
                more = False
            elif why == RARE:
                self._take_rare(taken, translation, batch, row)
                row += 1
            elif why == REVISE:
                taken.tell()
            elif why == REFRESH:
                taken.refresh()
            elif why == NEED_WINDOW:
                taken.make_room()
            elif why == NEED_KEPT_BARS:
                taken.make_room_for_bars()
            elif why == NEED_QUOTES:
                taken.make_room_for_quotes()
            elif why != NEED_ROOM:
                self._help(state, translation, batch, why, row)
        taken.indicate()
        return state, StepResult(
            closed=joined(taken.bars_out, CLOSED),
            indicated=joined(taken.indicated, CLOSED),
            values=self._joined_values(taken.values),
            alerts=taken.alerts,
            refused=taken.refused,
            behind=joined(taken.behind, REJECT),
            out_of_session=int(registers[OUT_OF_SESSION]),
            late=int(registers[LATE]),
            duplicates=int(registers[DUPLICATES]),
            quotes=QuoteCounts(*registers[COUNTS_OF_QUOTES].tolist()),
            found=joined(taken.found, FOUND),
            next_row=row,
            more=more,
        )

    def _joined_values(self, parts: list[Floats]) -> Floats:
        if len(parts) == 1:
            return parts[0]
        return np.concatenate([np.empty((0, len(self.config.columns()))), *parts])

    def trim(self, state: PartitionState) -> PartitionState:
        """Let go of what the correction window has left behind, as before a snapshot."""
        move_anchor(state, self.config, self._plan)
        return state

    def forget(self, state: PartitionState) -> None:
        """The state is given up; drop what was kept for it."""
        self._translations.pop(id(state), None)

    def _translation(self, state: PartitionState, batch: MarketBatch) -> Translation:
        found = self._translations.get(id(state))
        if found is None or found.strings is not batch.strings or found.state is not state:
            found = self._translations[id(state)] = Translation(batch.strings, state)
        return found

    def _help(self, state: PartitionState, known: Translation, batch: MarketBatch, why: int, row: int) -> None:
        """Give the kernel what it stopped for."""
        if why == NEW_SOURCE:
            known.learn_source(self.config, int(batch.source[row]))
        elif why == NEW_VENUE:
            known.learn_venue(int(batch.venue[row]))
        elif why == NEW_SYMBOL:
            known.learn_symbol(self.config, batch, row)
        elif why == NEW_FRAME:
            known.learn_frame(self.config, int(batch.timeframe[row]))
        elif why == NEED_BARS:
            grow_bars(state)
        elif why == NEED_GROUPS:
            grow_groups(state)
        elif why == NEED_APPEND_TIME:
            batch.log_time_ns[row] = batch.append_time_of(int(batch.offset[row]))

    def _take_rare(self, taken: StepRows, known: Translation, batch: MarketBatch, row: int) -> None:
        """A record that is neither market data nor time."""
        state, kind = taken.state, Kind(int(batch.kind[row]))
        if kind in (Kind.QUALITY, Kind.LATE, Kind.NEWS):  # our own word about another row, and what is no market data
            return
        if kind == Kind.SWITCH:
            self._take_switch(taken, known, batch, row)
            return
        if kind == Kind.CONTROL:
            self._take_control(taken, batch, row)
        elif kind == Kind.REBUILD:
            self._take_rebuild(taken, batch, row)
        elif kind in (Kind.SPLIT, Kind.DIVIDEND):
            taken.found.append(hear_payout(state, self._plan, kind, batch.rare[row], row))
            if kind == Kind.SPLIT:
                self._take_split(taken, batch.rare[row], row)
        if batch.source[row] == ABSENT:
            return
        source = self._source_of(taken, known, batch, row)
        if source == REFUSED:
            return
        if kind == Kind.GOODBYE and (reason := self._wrong_goodbye(state, source, batch, row)):
            taken.refused.append(Refusal(row, reason, ()))
            return
        record = batch.rare[row]
        _RARE.get(kind, _hear)(state, self.config, source, record)
        if kind in (Kind.CORRECTION, Kind.CANCEL):
            place = (int(batch.offset[row]), int(batch.row[row]))
            refused = take_change(state, self._plan, kind, source, record, place)
            if refused is not None:
                taken.refuse(row, refused, history=is_history(state, str(record["source"])))
            elif self.config.revise_each:
                taken.tell()

    def _source_of(self, taken: StepRows, known: Translation, batch: MarketBatch, row: int) -> int:
        """Our number of the row's source. REFUSED, which is noted, where there is no room for another one."""
        source = int(known.source_of[batch.source[row]])
        if source == UNMAPPED:
            source = known.learn_source(self.config, int(batch.source[row]))
        if source == REFUSED:
            taken.refused.append(Refusal(row, REASON_NAMES[TOO_MANY_SOURCES], ()))
        return source

    def _take_switch(self, taken: StepRows, known: Translation, batch: MarketBatch, row: int) -> None:
        """Another source feeds the symbol: its bars follow that one's watermark alone. No source has spoken."""
        state = taken.state
        symbol = state.symbols.find(str(batch.rare[row]["symbol"]))
        if symbol < 0:
            return  # no row of it has come: there is nothing that could wait
        source = self._source_of(taken, known, batch, row)
        if source == REFUSED:
            return
        if state.tables.groups.size - state.tables.registers[N_GROUPS] < 1:
            grow_groups(state)
        switch_symbol(state.tables, self._plan, symbol, source)

    def _take_control(self, taken: StepRows, batch: MarketBatch, row: int) -> None:
        """What closed before it belongs to the rules before it."""
        taken.indicate()
        taken.refresh()
        try:
            take_control(taken.state, self.config, batch.rare[row])
        except ParameterError as error:
            taken.refused.append(Refusal(row, _BAD_CONTROL, (), str(error)))

    def _take_split(self, taken: StepRows, record: dict[str, Any], row: int) -> None:
        """What closed before it is indicated and told by what was known before it."""
        taken.indicate()
        taken.refresh()
        taken.tell()
        refusal = take_split(taken.state, self.config, self._plan, record)
        if refusal is not None:
            reason, missed = refusal
            frames = sum(1 << i for i in np.flatnonzero(missed).tolist())
            taken.refuse(row, reason, frames, history=is_history(taken.state, str(record["source"])))
        if self.config.revise_each:
            taken.tell()

    def _take_rebuild(self, taken: StepRows, batch: MarketBatch, row: int) -> None:
        """What it changes leaves as every revision does."""
        record, place = batch.rare[row], (int(batch.offset[row]), int(batch.row[row]))
        taken.indicate()
        try:
            if begins_rebuild(record):
                taken.refresh()
                taken.tell()
                begin_rebuild(taken.state, self.config, self._plan, record, place)
            else:
                take_part(taken.state, self.config, self._plan, record, place)
        except StaleHistory as error:
            taken.refused.append(Refusal(row, _STALE_REBUILD, (), str(error)))
        except ParameterError as error:
            taken.refused.append(Refusal(row, _BAD_REBUILD, (), str(error)))
        else:
            if self.config.revise_each:
                taken.tell()

    def _wrong_goodbye(self, state: PartitionState, source: int, batch: MarketBatch, row: int) -> str | None:
        """A final watermark is a promise as good as the clock that made it: the same door as for rows."""
        final = batch.rare[row].get("watermark_ns")
        if final is None or final == COMPLETE:
            return None
        verdict = check_time(state.tables, self._plan, source, final, NEVER)
        if verdict == ASK:
            appended = batch.append_time_of(int(batch.offset[row]))
            verdict = check_time(state.tables, self._plan, source, final, appended)
        return REASON_NAMES[FUTURE_TIME] if verdict == FUTURE_TIME else None

    def _room_for(self, state: PartitionState) -> Output:
        """Working space in which everything that is open may close at one row."""
        bars = state.tables.bars.size
        if self._output is None or self._output.scratch.size < bars:
            self._output = Output(
                np.empty(2 * bars + _ROOM, CLOSED),
                np.empty(_ROOM, REJECT),
                np.empty(_ROOM, FOUND),
                np.empty(bars, np.int32),
            )
        return self._output


def _hear(state: PartitionState, config: EngineConfig, source: int, record: dict[str, Any]) -> None:  # noqa: ARG001
    """The record says that its source lives, and no more to the bars."""
    hear_source(state.tables, source)


_RARE = {Kind.HELLO: hear_hello, Kind.GOODBYE: hear_goodbye}
