"""Room that grows: by half, whole in all its tables, and with what it held."""

import numpy as np
import pytest

from market_rows import Engine, config_of, heartbeat, quote, trade
from marketpulse.engine.growth import grow_anchor, grow_bars, grow_groups, grow_quotes, grow_symbols, grow_window
from marketpulse.engine.layout import FREE_BAR, FREE_BARS, FREE_QUOTE, FREE_QUOTES, N_KEPT
from marketpulse.engine.state import PartitionState, kept_trades

CONFIG = config_of(["1s", "1m"], "sma(3),ema(2)")


@pytest.fixture
def state() -> PartitionState:
    """The state after some trades."""
    engine, trades = Engine(CONFIG), [trade(f"S{i}", 10 + i / 10, 5, 1, trade_id=f"{i}") for i in range(12)]
    engine.feed(*trades, quote("S1", 11.5, 4, 6), heartbeat(14))
    return engine.state


def free_places(places: np.ndarray, first: int) -> list[int]:
    """The places of the chain that begins at `first`."""
    found = []
    while first >= 0:
        found.append(first)
        first = int(places["next"][first])
    return found


def test_symbols_grow_by_half_in_every_table_and_keep_what_they_hold(state: PartitionState) -> None:
    before, rows = state.tables.last_close.copy(), [rows.copy() for rows in state.indicators]
    grow_symbols(state)
    t, a = state.tables, state.anchor
    assert [len(x) for x in (t.symbols, t.heads, t.closed_until, t.last_close)] == [24] * 4  # 16 and its half
    assert ([len(x) for x in (a.heads, a.closed_until, a.last_close)], len(t.last_quotes)) == ([24] * 3, 48)
    assert [len(rows) for rows in (*state.indicators, *a.indicators)] == [48] * 4  # of two timeframes
    for now, then in [(t.last_close[:16], before), *zip((now[:32] for now in state.indicators), rows, strict=True)]:
        np.testing.assert_array_equal(now, then)
    assert np.isnan(t.last_close[16:]).all()
    assert (t.heads[16:] == -1).all()
    grow_symbols(state)
    assert (len(state.tables.symbols), len(state.tables.last_quotes)) == (36, 72)


def test_slots_that_are_added_are_free_and_none_is_lost(state: PartitionState) -> None:
    registers = state.tables.registers
    free = free_places(state.tables.bars, int(registers[FREE_BAR]))
    assert len(free) == registers[FREE_BARS]
    grow_bars(state)
    t = state.tables
    assert [len(x) for x in (t.bars, t.volume, t.notional)] == [384] * 3  # 256 and its half
    assert t.heaps.shape == (4, 384)
    assert sorted(free_places(t.bars, int(registers[FREE_BAR]))) == sorted([*free, *range(256, 384)])
    assert registers[FREE_BARS] == len(free) + 128


def test_the_anchors_slots_quotes_and_groups_grow_alike_and_the_window_doubles(state: PartitionState) -> None:
    quotes = int(state.tables.registers[FREE_QUOTES])
    grow_anchor(state)
    grow_quotes(state)
    grow_groups(state)
    t, a = state.tables, state.anchor
    assert [len(x) for x in (a.bars, a.volume, a.notional)] == [384] * 3
    assert len(free_places(a.bars, int(a.registers[FREE_BAR]))) == a.registers[FREE_BARS] == 384
    assert len(t.quotes) == 1_536
    assert len(free_places(t.quotes, int(t.registers[FREE_QUOTE]))) == t.registers[FREE_QUOTES] == quotes + 512
    assert (len(t.groups), t.heaps.shape) == (6, (6, 256))
    kept = kept_trades(state).tobytes()
    grow_window(state)
    t = state.tables
    assert (len(t.window), len(t.ids), t.registers[N_KEPT], kept_trades(state).tobytes()) == (2_048, 4_096, 12, kept)


@pytest.mark.parametrize("symbols", [55, 82, 122])
def test_rows_are_the_same_whether_room_was_there_or_was_made(symbols: int) -> None:
    rows = [trade(f"S{i:03d}", 10 + i / symbols, 1 + i, 1) for i in range(symbols)]
    rows += [trade(f"S{i:03d}", 11.5, 2 + i, 1) for i in range(symbols)]
    slow, roomy = Engine(CONFIG), Engine(CONFIG)
    one_by_one = [bar for row in [*rows, heartbeat(100)] for bar in slow.feed(row)]
    for _ in range(6):
        grow_symbols(roomy.state)
        grow_bars(roomy.state)
    assert roomy.feed(*rows, heartbeat(100)) == one_by_one
    assert len(one_by_one) == 3 * symbols  # two seconds and a minute
