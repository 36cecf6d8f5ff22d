"""More room in a partition's state, where it is full: half as much again, since what is free is paid for too; but
twice as much for the correction window, whose table of ids has a power of two of places."""

import numpy as np

from marketpulse.engine.layout import FREE_BAR, FREE_BARS, FREE_QUOTE, FREE_QUOTES, NEVER
from marketpulse.engine.records import put
from marketpulse.engine.splits import fresh_basis
from marketpulse.engine.state import PartitionState
from marketpulse.engine.trade_ids import move_ids, no_ids


def grow_anchor(state: PartitionState) -> None:
    """More slots for the bars that are open at the anchor."""
    a = state.anchor
    slots = _more(a.bars.size)
    a.bars = _more_places(a.registers, a.bars, FREE_BAR, FREE_BARS)
    a.volume, a.notional = _longer(a.volume, slots), _longer(a.notional, slots)


def grow_window(state: PartitionState) -> None:
    """Room for twice as many kept trades, and their ids."""
    t = state.tables
    window = np.empty(2 * t.window.size, t.window.dtype)  # what lies behind the kept trades is never read
    put(t.window, window)
    ids = no_ids(2 * t.ids.size)
    move_ids(t.ids, ids)
    state.tables = t._replace(window=window, ids=ids)


def grow_kept_bars(state: PartitionState) -> None:
    """Room for twice as many kept bars of sources."""
    t = state.tables
    state.tables = t._replace(kept_bars=_longer(t.kept_bars, 2 * t.kept_bars.size))


def grow_quotes(state: PartitionState) -> None:
    """More places for kept quotes."""
    t = state.tables
    state.tables = t._replace(quotes=_more_places(t.registers, t.quotes, FREE_QUOTE, FREE_QUOTES))


def grow_bars(state: PartitionState) -> None:
    """More slots for open bars."""
    t = state.tables
    slots = _more(t.bars.size)
    state.tables = t._replace(
        bars=_more_places(t.registers, t.bars, FREE_BAR, FREE_BARS),
        volume=_longer(t.volume, slots),
        notional=_longer(t.notional, slots),
        heaps=np.concatenate([t.heaps, np.zeros((len(t.heaps), slots - t.bars.size), np.int32)], axis=1),
    )


def grow_groups(state: PartitionState) -> None:
    """More sets of sources."""
    t = state.tables
    groups = _more(t.groups.size)
    state.tables = t._replace(groups=_longer(t.groups, groups), heaps=_longer(t.heaps, groups))


def grow_symbols(state: PartitionState) -> None:
    """More symbols, their indicators' rows included."""
    t, a = state.tables, state.anchor
    symbols = _more(t.symbols.size)
    state.tables = t._replace(
        symbols=_longer(t.symbols, symbols),
        heads=_longer(t.heads, symbols, -1),
        closed_until=_longer(t.closed_until, symbols, NEVER),
        last_close=_longer(t.last_close, symbols, np.nan),
        last_quotes=_longer(t.last_quotes, 2 * symbols),
        quality=_longer(t.quality, 2 * symbols),
    )
    a.heads = _longer(a.heads, symbols, -1)
    a.closed_until = _longer(a.closed_until, symbols, NEVER)
    a.last_close = _longer(a.last_close, symbols, np.nan)
    series = symbols * t.heads.shape[1]
    state.indicators = [_longer(rows, series) for rows in state.indicators]
    a.indicators = [_longer(rows, series) for rows in a.indicators]
    state.basis, a.basis = (_longer_basis(basis, series) for basis in (state.basis, a.basis))


def _more(size: int) -> int:
    return size + size // 2


def _more_places(registers: np.ndarray, places: np.ndarray, first_free: int, free: int) -> np.ndarray:
    """More places; the new ones are free. The registers say which is the first free one, and how many."""
    old, size = places.size, _more(places.size)
    more = _longer(places, size)
    more["next"][old:] = np.append(np.arange(old + 1, size), registers[first_free])
    registers[first_free] = old
    registers[free] += size - old
    return more


def _longer_basis(basis: np.ndarray, size: int) -> np.ndarray:
    more = fresh_basis(size)
    put(basis, more)
    return more


def _longer(array: np.ndarray, size: int, fill: float = 0) -> np.ndarray:
    """The array with rows behind it that hold `fill`, so that it has `size`."""
    more = np.zeros((size, *array.shape[1:]), array.dtype)
    if fill:
        more[len(array) :] = fill
    put(array, more)
    return more
