"""Rows written from where they lie have the bytes of their Arrow columns; tables grow by half with what they hold."""

import json
import math
from datetime import date, timedelta

import numpy as np
import pytest

from market_rows import Engine, config_of, heartbeat, quote, trade
from marketpulse.engine.growth import grow_anchor, grow_bars, grow_groups, grow_quotes, grow_symbols, grow_window
from marketpulse.engine.layout import CLOSED, FREE_BAR, FREE_BARS, FREE_QUOTE, FREE_QUOTES, N_KEPT
from marketpulse.engine.record_rows import ResultRows
from marketpulse.engine.rows import bar_rows, indicator_rows
from marketpulse.engine.state import PartitionState, kept_trades, new_state
from marketpulse.kafka.codec import encode_rows
from written_rows import written

CONFIG = config_of(["1t", "1s", "1d"], "sma(3),bbands(5,2),vwap()")
NAMES = ["AAA", 'B"\\', "Ä\n", "FOUR"]
WORDS = ("volume", "notional", "open", "high", "low", "close", "vwap", "bid", "bid_size", "ask", "ask_size")


def state_with_names() -> PartitionState:
    state = new_state(CONFIG)
    for table in (state.symbols, state.sources, state.venues):
        for name in NAMES:
            table.intern(name)
    return state


def any_bars(n: int) -> np.ndarray:
    """Bars of any bits, but for the ids, which are known or missing."""
    random = np.random.default_rng(n)
    bars = np.frombuffer(random.bytes(n * CLOSED.itemsize), CLOSED).copy()
    for name in ("source", "venue"):
        bars[name] = random.integers(-1, len(NAMES), n)
    bars["symbol"] = random.integers(0, len(NAMES), n)
    bars["frame"] = random.integers(0, len(CONFIG.frames), n)
    for name in WORDS:
        odd = random.choice([np.nan, np.inf, -np.inf, -0.0, 5e-324, 0.1, 100.0], n)
        bars[name] = np.where(random.random(n) < 0.5, odd, bars[name])
    for name in ("first_offset", "trade_count", "quote_offset"):
        bars[name][random.random(n) < 0.3] = -1
    bars["session_date"] = random.integers(-800_000, 3_000_000, n)
    return bars


@pytest.mark.parametrize("n", [0, 1, 2, 4_500])
def test_bars_and_indicators_of_any_bits_have_the_bytes_of_their_columns(n: int) -> None:
    state, bars, results = state_with_names(), any_bars(n), ResultRows(CONFIG, "a.market")
    values = np.random.default_rng(n).integers(0, 2**63, (n, len(CONFIG.columns()))).view(np.float64)
    columns = encode_rows(bar_rows(state, CONFIG, bars, "a.market", 7))
    assert written(results.bar_fields, results.bars(state, bars, 7)) == columns
    columns = encode_rows(indicator_rows(state, CONFIG, bars, values, "a.market", 11))
    for lying in (values, np.asfortranarray(values)):
        assert written(results.indicator_fields, results.indicators(state, bars, lying, 11)) == columns


@pytest.mark.parametrize("n", [0, 1, 4_500])
def test_live_rows_of_any_bits_are_what_their_bars_quotes_and_values_say(n: int) -> None:
    state, bars, results = state_with_names(), any_bars(n), ResultRows(CONFIG, "m")
    bars["session_date"] %= 20_000
    state.tables.symbols["event_ns"][:4] = event_ns = [5, 2**62, 0, 7]
    state.tables.symbols["ingest_ns"][:4] = [1, -(2**63), 0, 2**62]
    ingest_ns = [1, 0, 0, 2**62]
    values = np.random.default_rng(n).integers(0, 2**63, (n, 5)).view(np.float64)
    rows, ingested_ns = results.live(state, bars, values)
    found = written(results.live_fields, rows)
    assert ingested_ns.tolist() == [ingest_ns[symbol] for symbol in bars["symbol"]]
    assert [key.decode() for key, _ in found] == [NAMES[symbol] for symbol in bars["symbol"]]
    assert [json.loads(value) for _, value in found] == [
        {
            "symbol": NAMES[bar["symbol"]], "timeframe": ["1t", "1s", "1d"][bar["frame"]],
            "open_time_ns": bar["open_ns"], "close_time_ns": bar["close_ns"],
            **{name: finite(bar[name]) for name in ("open", "high", "low", "close", "volume", "vwap")},
            "trade_count": bar["trade_count"] if bar["trade_count"] >= 0 else None,
            "source": NAMES[bar["source"]] if bar["source"] >= 0 else None,
            "venue": NAMES[bar["venue"]] if bar["venue"] >= 0 else None,
            "session_date": str(date(1970, 1, 1) + timedelta(int(bar["session_date"]))),
            "event_time_ns": event_ns[bar["symbol"]], "ingest_time_ns": ingest_ns[bar["symbol"]],
            **{name: finite(bar[name]) for name in ("bid", "bid_size", "ask", "ask_size")},
            "sma_3": finite(own[0]), "bbands_5_2_upper": finite(own[1]), "bbands_5_2_middle": finite(own[2]),
            "bbands_5_2_lower": finite(own[3]), "session_vwap": finite(own[4]),
        }
        for bar, own in zip(bars, values, strict=True)
    ]  # fmt: skip


def finite(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None


ONE_SECOND = config_of(["1s", "1m"], "sma(3),ema(2)")


@pytest.fixture
def state() -> PartitionState:
    """The state after some trades."""
    engine, trades = Engine(ONE_SECOND), [trade(f"S{i}", 10 + i / 10, 5, 1, trade_id=f"{i}") for i in range(12)]
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
    slow, roomy = Engine(ONE_SECOND), Engine(ONE_SECOND)
    one_by_one = [bar for row in [*rows, heartbeat(100)] for bar in slow.feed(row)]
    for _ in range(6):
        grow_symbols(roomy.state)
        grow_bars(roomy.state)
    assert roomy.feed(*rows, heartbeat(100)) == one_by_one
    assert len(one_by_one) == 3 * symbols  # two seconds and a minute
