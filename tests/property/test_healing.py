"""Whatever order the trades and quotes of the window come in, and however they are corrected: in the end every row is
what the sorted, corrected log would have given, bit for bit (docs/semantics.md, 10 and 12)."""

import math
from collections import defaultdict
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from examples import examples
from histories import (
    SECONDS,
    History,
    Last,
    bar_histories,
    cut,
    cuts_of,
    histories,
    restarted,
    shown,
    take_revisions,
    told_tables,
)
from market_rows import MIDNIGHT_NS, Engine, Row, config_of, heartbeat, trade
from marketpulse.alerts.rule import Rule
from marketpulse.engine.config import EngineConfig
from marketpulse.engine.state import kept_trades

INDICATORS = "sma(3),ema(3),rsi(3),macd(2,4,3),vwap,atr(3),volume_sma(3),mid,spread,microprice,imbalance,ofi(2)"
ANY_CLOCK = 10**14  # the log's own time plays no part here
RULES = (
    Rule("cross", "close crosses_above ema_3"),
    Rule("high", "close > 6", for_s=2, cooldown_s=20),
    Rule("minute", "close > close@1m or volume > prev(volume)", clear="close < 4"),
    Rule("swing", "abs(change_pct(close, 1)) > 20", timeframe="1m", symbols=("A",)),
    Rule("few", "trade_count < 3", severity="info"),
)
PLAIN = config_of(["1s", "5s", "1m", "1h"], INDICATORS, max_skew_ns=ANY_CLOCK, alerts=RULES)
FILLED = config_of(["5s", "1m"], "sma(3),ema(3),vwap,spread", fill=True, max_skew_ns=ANY_CLOCK, alerts=RULES)
EACH = config_of(["1s", "1m"], "ema(3),spread", revise_each=True, max_skew_ns=ANY_CLOCK, alerts=RULES)
COARSE = config_of(["3t", "1m"], "ema(3)", max_skew_ns=ANY_CLOCK, alerts=RULES)
SHORT = config_of(
    ["1s", "5s", "1m"], INDICATORS, max_skew_ns=ANY_CLOCK, window_ns=25 * 10**9, window_trades=12, alerts=RULES
)
BARS = config_of(["1m", "5m", "1h"], INDICATORS, max_skew_ns=ANY_CLOCK, alerts=RULES)
BARS_EACH = config_of(["1m", "5m", "1h"], "ema(3),vwap", revise_each=True, max_skew_ns=ANY_CLOCK, alerts=RULES)
OHLCV = ("open", "high", "low", "close", "volume")
some_histories = histories(quote_delays=(0, 0, 0.5, 3, 20, 90))


def last_rows(config: EngineConfig, rows: list[Row], cuts: list[int], *, restart: bool = False) -> Last:
    """The last revision of every bar, indicator row and change of an alert."""
    engine, last = Engine(config), Last()
    for _, part in cut(rows, cuts):
        result = engine.step(part)
        assert config is SHORT or result.refused == []
        for table, told in told_tables(engine, result).items():
            take_revisions(last, table, told.to_pylist())
        engine = restarted(engine) if restart else engine
    return last


@examples(full=200)
@given(history=some_histories, data=st.data())
def test_any_order_and_any_correction_end_as_the_sorted_log(history: History, data: st.DataObject) -> None:
    came, meant = history
    for config in (PLAIN, FILLED, EACH, COARSE):
        healed = last_rows(config, came, cuts_of(data, came, 3), restart=data.draw(st.booleans()))
        assert shown(healed) == shown(last_rows(config, meant, []))


@examples(full=100)
@given(history=some_histories, data=st.data())
def test_any_cut_and_restart_gives_the_same_revisions_where_the_window_is_short(
    history: History, data: st.DataObject
) -> None:
    came, _ = history
    assert last_rows(SHORT, came, cuts_of(data, came, 5), restart=True) == last_rows(SHORT, came, [])


def bars_by_hand(rows: list[Row]) -> dict[tuple[str, str, int], list[float]]:
    """Each bar from the next smaller ones in it; where there are none, as its source gave it."""
    found = {(r["symbol"], r["timeframe"], r["open_time_ns"]): list(r["ohlcv"]) for r in rows if r["type"] == "bar"}
    for smaller, larger in pairwise(SECONDS):
        length, groups = SECONDS[larger] * 10**9, defaultdict(list)
        for symbol, frame, opens in sorted(found):
            if frame == smaller:
                groups[symbol, larger, (opens - MIDNIGHT_NS) // length * length + MIDNIGHT_NS].append(
                    found[symbol, frame, opens]
                )
        for key, parts in groups.items():
            opened, high, low, close, volume = zip(*parts, strict=True)
            found[key] = [opened[0], max(high), min(low), close[-1], math.fsum(volume)]
    return found


@examples(full=200)
@given(history=bar_histories(), data=st.data())
def test_bars_of_sources_in_any_order_end_as_the_sorted_log(history: History, data: st.DataObject) -> None:
    """However late they are, whatever their lengths, and wherever the log is cut."""
    came, meant = history
    for config in (BARS, BARS_EACH):
        cuts = cuts_of(data, came, 4)
        healed = last_rows(config, came, cuts, restart=data.draw(st.booleans()))
        assert shown(healed) == shown(last_rows(config, meant, []))
        assert healed == last_rows(config, came, [])
        if config is BARS:
            bars = {key: [row[n] for n in OHLCV] for key, row in shown(healed)["bars"].items()}
            assert bars == {key: pytest.approx(row) for key, row in bars_by_hand(meant).items()}


def test_the_window_lets_go_of_what_it_has_left() -> None:
    engine = Engine(config_of(["1s", "1m"], "ema(3)", window_ns=30 * 10**9, max_skew_ns=ANY_CLOCK))
    rng = np.random.default_rng(1)
    for start in range(0, 200_000, 1_000):
        now = 10 + start / 100
        late = rng.random(1_000) < 0.1
        engine.step([trade("A", now + i / 100 - 2.5 * late[i], 1 + i % 7, 1) for i in range(1_000)])
        engine.step([heartbeat(now + 9)])
    assert engine.state.tables.window.size <= 16_384, "30 s hold 3,000 trades"
    assert len(engine.state.told.rows(1)[0]) <= 16_384
    state = engine.stepper.trim(engine.state)
    kept = kept_trades(state)
    assert kept["event_ns"].min() >= MIDNIGHT_NS + (2_009 - 30) * 10**9
    assert len(kept) <= 4_100
    assert state.size_bytes() < 8_000_000
