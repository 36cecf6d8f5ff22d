"""Splits of real daily series: on both sides of each, what TA-Lib gives for the series in the units of that side;
and splits that come late."""

from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import talib
from numpy.testing import assert_allclose

from market_rows import Engine, Row, bar, config_of, heartbeat, hello, logged, split, trade
from marketpulse.alerts.rule import Rule
from marketpulse.engine.config import EngineConfig
from marketpulse.engine.layout import NEVER
from marketpulse.engine.provisional import Looker
from marketpulse.engine.splits import SPLITS_MAX, frame_factors, fresh_basis, no_splits
from marketpulse.engine.step import StepResult
from marketpulse.indicators.catalogue import parse_indicators
from marketpulse.indicators.own import own_indicators
from marketpulse.kafka.rebuild_record import beginning_value, rebuild_values
from marketpulse.model.history import PAST_TRADE, History
from marketpulse.model.timeframe import DAY_NS, parse_timeframes

DAY_S = 86_400
FILES = Path(__file__).parents[2] / "data" / "daily_bars"
INDICATORS = (
    "sma(20),ema(20),rsi(14),macd(12,26,9),bbands(20,2),atr(14),obv,var(5),adx(14),cci(14),mfi(14),stoch(5,3,3),"
    "linearreg_angle(14),sar(0.02,0.2),natr(14),ad,mom(10),trix(30)"
)
# The real splits of these companies, for which the files are adjusted; and two of no company, one of them reverse.
CASES = [
    ("zipline_AAPL", [("2014-06-09", 7.0)]),
    ("zipline_KO", [("2012-08-13", 2.0)]),
    ("zipline_MSFT", [("2012-06-01", 4.0), ("2013-06-03", 0.1), ("2014-03-03", 1.5)]),
]
CONFIG = config_of(["1s", "10s"], "sma(2)", window_ns=5_000_000_000)
FELL = Rule("fell", "change_pct(close, 1) < -20", timeframe="1s")
OWN = """
from marketpulse import indicator

@indicator(window="period")
def middle(high, low, period=2):
    "The middle of the window's range."
    return (high.max() + low.min()) / 2

@indicator(window="period", price_degrees=(1,))
def span(high, low, period=2):
    "How wide the window's range is."
    return high.max() - low.min()
"""


def talib_values(o: np.ndarray) -> np.ndarray:
    """The same columns (n, k) of open, high, low, close, volume (n, 5)."""
    _, high, low, close, volume = np.ascontiguousarray(o.T, np.float64)
    stoch = talib.STOCH(high, low, close, 5, 3, slowd_period=3)
    return np.column_stack([
        talib.SMA(close, 20), talib.EMA(close, 20), talib.RSI(close, 14), *talib.MACD(close), *talib.BBANDS(close, 20, 2.0, 2.0),
        talib.ATR(high, low, close, 14), talib.OBV(close, volume), talib.VAR(close, 5), talib.ADX(high, low, close, 14),
        talib.CCI(high, low, close, 14), talib.MFI(high, low, close, volume, 14), *stoch,
        talib.LINEARREG_ANGLE(close, 14), talib.SAR(high, low, 0.02, 0.2), talib.NATR(high, low, close, 14),
        talib.AD(high, low, close, volume), talib.MOM(close, 10), talib.TRIX(close, 30),
    ])  # fmt: skip


def in_units_of(ohlcv: np.ndarray, ratio: np.ndarray | float) -> np.ndarray:
    """Prices / ratio, volumes * ratio."""
    return np.column_stack([ohlcv[:, :4] / np.reshape(ratio, (-1, 1)), ohlcv[:, 4] * ratio])


@pytest.mark.parametrize(("name", "splits"), CASES, ids=[name for name, _ in CASES])
def test_every_value_is_that_of_the_adjusted_series(name: str, splits: list[tuple[str, float]]) -> None:
    frame = pd.read_csv(FILES / f"{name}.csv")
    days = pd.to_datetime(frame["date"]).to_numpy().astype("datetime64[D]").astype(int)
    adjusted = frame[["open", "high", "low", "close", "volume"]].to_numpy(np.float64)
    # Where a day rises as far as it falls, rounding decides which of the two counts: no two moves are the same here.
    wider = 1 + 1e-6 * np.random.default_rng(5).random((len(days), 2))
    adjusted[:, 1] *= wider[:, 0]
    adjusted[:, 2] /= wider[:, 1]
    at = [int(np.flatnonzero(frame["date"] == day)[0]) for day, _ in splits]
    # What one share of each day has become at the end: raw prices are that much higher.
    later = np.ones(len(days))
    for place, (_, ratio) in zip(at, splits, strict=True):
        later[:place] *= ratio
    raw = in_units_of(adjusted, 1 / later)
    engine = Engine(config_of(["1d"], INDICATORS))
    rows: list[Row] = [hello(mode="historical", lateness_ns=0)]
    for i, day in enumerate(days - days[0]):
        if i in at:
            rows.append(split("A", day * DAY_S, splits[at.index(i)][1], day * DAY_S))
        rows.append(bar("A", "1d", day * DAY_S, (day + 1) * DAY_S, raw[i]))
    result = engine.step(rows)
    assert_allclose(result.closed["close"], raw[:, 3])  # the bars stay as they are
    cumulative = [i for i, column in enumerate(engine.config.columns()) if column in ("obv", "ad")]
    for begin, end in pairwise([0, *at, len(days)]):
        expected = talib_values(in_units_of(adjusted, 1 / later[begin])[:end])[begin:end]
        scale = np.ones(expected.shape[1])
        scale[cumulative] = np.nanmax(np.abs(expected[:, cumulative]), axis=0)  # sums that may pass near 0
        assert_allclose(result.values[begin:end] / scale, expected / scale, rtol=1e-9, atol=1e-9)


def test_without_the_record_they_would_jump_and_rules_see_earlier_bars_in_the_units_of_now() -> None:
    closes = [400.0 + i % 5 for i in range(20)] + [100.0 + i % 2 for i in range(3)]
    rows = [bar("A", "1d", d * DAY_S, (d + 1) * DAY_S, (c, c, c, c, 1.0)) for d, c in enumerate(closes)]
    first, config = hello(mode="historical", lateness_ns=0), config_of(["1d"], "rsi(14),sma(5)")
    rsi, sma = Engine(config).step([first, *rows]).values[20]
    assert (rsi < 10, sma > 300) == (True, True)
    rsi, sma = Engine(config).step([first, split("A", 20 * DAY_S, 4.0), *rows]).values[20]
    assert 30 < rsi < 70
    assert 99 < sma < 102
    texts = {"fell": "change_pct(close, 1) < -20", "crossed": "close crosses_below 0.9 * sma_2"}
    texts |= {"jumped": "volume > 2 * prev(volume)", "beside": "close < 0.8 * close@10s"}
    config = config_of(["1s", "10s"], "sma(2)", alerts=tuple(Rule(name, text) for name, text in texts.items()))
    calm = [*seconds(*[400.0] * 10), *[trade("A", 10.5 + i, 100.0, 40) for i in range(14)]]
    engine = Engine(config)
    assert engine.alerts(hello(lateness_ns=0), split("A", 10, 4.0), *calm, heartbeat(24)) == []
    falls = engine.alerts(trade("A", 24.5, 70.0, 40), heartbeat(26))
    assert sorted(row["rule"] for row in falls) == ["beside", "crossed", "fell"]
    blind = Engine(config).alerts(hello(lateness_ns=0), *calm, heartbeat(24))
    assert {row["rule"] for row in blind} == {"fell", "crossed", "jumped", "beside"}


def factors(result: StepResult) -> dict[tuple[int, int], float]:
    """The factor of each row, by timeframe and opening second."""
    return {(int(b["frame"]), int(b["open_ns"] // 10**9 % 60)): b["factor"] for b in result.indicated}


def test_a_bar_is_of_the_side_of_its_open_time_on_every_timeframe_and_one_split_too_many_is_refused() -> None:
    engine = Engine(config_of(["10s", "20s"], "sma(1)", window_ns=DAY_NS))
    engine.step([hello(lateness_ns=0), split("A", 10, 4.0)])
    result = engine.step([trade("A", 1, 400, 1), trade("A", 11, 100, 1), trade("A", 21, 100, 1), heartbeat(60)])
    assert factors(result) == {(0, 0): 1, (0, 10): 4, (0, 20): 4, (1, 0): 1, (1, 20): 4}
    config = config_of(["10s"], "sma(2),rsi(2)")
    engine = Engine(config)
    rows = [trade("A", 1 + 10 * i, price, 1) for i, price in enumerate([400, 404, 408, 101])]
    engine.step([hello(lateness_ns=0), split("A", 30, 4.0), *rows])
    looked, values = Looker(config).forming_bars(engine.state, np.array([0]))
    closed = engine.step([heartbeat(60)])
    assert (looked["close"].tolist(), values.tobytes()) == ([101.0], closed.values[-1:].tobytes())
    assert values[0, 0] == (102 + 101) / 2
    splits, basis = no_splits(2), fresh_basis(2)
    splits.put(0, 100, 4.0, np.zeros(2, np.bool_))
    splits.put(0, 200, 0.5, np.zeros(2, np.bool_))
    basis["first_ns"] = [50, 150]
    basis["newest_ns"] = 300
    bars = np.zeros(3, [("symbol", "i4"), ("open_ns", "i8")])
    bars["open_ns"] = [60, 100, 250]
    assert frame_factors(splits, basis, bars).tolist() == [[1, 0.25], [4, 1], [2, 0.5]]
    assert (basis["factor"].tolist(), NEVER not in basis["first_ns"]) == ([1, 1], True)
    engine = Engine(config_of(["1s"]))
    known = [split("A", 100 + i, 2.0) for i in range(SPLITS_MAX)]
    result = engine.step([hello(), *known, split("A", 500, 2.0), split("A", 100, 3.0)])
    assert [(r.row, r.reason) for r in result.refused] == [(SPLITS_MAX + 1, "too_many_splits")]


def seconds(*prices: float, first: int = 0) -> list[Row]:
    return [trade("A", first + i + 0.5, price, 10) for i, price in enumerate(prices)]


def values_of(engine: Engine, *rows: Row) -> list[tuple[int, float | None]]:
    """(second, sma_2) of the rows of 1s that these told."""
    told = [row for row in engine.values(*rows) if row["timeframe"] == "1s"]
    return [(round(row["open_time_ns"] / 1e9) % 60, row["sma_2"]) for row in told]


LONG = [hello(lateness_ns=0), *seconds(400, 404, *[100] * 8), heartbeat(10)]


def test_a_record_within_the_window_revises_what_it_changes_and_one_behind_it_is_a_dead_letter() -> None:
    engine = Engine(CONFIG)
    first = values_of(engine, hello(lateness_ns=0), *seconds(400, 404, 100), heartbeat(3))
    assert first == [(0, None), (1, 402), (2, 252)]
    assert values_of(engine, split("A", 2, 4.0, 3), heartbeat(3.5)) == [(2, 100.5)]
    assert values_of(engine, split("A", 2, 2.0, 4), heartbeat(4)) == [(2, 151)]
    assert values_of(engine, split("A", 2, 1.0, 4), heartbeat(4.5)) == [(2, 252)]
    engine = Engine(CONFIG)
    engine.step(LONG)
    late = engine.step([split("A", 2, 4.0, 10), heartbeat(10.1)])
    assert [(r.reason, r.timeframes) for r in late.refused] == [("too_late", ("1s",))]
    assert not len(late.indicated)
    after = engine.step([*seconds(100, 102, first=10), heartbeat(20)])
    assert factors(after) == {(0, 10): 1, (0, 11): 1, (1, 10): 4}  # the bar of ten seconds opens behind the ex time
    assert after.values[-1, 0] == (100 / 4 + 102) / 2


def test_the_anchor_does_not_decide_what_is_late_and_several_may_wait_for_an_unknown_symbol() -> None:
    for ex in (1, 2, 4, 5, 6):
        engine, trimmed = Engine(CONFIG), Engine(CONFIG)
        engine.step(LONG)
        trimmed.step(LONG)
        trimmed.state = trimmed.stepper.trim(trimmed.state)
        late = [split("A", ex, 4.0, 10), heartbeat(10.5)]
        here, there = engine.step(late), trimmed.restarted().step(late)
        assert [r.timeframes for r in here.refused] == [r.timeframes for r in there.refused]
        assert here.values.tobytes() == there.values.tobytes()
    engine = Engine(CONFIG)
    engine.step([hello(lateness_ns=0), split("A", 3, 0.5), split("A", 2, 4.0), split("A", -60, 9.0)])
    found = values_of(engine.restarted(), *seconds(400, 400, 100, 200), heartbeat(10))
    assert found == [(0, None), (1, 400), (2, 100), (3, 200)]
    engine = Engine(CONFIG)
    engine.step([hello(lateness_ns=0), *seconds(*[100] * 12), heartbeat(30)])
    assert engine.refusals(split("A", -60, 4.0, 30), heartbeat(31)) == [], "one of before the first bar is not late"


@pytest.mark.parametrize("known", [False, True])
def test_prices_that_are_adjusted_already_stay_as_they_are(known: bool) -> None:
    engine = Engine(CONFIG)
    before = [split("A", 2, 4.0)] if known else []
    rows = [hello(lateness_ns=0), *before, split("A", 2, 4.0, adjusted=True), *seconds(100, 101, 100, 102)]
    assert values_of(engine, *rows, heartbeat(10)) == [(0, None), (1, 100.5), (2, 100.5), (3, 101)]


def test_an_own_indicator_starts_anew_unless_it_names_its_degrees(tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text(OWN)
    indicators = parse_indicators("middle(2),span(2)", own_indicators([tmp_path / "own.py"]))
    result = Engine(EngineConfig(parse_timeframes(["1s"]), indicators)).step(
        [hello(lateness_ns=0), split("A", 2, 4.0), *seconds(400, 404, 100, 102), heartbeat(9)]
    )
    middle, span = result.values.T
    np.testing.assert_array_equal(middle, [np.nan, 402, np.nan, 101])
    np.testing.assert_array_equal(span, [np.nan, 4, 1, 2])


def test_a_rebuild_brings_in_what_was_missed() -> None:
    config = config_of(["1s", "10s"], "sma(2)", window_ns=5_000_000_000, max_skew_ns=10**13, alerts=(FELL,))
    prices = [400.0, 404, *[100.0] * 8]
    rows = [hello(lateness_ns=0), *seconds(*prices), heartbeat(10)]
    healed = Engine(config)
    healed.step([*rows, split("A", 2, 4.0, 10), heartbeat(11), *seconds(101, 102, first=20), heartbeat(30)])
    trades = [*seconds(*prices), *seconds(101, 102, first=20)]
    past = np.zeros(len(trades), PAST_TRADE)
    past["event_time_ns"] = [row["event_time_ns"] for row in trades]
    past["price"], past["size"] = [row["price"] for row in trades], 10
    past["offset"] = [*range(1, 11), 14, 15]  # between them heartbeats, and the split at 12
    past["venue"] = past["changed_offset"] = -1
    names = {"timeframes": ("1s", "10s"), "sources": ("feed",), "venues": (), "rules": ("fell",)}
    healed.step([logged(beginning_value("A", "x"))])
    history = History("A", healed.offset, names, {"trades": past})
    healed.step([logged(value) for value in rebuild_values(history, "x")])
    told = healed.step([heartbeat(31)])
    assert not told.refused
    seconds_told = told.indicated["open_ns"][told.indicated["frame"] == 0] // 10**9 % 60
    assert seconds_told.tolist() == [2]  # of the others no value changes
    assert told.values[told.indicated["frame"] == 0].tolist() == [[100.5]]
    assert [row["state"] for row in healed.alert_rows(told)] == ["withdrawn"] * 2  # it was raised, and cleared
    healed = healed.restarted()
    again = healed.step([*seconds(51, 52, first=40), heartbeat(60)])
    ahead = Engine(config)
    ahead.step([rows[0], split("A", 2, 4.0), *rows[1:], heartbeat(11), *seconds(101, 102, first=20), heartbeat(31)])
    assert again.values.tobytes() == ahead.step([*seconds(51, 52, first=40), heartbeat(60)]).values.tobytes()
