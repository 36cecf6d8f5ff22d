"""Who says what an indicator must be, TA-Lib where it has the indicator, else its formula in numpy or pandas; its
contract with that oracle, the real bars that it is held on, and bars made from a few prices."""

import math
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import talib
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import ArrayLike, NDArray

from marketpulse.indicators.bar_columns import BID, CLOSE, HIGH, LOW, NAMES, NOTIONAL, VOLUME, WIDTH
from marketpulse.indicators.catalogue import parse_indicators

Floats = NDArray[np.float64]
Days = NDArray[np.int32]
Oracle = Callable[..., Any]  # of a frame of bars and the parameters: the values, or a tuple of columns

DATA = Path(__file__).parents[2] / "data"
DOCS = Path(__file__).parents[3] / "docs" / "formulas"


def read_bars(path: Path) -> tuple[Floats, Days]:
    """A CSV of bars without vwap and quotes: the kernel's bars (n, 10), and each bar's own date."""
    frame = pd.read_csv(path, encoding="utf-8-sig")
    bars = np.full((len(frame), WIDTH), np.nan)
    for name in ("open", "high", "low", "close", "volume"):
        bars[:, NAMES.index(name)] = frame[name]
    bars[:, NOTIONAL] = (bars[:, HIGH] + bars[:, LOW] + bars[:, CLOSE]) / 3 * bars[:, VOLUME]
    assert np.isfinite(bars[:, :BID]).all()
    return bars, pd.to_datetime(frame["date"]).to_numpy().astype("datetime64[D]").astype(np.int32)


@cache
def every_daily() -> dict[str, Floats]:
    """Daily bars (n, 10) of all real files, by the file's name; read-only."""
    found = {path.stem: read_bars(path)[0] for path in sorted((DATA / "daily_bars").glob("*.csv"))}
    for bars in found.values():
        bars.flags.writeable = False
    return found


def minutes() -> tuple[Floats, Days]:
    """One-minute bars (n, 10) of four sessions, and the session date of each."""
    return read_bars(DATA / "intraday_bars" / "spy_like_1m.csv")


def closes(prices: ArrayLike, **columns: ArrayLike) -> Floats:
    """Bars in which one trade of size 1 happened at each of these prices, but for the `columns` given by name."""
    bars = np.repeat(np.asarray(prices, np.float64)[:, np.newaxis], WIDTH, axis=1)
    for name, values in {"volume": 1.0, **columns}.items():
        bars[:, NAMES.index(name)] = values
    return bars


def moving(seed: int, bars: int, still: int = 0) -> Floats:
    """Prices about 100, and then the last one again and again."""
    prices = 100 + np.random.default_rng(seed).normal(size=bars)
    return np.concatenate([prices, np.full(still, prices[-1])])


def compute(text: str, bars: Floats, session: Days | None = None) -> Floats:
    """The values of `sma(20)` over one fresh series: (n,), or (n, k) where it has several columns."""
    (spec,) = parse_indicators(text)
    n = len(bars)
    out = np.full((n, len(spec.columns)), 12345.0)
    dates = np.zeros(n, np.int32) if session is None else session
    spec.update(spec.fresh_state(1), np.zeros(n, np.int64), bars.copy(), dates, out)
    return out[:, 0] if len(spec.columns) == 1 else out


class Tolerance(NamedTuple):
    """How far a value may be off: `relative` to it, plus `absolute`, which may depend on the bars."""

    relative: float = 1e-9
    absolute: float | Callable[[Any], float] = 1e-9


EXACT = Tolerance(0, 0)


def check(name: str, oracle: Oracle, periods: str, tolerance: Tolerance, on: dict[str, Floats] | None = None) -> None:
    """Hold an indicator against its oracle on every real daily file, or `on` these bars, with each of its `periods`.

    `periods` are its parameters as one writes them: "5 14", "12,26 2,3", or "" for one that has none. Nulls must be
    in the same places. A failure names the indicator with its parameters, and the file.
    """
    for parameters in periods.split() or [""]:
        text = f"{name}({parameters})" if parameters else name
        numbers = [float(word) if "." in word else int(word) for word in parameters.split(",") if word]
        for file, bars in (every_daily() if on is None else on).items():
            frame = pd.DataFrame(bars, columns=list(NAMES))
            expected = oracle(frame, *numbers)
            expected = np.column_stack(expected) if isinstance(expected, tuple) else np.asarray(expected)
            found, (relative, absolute) = compute(text, bars), tolerance
            allowed = absolute(frame) if callable(absolute) else absolute
            assert found.shape == expected.shape, f"{text} on {file}"
            np.testing.assert_allclose(found, expected, rtol=relative, atol=allowed, err_msg=f"{text} on {file}")


def by_talib(name: str, columns: str) -> Oracle:
    """TA-Lib's function of this name over these columns of the bars."""
    return lambda bars, *parameters: getattr(talib, name)(*(bars[column] for column in columns.split()), *parameters)


TALIB = [
    ("open high low close", "", "avgprice bop"), ("high low close volume", "", "ad"),
    ("high low close volume", "3,10 2,3 20,100", "adosc"), ("high low close volume", "2 14 100", "mfi"),
    ("high low close", "", "trange typprice wclprice"),
    ("high low close", "2 5 14 200", "adx adxr dx minus_di plus_di"), ("high low close", "1 2 14 100", "atr"),
    ("high low close", "2 14 20 100", "cci"), ("high low close", "2 14 100", "natr"),
    ("high low close", "2 3 14 100", "willr"), ("high low close", "5,3 14,3 1,1 3,50 100,2", "stochf"),
    ("high low close", "7,14,28 1,2,3 28,7,14 5,5,5 10,50,100", "ultosc"), ("high low", "", "medprice"),
    ("high low", "2 5 14 25 200", "aroon aroonosc"), ("high low", "2 5 14 200", "midprice"),
    ("high low", "1 2 5 14 200", "minus_dm plus_dm"), ("high low", "0.02,0.2 0.0,0.2 0.05,1.0 0.1,0.1 0.3,0.1", "sar"),
    ("close volume", "", "obv"), ("close", "", "ht_trendline"), ("close", "1 2 5 30 200", "dema tema trima wma"),
    ("close", "1 2 12 26 200", "ema"), ("close", "2 5 10 30 200", "kama"), ("close", "1 2 5 20 200", "sma"),
    ("close", "5,0.7 1,0.7 2,0.0 3,1.0 50,0.618", "t3"),
    ("close", "2 5 14 200", "linearreg linearreg_angle linearreg_intercept linearreg_slope midpoint tsf"),
    ("close", "12,26 2,3 5,100", "apo ppo"), ("close", "12,26,9 5,35,5 2,3,1 19,39,9", "macd"),
    ("close", "2 9 14 100", "cmo rsi"), ("close", "14,5,3 14,14,3 2,1,1 9,30,10", "stochrsi"),
    ("close", "1 10 100", "mom roc rocp rocr"), ("close", "1 2 15 30 100", "trix"), ("close", "2 3 30 100", "max min"),
    ("close", "2 5 20 100", "stddev"), ("close", "1 2 5 20 100", "var"),
]  # fmt: skip


def windows_of(values: Any, period: int) -> Floats:
    """Each bar's window (n, period), which begins with nulls where it is not full yet."""
    return np.asarray(sliding_window_view(np.concatenate([np.full(period - 1, np.nan), values]), period))


def alma(bars: Any, period: int, offset: float, sigma: float) -> Any:
    """numpy's convolution with the bell."""
    bell = np.exp(-((np.arange(period)[::-1] - offset * (period - 1)) ** 2) / (2 * (period / sigma) ** 2))
    return np.concatenate([np.full(period - 1, np.nan), np.convolve(bars.close, bell / bell.sum(), "valid")])


def close_volume_correl(bars: Any, period: int) -> Any:
    a, b = windows_of(bars.close, period), windows_of(bars.volume, period)
    still = (np.ptp(a, axis=1) == 0) | (np.ptp(b, axis=1) == 0)
    a, b = (x - x.mean(axis=1, keepdims=True) for x in (a, b))
    size = np.sqrt((a * a).sum(axis=1) * (b * b).sum(axis=1))
    return np.where(still, 0.0, (a * b).sum(axis=1) / np.where(still, 1.0, size))


def per_volume(terms: Any, bars: Any, period: int) -> Any:
    """The sum of a window by its volume, and null where nothing in it has traded."""
    volume = windows_of(bars.volume, period).sum(axis=1)
    return windows_of(terms, period).sum(axis=1) / np.where(volume == 0, np.nan, volume)


def cmf(bars: Any, period: int) -> Any:
    place = (2 * bars.close - bars.low - bars.high) / (bars.high - bars.low)
    return per_volume(place.where(bars.high > bars.low, 0.0) * bars.volume, bars, period)


def middle(bars: Any, period: int) -> Any:
    return (bars.high.rolling(period).max() + bars.low.rolling(period).min()) / 2


def ichimoku(bars: Any, conversion: int, base: int, span_b: int) -> Any:
    lines = middle(bars, conversion), middle(bars, base)
    return *lines, (lines[0] + lines[1]) / 2, middle(bars, span_b)


def eom(bars: Any, period: int) -> Any:
    moved = ((bars.high + bars.low) / 2).diff()
    return (10_000 * moved * (bars.high - bars.low) / bars.volume.where(bars.volume > 0)).rolling(period).mean()


def force(bars: Any) -> Any:
    return bars.close.diff() * bars.volume


def vpt(bars: Any) -> Any:
    return (bars.close.pct_change() * bars.volume).cumsum()


def root_mean(squares: Any, period: int) -> Any:
    return np.sqrt(windows_of(squares, period).mean(axis=1))


def garman_klass(bars: Any, period: int) -> Any:
    ranges, moves = np.log(bars.high / bars.low) ** 2, np.log(bars.close / bars.open) ** 2
    return root_mean(ranges / 2 - (2 * math.log(2) - 1) * moves, period)


def stoch(bars: Any, k: int, slow: int, d: int) -> Any:
    return talib.STOCH(bars.high, bars.low, bars.close, k, slow, slowd_period=d)


def keltner(bars: Any, period: int, atr: int, factor: float) -> Any:
    width = factor * talib.ATR(bars.high, bars.low, bars.close, atr)
    centre = talib.EMA(bars.close, period) + 0 * width
    return centre + width, centre, centre - width


def of_windows(bars: Any, period: int, method: str) -> Any:
    """pandas' method of each window of closes; a flat window has none, though pandas says 0."""
    windows = windows_of(bars.close, period)
    return np.where(np.ptp(windows, axis=1) > 0, getattr(pd.DataFrame(windows), method)(axis=1), np.nan)


def rma(bars: Any, period: int) -> Any:
    seeded = bars.close.copy()
    seeded[period - 1] = seeded[:period].mean()
    seeded[: period - 1] = np.nan
    return seeded.ewm(alpha=1 / period, adjust=False).mean()


def supertrend(bars: Any, period: int, factor: float) -> Any:
    """A plain reading of the rule over TA-Lib's average true range."""
    high, low, close = (bars[name].to_numpy() for name in ("high", "low", "close"))
    width = factor * talib.ATR(high, low, close, period)
    upper, lower = (high + low) / 2 + width, (high + low) / 2 - width
    expected = np.full((len(bars), 2), np.nan)
    expected[period] = upper[period], -1
    for i in range(period + 1, len(bars)):
        if close[i - 1] <= upper[i - 1]:
            upper[i] = min(upper[i], upper[i - 1])
        if close[i - 1] >= lower[i - 1]:
            lower[i] = max(lower[i], lower[i - 1])
        if expected[i - 1, 1] < 0:
            expected[i] = (lower[i], 1) if close[i] > upper[i] else (upper[i], -1)
        else:
            expected[i] = (upper[i], -1) if close[i] < lower[i] else (lower[i], 1)
    return expected


def tsi(bars: Any, long: int, short: int) -> Any:
    changes = bars.close.diff()
    moved, size = (talib.EMA(talib.EMA(x, long), short) for x in (changes, changes.abs()))
    return 100 * moved / size


def zscore(bars: Any, period: int) -> Any:
    deviation: Any = talib.STDDEV(bars.close, period)
    return (bars.close - talib.SMA(bars.close, period)) / deviation.replace(0.0, np.nan)


FORMULAS: list[tuple[str, str, Oracle]] = [
    ("alma", "9,0.85,6.0 1,0.85,6.0 2,0.5,30.0 50,0.0,1.0 200,1.0,9.5", alma),
    ("bbands", "20,2.0 2,1.5 5,2.5 100,3.0", lambda b, n, factor: talib.BBANDS(b.close, n, factor, factor)),
    ("close_volume_correl", "2 5 30 100", close_volume_correl),
    ("cmf", "1 2 20 100", cmf),
    ("donchian", "1 2 20 200", lambda b, n: (b.high.rolling(n).max(), middle(b, n), b.low.rolling(n).min())),
    ("dpo", "1 2 3 20 21 100", lambda b, n: b.close.shift(n // 2 + 1) - b.close.rolling(n).mean()),
    ("drawdown", "1 2 20 252", lambda b, n: b.close / b.close.rolling(n).max() - 1),
    ("eom", "1 2 14 100", eom),
    ("force_index", "1 2 13 100", lambda b, n: talib.EMA(force(b), n) if n > 1 else force(b)),
    ("garman_klass", "1 5 20 100", garman_klass),
    (
        "hma",
        "2 3 9 16 55 200",
        lambda b, n: talib.WMA(2 * talib.WMA(b.close, n // 2) - talib.WMA(b.close, n), int(n**0.5)),
    ),
    ("ichimoku", "9,26,52 1,2,3 52,9,26 20,60,120", ichimoku),
    ("keltner", "20,10,2.0 1,1,0.5 10,20,1.5 50,14,0.0", keltner),
    ("kurtosis", "4 5 20 100", lambda b, n: of_windows(b, n, "kurt")),
    ("parkinson", "1 5 20 100", lambda b, n: root_mean(np.log(b.high / b.low) ** 2 / math.log(16), n)),
    # its place in the window of period + 1 closes, counting those that are equal, less itself
    ("percent_rank", "1 5 20 100", lambda b, n: 100 * (b.close.rolling(n + 1).rank(method="max") - 1) / n),
    ("realized_volatility", "1 5 20 100", lambda b, n: np.sqrt(windows_of(np.log(b.close).diff() ** 2, n).sum(axis=1))),
    ("rma", "1 2 14 200", rma),
    ("skew", "3 5 20 100", lambda b, n: of_windows(b, n, "skew")),
    ("stoch", "5,3,3 14,3,3 14,1,3 1,1,1 3,20,7 100,5,2", stoch),
    ("supertrend", "10,3.0 1,0.0 7,1.5 50,2.0", supertrend),
    ("tsi", "25,13 13,25 5,2 100,3", tsi),
    ("volume_sma", "1 20 200", lambda b, n: talib.SMA(b.volume, n)),
    ("vpt", "", vpt),
    ("vwma", "1 2 20 200", lambda b, n: per_volume(b.close * b.volume, b, n)),
    # TA-Lib's average of the close ahead
    ("zlema", "1 2 3 20 200", lambda b, n: talib.EMA(2 * b.close - b.close.shift((n - 1) // 2), n)),
    ("zscore", "2 5 20 100", zscore),
]
TOLERANCES = {
    # a difference of two averages of the line: 1e-9 of the line's size
    "adosc": Tolerance(1e-9, lambda b: 1e-12 * float(np.abs(talib.AD(b.high, b.low, b.close, b.volume)).max())),
    # an average and a sum of values of both signs: their digits are those of the largest
    "force_index": Tolerance(1e-12, lambda bars: 1e-12 * force(bars).abs().max()),
    "vpt": Tolerance(1e-9, lambda bars: 1e-9 * vpt(bars).abs().max()),
    # TA-Lib's slope loses digits where the price is large against its movement: 1e-9 of a right angle
    "linearreg_angle": Tolerance(0, 90e-9),
    "max": EXACT,
    "min": EXACT,
    "zscore": Tolerance(1e-9, 1e-8),
}
ORACLES: dict[str, tuple[Oracle, str, Tolerance]] = {
    name: (oracle, periods, TOLERANCES.get(name, Tolerance()))
    for name, periods, oracle in [
        *((one, periods, by_talib(one.upper(), columns)) for columns, periods, names in TALIB for one in names.split()),
        *FORMULAS,
    ]
}
