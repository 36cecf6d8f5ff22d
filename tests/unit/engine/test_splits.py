"""Splits of real daily series: on both sides of each, what TA-Lib gives for the series in the units of that side."""

from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import talib
from numpy.testing import assert_allclose

from market_rows import Engine, Row, bar, config_of, heartbeat, hello, trade
from marketpulse.engine.layout import NEVER
from marketpulse.engine.provisional import Looker
from marketpulse.engine.splits import SPLITS_MAX, frame_factors, fresh_basis, no_splits
from marketpulse.model.timeframe import DAY_NS
from split_rows import split

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


def talib_values(o: np.ndarray) -> np.ndarray:
    """The same columns (n, k) of open, high, low, close, volume (n, 5)."""
    _, high, low, close, volume = np.ascontiguousarray(o.T, np.float64)
    macd, bands, stoch = (
        talib.MACD(close),
        talib.BBANDS(close, 20, 2.0, 2.0),
        talib.STOCH(high, low, close, 5, 3, slowd_period=3),
    )
    return np.column_stack([
        talib.SMA(close, 20), talib.EMA(close, 20), talib.RSI(close, 14), *macd, *bands,
        talib.ATR(high, low, close, 14), talib.OBV(close, volume), talib.VAR(close, 5), talib.ADX(high, low, close, 14),
        talib.CCI(high, low, close, 14), talib.MFI(high, low, close, volume, 14), *stoch,
        talib.LINEARREG_ANGLE(close, 14), talib.SAR(high, low, 0.02, 0.2), talib.NATR(high, low, close, 14),
        talib.AD(high, low, close, volume), talib.MOM(close, 10), talib.TRIX(close, 30),
    ])  # fmt: skip


def in_units_of(ohlcv: np.ndarray, ratio: np.ndarray | float) -> np.ndarray:
    """Prices / ratio, volumes * ratio."""
    found = ohlcv.copy()
    found[:, :4] /= np.reshape(ratio, (-1, 1))
    found[:, 4] *= ratio
    return found


@pytest.mark.parametrize(("name", "splits"), CASES, ids=[name for name, _ in CASES])
def test_nothing_jumps_and_every_value_is_that_of_the_adjusted_series(
    name: str, splits: list[tuple[str, float]]
) -> None:
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
    first_day = days[0]
    for i, day in enumerate(days - first_day):
        if i in at:
            rows.append(split("A", day * DAY_S, splits[at.index(i)][1], day * DAY_S))
        rows.append(bar("A", "1d", day * DAY_S, (day + 1) * DAY_S, raw[i]))
    result = engine.step(rows)
    assert_allclose(result.closed["close"], raw[:, 3])  # the bars stay as they are
    bounds = [0, *at, len(days)]
    for begin, end in pairwise(bounds):
        expected = talib_values(in_units_of(adjusted, 1 / later[begin])[:end])[begin:end]
        found = result.values[begin:end]
        cumulative = [i for i, column in enumerate(engine.config.columns()) if column in ("obv", "ad")]
        scale = np.ones(expected.shape[1])
        scale[cumulative] = np.nanmax(np.abs(expected[:, cumulative]), axis=0)  # sums that may pass near 0
        assert_allclose(found / scale, expected / scale, rtol=1e-9, atol=1e-9)


def test_without_the_record_they_would_jump() -> None:
    closes = [400.0 + i % 5 for i in range(20)] + [100.0 + i % 2 for i in range(3)]
    rows = [bar("A", "1d", d * DAY_S, (d + 1) * DAY_S, (c, c, c, c, 1.0)) for d, c in enumerate(closes)]
    first = hello(mode="historical", lateness_ns=0)
    config = config_of(["1d"], "rsi(14),sma(5)")
    blind = Engine(config).step([first, *rows]).values[20]
    found = Engine(config).step([first, split("A", 20 * DAY_S, 4.0), *rows]).values[20]
    assert blind[0] < 10
    assert blind[1] > 300
    assert 30 < found[0] < 70
    assert 99 < found[1] < 102


def test_the_bar_belongs_to_the_side_of_its_open_time() -> None:
    config = config_of(["10s", "20s"], "sma(1)", window_ns=DAY_NS)
    engine = Engine(config)
    engine.step([hello(lateness_ns=0), split("A", 10, 4.0)])
    result = engine.step([trade("A", 1, 400, 1), trade("A", 11, 100, 1), trade("A", 21, 100, 1), heartbeat(60)])
    found = {(int(b["frame"]), int(b["open_ns"] // 10**9 % 60)): b["factor"] for b in result.indicated}
    assert found == {(0, 0): 1, (0, 10): 4, (0, 20): 4, (1, 0): 1, (1, 20): 4}


def test_the_forming_bar_is_of_its_side_too() -> None:
    config = config_of(["10s"], "sma(2),rsi(2)")
    engine = Engine(config)
    rows = [trade("A", 1 + 10 * i, price, 1) for i, price in enumerate([400, 404, 408, 101])]
    engine.step([hello(lateness_ns=0), split("A", 30, 4.0), *rows])
    looked, values = Looker(config).forming_bars(engine.state, np.array([0]))
    closed = engine.step([heartbeat(60)])
    assert looked["close"].tolist() == [101.0]
    assert values.tobytes() == closed.values[-1:].tobytes()
    assert values[0, 0] == (102 + 101) / 2


def test_factors_of_other_timeframes_are_of_the_same_split() -> None:
    splits, basis = no_splits(2), fresh_basis(2)
    splits.put(0, 100, 4.0, np.zeros(2, np.bool_))
    splits.put(0, 200, 0.5, np.zeros(2, np.bool_))
    basis["first_ns"] = [50, 150]
    basis["newest_ns"] = 300
    bars = np.zeros(3, [("symbol", "i4"), ("open_ns", "i8")])
    bars["open_ns"] = [60, 100, 250]
    assert frame_factors(splits, basis, bars).tolist() == [[1, 0.25], [4, 1], [2, 0.5]]
    assert basis["factor"].tolist() == [1, 1]
    assert NEVER not in basis["first_ns"]


def test_what_would_be_one_too_many_is_refused() -> None:
    engine = Engine(config_of(["1s"]))
    known = [split("A", 100 + i, 2.0) for i in range(SPLITS_MAX)]
    result = engine.step([hello(), *known, split("A", 500, 2.0), split("A", 100, 3.0)])
    assert [(r.row, r.reason) for r in result.refused] == [(SPLITS_MAX + 1, "too_many_splits")]
