"""The engine's laws over random streams: any cut, any restart, any future, any order inside a bar; and no jump at a split,
however late it is told."""

from typing import Any

import numpy as np
from hypothesis import example, given
from hypothesis import strategies as st

from examples import examples
from histories import cuts_of, outcome
from market_rows import (
    Engine,
    Row,
    bar,
    batch_of,
    clock,
    config_of,
    control,
    goodbye,
    heartbeat,
    hello,
    quote,
    split,
    trade,
)
from marketpulse.alerts.rule import Rule
from marketpulse.engine.layout import NEWEST
from marketpulse.engine.provisional import Looker, changed_symbols
from marketpulse.model.market import COMPLETE, StringTable

INDICATORS = "sma(3),ema(3),rsi(3),macd(2,4,3),bbands(3,2),vwap,atr(3),realized_volatility(3),volume_sma(3),"
INDICATORS += "mid,spread,microprice,imbalance,ofi(2)"
OF_QUOTES = 5  # columns
RULES = (
    Rule("cross", "close crosses_above sma_3"),
    Rule("ticks", "change_pct(close, 1) > 0", timeframe="1t"),
    Rule("minute", "close > close@1m", for_s=2, clear="close < prev(close)"),
    Rule("busy", "volume > 2 * prev(volume) or trade_count < 2", timeframe="1m", cooldown_s=20, symbols=("A", "S")),
)
CONFIG = config_of(["1t", "3t", "1s", "5s", "1m", "1d"], INDICATORS, alerts=RULES)
FILLED = config_of(["1t", "10s", "1m", "1h"], "sma(3),ema(3),vwap,spread", fill=True, alerts=RULES)
LOOKER = Looker(CONFIG)
OHLC = ("open", "high", "low", "close", "volume", "trade_count")
SPLIT_RULES = (
    Rule("fell", "change_pct(close, 2) < -60"), Rule("below", "close crosses_below prev(sma_3, 2)"),
    Rule("beside", "close < 0.6 * low@5s"), Rule("wide", "high > 1.5 * close@1s", timeframe="5s"),
    Rule("volumes", "change_pct(volume, 1) > 90"),
)  # fmt: skip
SPLIT = config_of(
    ["2t", "1s", "5s", "1m"], "sma(3),rsi(3),atr(3),obv,var(4),eom(2),linearreg_angle(3),vwap,macd(2,4,3),sar",
    alerts=SPLIT_RULES, window_ns=20_000_000_000,
)  # fmt: skip

prices = st.floats(0.01, 1e6, allow_subnormal=False)
sizes = st.floats(0, 1e6, allow_subnormal=False).filter(lambda s: s == 0 or s > 1e-9)
symbols = st.sampled_from(["A", "B", "C"])
sources = st.sampled_from(["x", "y"])
steps = st.floats(-1.5, 4.0) | st.sampled_from([-1.0, 0.0, 0.5, 1.0, 2.0])  # to where bars close, now and then
changes = st.sampled_from([
    control("put_rule", rule={"name": "low", "expression": "close < 1000 or close > prev(close)"}),
    control("put_rule", rule={"name": "cross", "expression": "close > ema_3", "timeframe": "1m"}),
    control("put_rule", rule={"name": "wide", "expression": "high > low", "timeframe": "3t"}),
    control("remove_rule", name="low"),
    control("remove_rule", name="minute"),
])  # fmt: skip


@st.composite
def streams(draw: st.DrawFn) -> list[Row]:
    """Trades and quotes out of order, heartbeats, silence, sources that come and go, bars of a source, rules that are
    put and removed."""
    rows: list[Row] = []
    now = 10.0
    for kind in draw(st.lists(st.sampled_from("ttttttqqqhhcbglp"), min_size=draw(st.integers(0, 40)), max_size=60)):
        now = max(now + draw(steps), 1.0)
        source = draw(sources)
        if kind == "t":
            rows.append(trade(draw(symbols), now, draw(prices), draw(sizes), source=source))
        elif kind == "q":
            of = draw(st.sampled_from(["A", "B", "C", "S"]))
            rows.append(quote(of, now, draw(prices), draw(prices), (draw(sizes), draw(sizes)), source=source))
        elif kind == "h":
            rows.append(heartbeat(now, source=source))
        elif kind == "c":
            rows.append(clock(now + draw(st.floats(0, 60))))
        elif kind == "b":
            opens = float(int(now))
            rows.append(bar("S", "1s", opens, opens + 1, (2, 3, 1, 2, draw(sizes)), source=source))
        elif kind == "g":
            rows.append(goodbye(source, watermark_ns=draw(st.sampled_from([None, COMPLETE]))))
        elif kind == "p":
            rows.append(draw(changes))
        else:
            rows.append(hello(source, draw(st.sampled_from(["live", "historical"]))))
    return rows


@st.composite
def split_streams(draw: st.DrawFn) -> list[Row]:
    """Trades in and out of order; splits ahead of time, late, corrected and withdrawn."""
    rows: list[Row] = [hello(lateness_ns=0)]
    now = 10.0
    for kind in draw(st.lists(st.sampled_from("tttttttthhs"), min_size=draw(st.integers(5, 40)), max_size=70)):
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


@examples(full=200)
@given(rows=streams(), most=st.integers(1, 20), trim=st.booleans(), data=st.data())
def test_any_cut_any_stop_inside_a_row_and_any_restart_give_the_same_bits(
    rows: list[Row], most: int, trim: bool, data: st.DataObject
) -> None:
    """So the future changes nothing in the past, either."""
    for config in (CONFIG, FILLED):
        whole = outcome(config, rows)
        assert outcome(config, rows, cuts_of(data, rows), closed_most=most) == whole
        assert outcome(config, rows, cuts_of(data, rows)) == whole
        assert outcome(config, rows, cuts_of(data, rows, 4), restart=True, trim=trim) == whole


@examples(full=120)
@given(rows=split_streams(), data=st.data())
def test_with_splits_any_cut_and_any_restart_give_the_same_bits(rows: list[Row], data: st.DataObject) -> None:
    cuts, whole = cuts_of(data, rows), outcome(SPLIT, rows)
    assert outcome(SPLIT, rows, cuts) == whole
    assert outcome(SPLIT, rows, cuts, restart=True) == whole


@examples(full=100)
@given(rows=streams(), data=st.data())
def test_looking_at_the_forming_bars_changes_nothing(rows: list[Row], data: st.DataObject) -> None:
    cut = data.draw(st.integers(0, len(rows)))
    engine = Engine(CONFIG)
    first = engine.step(rows[:cut])
    LOOKER.forming_bars(engine.state, changed_symbols(engine.state))
    second = engine.step(rows[cut:])
    closed, values = (np.concatenate([getattr(r, name) for r in (first, second)]) for name in ("closed", "values"))
    assert (closed.tobytes(), values.tobytes()) == outcome(CONFIG, rows)[:2]


inside_a_minute = st.tuples(st.integers(0, 59_900).map(lambda ms: ms / 1_000), prices, sizes)
shuffled_trades = st.lists(inside_a_minute, min_size=1, max_size=30, unique_by=lambda t: t[0]).flatmap(st.permutations)


@examples(full=100)
@given(shuffled_trades)
def test_the_order_of_arrival_inside_an_open_bar_does_not_matter(trades: list[tuple[float, float, float]]) -> None:
    fields = ["open", "high", "low", "close", "volume", "vwap", "trade_count"]

    def close(order: list[tuple[float, float, float]]) -> bytes:
        engine = Engine(config_of(["1m"]))
        rows = [hello(lateness_ns=60 * 10**9), *(trade("A", *t) for t in order), heartbeat(60)]
        (closed,) = engine.step(rows).closed[fields].copy().reshape(1)
        return bytes(closed.tobytes())

    assert close(trades) == close(sorted(trades))


@examples(full=60)
@example(  # late for its second, not for its minute
    rows=[trade("A", 10, 1.0, 1.0, "x"), heartbeat(10, "x"), trade("A", 9, 2.0, 1.0, "x")]
)
@given(rows=streams())
def test_what_forms_is_what_would_close_now(rows: list[Row]) -> None:
    """The forming bar and its values equal the rows that closing everything at once then gives; those of
    quotes unless the newest one came behind the bar's end."""
    engine = Engine(CONFIG)
    engine.step(rows)
    forming, values = LOOKER.forming_bars(engine.state, np.arange(len(engine.state.symbols)))
    newest = {(int(b["symbol"]), int(b["frame"])): (b, v) for b, v in zip(forming, values, strict=True)}
    done = batch_of([goodbye(s, watermark_ns=COMPLETE) for s in "xy"], engine.offset, StringTable())
    _, result = engine.stepper.step(engine.state, done)
    for row, row_values in zip(result.closed, result.values, strict=True):
        shown = newest.get((int(row["symbol"]), int(row["frame"])))
        if shown is not None and shown[0]["open_ns"] == row["open_ns"]:
            assert [shown[0][name] for name in OHLC] == [row[name] for name in OHLC]
            one_open = sum(r["symbol"] == row["symbol"] and r["frame"] == row["frame"] for r in result.closed) == 1
            quote_ns = engine.state.tables.last_quotes["event_ns"][2 * row["symbol"] + NEWEST]
            known = slice(None) if quote_ns < row["close_ns"] else slice(-OF_QUOTES)
            if one_open:
                assert np.array_equal(shown[1][known], row_values[known], equal_nan=True)


def last_rows(rows: list[Row]) -> dict[tuple[Any, ...], tuple[bytes, bytes]]:
    """Of each bar that time cuts, its last revision and values."""
    result = Engine(SPLIT).step(rows)
    return {
        (int(row["symbol"]), int(row["frame"]), int(row["open_ns"])): (
            b"".join(row[name].tobytes() for name in OHLC), values.tobytes(),
        )
        for row, values in zip(result.indicated, result.values, strict=True)
        if row["frame"] >= SPLIT.ticks
    }  # fmt: skip


some_ratios = st.tuples(st.sampled_from([4.0, 3.0, 0.1]), st.sampled_from([None, 2.0, 1.0]))


@examples(full=80)
@given(st.lists(st.floats(1, 1e3), min_size=12, max_size=24), some_ratios, st.integers(0, 23))
def test_a_late_split_ends_as_one_that_was_announced(prices: list[float], ratios: tuple[Any, Any], come: int) -> None:
    """Inside the window, and also after a wrong one."""
    ratio, wrong = ratios
    late = split("A", 14, ratio, 20)
    first = [] if wrong is None else [split("A", 14, wrong)]
    rows = [row for i, p in enumerate(prices) for row in (trade("A", 10 + i * 0.7, p, 1 + i), heartbeat(10 + i * 0.7))]
    begin, end, at = [hello(lateness_ns=0)], [heartbeat(120)], 2 * min(come, len(prices))
    announced = last_rows([*begin, split("A", 14, ratio), *rows, *end])
    assert last_rows([*begin, *first, *rows[:at], late, *rows[at:], *end]) == announced
