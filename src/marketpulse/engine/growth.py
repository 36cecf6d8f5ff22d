"""Twice as much room in a partition's state, where it is full."""

import numpy as np

from marketpulse.engine.layout import (
    FREE_BAR,
    FREE_BARS,
    FREE_QUOTE,
    FREE_QUOTES,
    NEVER,
)
from marketpulse.engine.records import put
from marketpulse.engine.state import PartitionState
from marketpulse.engine.trade_ids import move_ids, no_ids


def grow_anchor(state: PartitionState) -> None:
    """Twice as many slots for the bars that are open at the anchor."""
    a = state.anchor
    a.bars = _more_places(a.registers, a.bars, FREE_BAR, FREE_BARS)
    a.volume, a.notional = _doubled(a.volume), _doubled(a.notional)


def grow_window(state: PartitionState) -> None:
    """Room for twice as many kept trades, and their ids."""
    t = state.tables
    window = np.empty(2 * t.window.size, t.window.dtype)  # what lies behind the kept trades is never read
    put(t.window, window)
    ids = no_ids(2 * t.ids.size)
    move_ids(t.ids, ids)
    state.tables = t._replace(window=window, ids=ids)


def grow_quotes(state: PartitionState) -> None:
    """Twice as many places for kept quotes."""
    t = state.tables
    state.tables = t._replace(quotes=_more_places(t.registers, t.quotes, FREE_QUOTE, FREE_QUOTES))


def grow_bars(state: PartitionState) -> None:
    """Twice as many slots for open bars."""
    t = state.tables
    state.tables = t._replace(
        bars=_more_places(t.registers, t.bars, FREE_BAR, FREE_BARS),
        volume=_doubled(t.volume),
        notional=_doubled(t.notional),
        heaps=np.concatenate([t.heaps, np.zeros_like(t.heaps)], axis=1),
    )


def grow_groups(state: PartitionState) -> None:
    """Twice as many sets of sources."""
    t = state.tables
    state.tables = t._replace(
        groups=_doubled(t.groups), heaps=np.concatenate([t.heaps, np.zeros_like(t.heaps)])
    )


def grow_symbols(state: PartitionState) -> None:
    """Twice as many symbols, their indicators' rows included."""
    t, a = state.tables, state.anchor
    state.tables = t._replace(
        symbols=_doubled(t.symbols),
        heads=np.concatenate([t.heads, np.full_like(t.heads, -1)]),
        closed_until=np.concatenate([t.closed_until, np.full_like(t.closed_until, NEVER)]),
        last_close=np.concatenate([t.last_close, np.full_like(t.last_close, np.nan)]),
        last_quotes=_doubled(t.last_quotes),
    )
    a.heads = np.concatenate([a.heads, np.full_like(a.heads, -1)])
    a.closed_until = np.concatenate([a.closed_until, np.full_like(a.closed_until, NEVER)])
    a.last_close = np.concatenate([a.last_close, np.full_like(a.last_close, np.nan)])
    state.indicators = [_doubled(rows) for rows in state.indicators]
    a.indicators = [_doubled(rows) for rows in a.indicators]


def _more_places(registers: np.ndarray, places: np.ndarray, first_free: int, free: int) -> np.ndarray:
    """Twice as many places; the new ones are free. The registers say which is the first free one, and how many."""
    old = places.size
    more = _doubled(places)
    more["next"][old:] = np.append(np.arange(old + 1, 2 * old), registers[first_free])
    registers[first_free] = old
    registers[free] += old
    return more


def _doubled(array: np.ndarray) -> np.ndarray:
    more = np.zeros((2 * len(array), *array.shape[1:]), array.dtype)
    put(array, more)
    return more
