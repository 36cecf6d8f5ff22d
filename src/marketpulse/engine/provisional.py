"""What the forming bars would be if they closed now (docs/semantics.md, 16). Looking changes no outcome."""

import numpy as np

from marketpulse.compiled import bare_kernel
from marketpulse.engine.closing import emit_bar
from marketpulse.engine.config import EngineConfig
from marketpulse.engine.exact_sum import DIGITS
from marketpulse.engine.forming import put_bar
from marketpulse.engine.growth import grow_bars
from marketpulse.engine.indicate import indicate_forming
from marketpulse.engine.layout import CLOSED, FREE_BAR, N_CLOSED, N_SYMBOLS, Output, Plan, Tables
from marketpulse.engine.prevailing import quote_forming
from marketpulse.engine.revise import refresh
from marketpulse.engine.state import PartitionState
from marketpulse.indicators.declaration import Floats


def changed_symbols(state: PartitionState) -> np.ndarray:
    """The symbols that have changed since they were shown last."""
    return np.flatnonzero(state.tables.symbols["dirty"][: state.tables.registers[N_SYMBOLS]])


def mark_shown(state: PartitionState, symbols: np.ndarray) -> None:
    """These symbols count as shown as they are now."""
    state.tables.symbols["dirty"][symbols] = 0


class Looker:
    """Looks at forming bars; holds only the plan, no state of the stream."""

    def __init__(self, config: EngineConfig) -> None:
        self._config = config
        self._plan: Plan = config.plan()

    def forming_bars(self, state: PartitionState, symbols: np.ndarray) -> tuple[np.ndarray, Floats]:
        """The newest forming bar of each symbol and timeframe that holds something, with the symbol's newest
        quote, and its indicator values."""
        state = refresh(state, self._config, self._plan)  # a late trade is in the larger bar over it at once
        registers = state.tables.registers
        if registers[FREE_BAR] < 0:
            grow_bars(state)
        most = len(symbols) * len(self._config.frames)
        output = Output(
            np.empty(most, CLOSED),
            np.empty(0, np.int8),
            np.empty(0, np.int8),
            np.empty(state.tables.bars.size, np.int32),
        )
        kept = registers[N_CLOSED]
        registers[N_CLOSED] = 0
        look(state.tables, self._plan, symbols, output)
        forming = output.closed[: registers[N_CLOSED]].copy()
        registers[N_CLOSED] = kept
        quote_forming(state.tables, forming)
        return forming, indicate_forming(state, self._config, forming)


@bare_kernel
def look(tables: Tables, plan: Plan, symbols: np.ndarray, output: Output) -> None:
    """One row per symbol and timeframe with something in it, in the order of both."""
    spare = tables.registers[FREE_BAR]
    for symbol in symbols:
        for frame in range(plan.length.size):
            newest = newest_bar(tables, symbol, frame)
            if newest < 0:
                continue
            copy_bar(tables, newest, spare)
            if frame >= plan.ticks:
                gather(tables, plan, symbol, frame, spare, output.scratch)
            if tables.bars[spare].parts > 0:
                emit_bar(tables, output, spare)


@bare_kernel
def newest_bar(tables: Tables, symbol: int, frame: int) -> int:
    slot = tables.heads[symbol, frame]
    found = slot
    while slot >= 0:
        if tables.bars[slot].open_ns > tables.bars[found].open_ns:
            found = slot
        slot = tables.bars[slot].next
    return found


@bare_kernel
def copy_bar(tables: Tables, slot: int, spare: int) -> None:
    """The bar's content into a free slot, which stays free."""
    after = tables.bars[spare].next
    tables.bars[spare] = tables.bars[slot]
    tables.bars[spare].next = after
    for digit in range(DIGITS):
        tables.volume[spare, digit] = tables.volume[slot, digit]
        tables.notional[spare, digit] = tables.notional[slot, digit]


@bare_kernel
def gather(tables: Tables, plan: Plan, symbol: int, frame: int, spare: int, slots: np.ndarray) -> None:
    """Add the smaller bars that are still open inside a larger one, in order of time.

    Every trade stands in exactly one of them, since a bar that closes moves into the next larger.
    """
    base = tables.symbols[symbol].base
    whole = tables.bars[spare]
    n = 0
    below = plan.parent[base, frame]
    while below >= 0:
        slot = tables.heads[symbol, below]
        while slot >= 0:
            bar = tables.bars[slot]
            if bar.parts > 0 and whole.open_ns <= bar.open_ns and bar.close_ns <= whole.close_ns:
                at = n
                while at > 0 and comes_before(tables, slot, slots[at - 1]):
                    slots[at] = slots[at - 1]
                    at -= 1
                slots[at] = slot
                n += 1
            slot = bar.next
        below = plan.parent[base, below]
    for i in range(n):
        put_bar(tables, spare, slots[i])


@bare_kernel
def comes_before(tables: Tables, left: int, right: int) -> bool:
    """By time; of two that open together the larger holds the older parts."""
    a, b = tables.bars[left], tables.bars[right]
    return a.open_ns < b.open_ns or (a.open_ns == b.open_ns and a.frame > b.frame)
