"""Splits in the engine: no jump, the same bits for any cut, restart and order of arrival inside the window."""

from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from examples import examples
from market_rows import Engine, Row, config_of, heartbeat, hello, trade
from marketpulse.alerts.rule import Rule
from marketpulse.engine.checkpoint import state_from_bytes, state_to_bytes
from split_rows import split

INDICATORS = "sma(3),rsi(3),atr(3),obv,var(4),eom(2),linearreg_angle(3),vwap,macd(2,4,3),sar"
RULES = (
    Rule("fell", "change_pct(close, 2) < -60"),
    Rule("below", "close crosses_below prev(sma_3, 2)"),
    Rule("beside", "close < 0.6 * low@5s"),
    Rule("wide", "high > 1.5 * close@1s", timeframe="5s"),
    Rule("volumes", "change_pct(volume, 1) > 90"),
)
CONFIG = config_of(["2t", "1s", "5s", "1m"], INDICATORS, alerts=RULES, window_ns=20_000_000_000)


def outcome(rows: list[Row], cuts: list[int], restart: bool = False) -> tuple[bytes, bytes, list[Any], list[Any]]:
    """Every bit that leaves the engine when the stream is cut there."""
    engine = Engine(CONFIG)
    closed, values, refused, alerts = [], [], [], []
    for start, end in zip([0, *cuts], [*cuts, len(rows)], strict=True):
        result = engine.step(rows[start:end])
        closed.append(result.closed)
        values.append(result.values)
        alerts += engine.alert_rows(result)
        refused += [(start + r.row, r.reason, r.timeframes) for r in result.refused]
        if restart:
            state = engine.stepper.trim(engine.state)
            fresh = Engine(CONFIG, state_from_bytes(state_to_bytes(state, CONFIG), CONFIG))
            fresh.offset = engine.offset
            engine = fresh
    return (np.concatenate(closed).tobytes(), np.concatenate(values).tobytes(), refused, [repr(a) for a in alerts])


@st.composite
def streams(draw: st.DrawFn) -> list[Row]:
    """Trades in and out of order; splits ahead of time, late, corrected and withdrawn."""
    rows: list[Row] = [hello(lateness_ns=0)]
    now = 10.0
    for kind in draw(st.lists(st.sampled_from("tttttttthhs"), min_size=5, max_size=70)):
        now += draw(st.floats(0, 3))
        symbol = draw(st.sampled_from(["A", "B"]))
        if kind == "t":
            late = draw(st.sampled_from([0.0, 0.0, 0.0, 4.0]))
            rows.append(trade(symbol, now - late, draw(st.floats(1, 1e3)), draw(st.floats(0.1, 1e3))))
        elif kind == "h":
            rows.append(heartbeat(now))
        else:
            ex = draw(st.sampled_from([12.0, 20.0, 30.0, 31.5, round(now) + 2.0]))
            rows.append(split(symbol, ex, draw(st.sampled_from([4.0, 3.0, 0.1, 1.0])), now))
    return [*rows, heartbeat(now + 100)]


@examples(full=120)
@given(rows=streams(), data=st.data())
def test_any_cut_and_any_restart_give_the_same_bits(rows: list[Row], data: st.DataObject) -> None:
    cuts = sorted(data.draw(st.lists(st.integers(0, len(rows)), max_size=6)))
    whole = outcome(rows, [])
    assert outcome(rows, cuts) == whole
    assert outcome(rows, cuts, restart=True) == whole


def last_rows(rows: list[Row]) -> dict[tuple[Any, ...], tuple[bytes, bytes]]:
    """Of each bar that time cuts, its last revision and values."""
    engine = Engine(CONFIG)
    result = engine.step(rows)
    bars: dict[tuple[Any, ...], tuple[bytes, bytes]] = {}
    names = ("open", "high", "low", "close", "volume", "trade_count")
    for bar, values in zip(result.indicated, result.values, strict=True):
        if bar["frame"] >= CONFIG.ticks:
            text = b"".join(bar[n].tobytes() for n in names)
            bars[int(bar["symbol"]), int(bar["frame"]), int(bar["open_ns"])] = text, values.tobytes()
    return bars


@examples(full=80)
@given(
    prices=st.lists(st.floats(1, 1e3), min_size=12, max_size=24),
    ratio=st.sampled_from([4.0, 3.0, 0.1]),
    wrong=st.sampled_from([None, 2.0, 1.0]),
    come=st.integers(0, 23),
)
def test_a_late_split_inside_the_window_ends_as_one_that_was_announced(
    prices: list[float], ratio: float, wrong: float | None, come: int
) -> None:
    trades = [trade("A", 10 + i * 0.7, price, 1 + i) for i, price in enumerate(prices)]
    ahead, late = split("A", 14, ratio), split("A", 14, ratio, 20)
    first = [] if wrong is None else [split("A", 14, wrong)]
    at = min(come, len(trades))
    beats = [heartbeat(10 + i * 0.7) for i in range(len(trades))]
    mixed = [row for pair in zip(trades, beats, strict=True) for row in pair]
    end = [heartbeat(120)]
    sorted_ = last_rows([hello(lateness_ns=0), ahead, *mixed, *end])
    found = last_rows([hello(lateness_ns=0), *first, *mixed[: 2 * at], late, *mixed[2 * at :], *end])
    assert found == sorted_
