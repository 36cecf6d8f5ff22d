"""What the indicators cost: bars per second over many interleaved series, beside TA-Lib in the same run.

Our kernels take the bars as a log brings them, all series mixed, and keep a state per series. TA-Lib is
called once per series on closes that already lie side by side: the shape that suits it best.
Prints one JSON object per line. Needs about 40 seconds.
"""

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import talib
from numpy.typing import NDArray
from results import report

from marketpulse.indicators.bar_columns import (
    ASK,
    ASK_SIZE,
    BID,
    BID_SIZE,
    CLOSE,
    HIGH,
    LOW,
    NOTIONAL,
    OPEN,
    VOLUME,
    WIDTH,
)
from marketpulse.indicators.catalogue import CATALOGUE, Spec

Floats = NDArray[np.float64]

BARS = 1_000_000
SERIES = 500
ROUNDS = 5

TALIB: dict[str, Callable[[Floats], Any]] = {
    "sma": lambda b: talib.SMA(b[CLOSE], 20),
    "ema": lambda b: talib.EMA(b[CLOSE], 20),
    "macd": lambda b: talib.MACD(b[CLOSE], 12, 26, 9),
    "rsi": lambda b: talib.RSI(b[CLOSE], 14),
    "bbands": lambda b: talib.BBANDS(b[CLOSE], 20, 2, 2),
    "atr": lambda b: talib.ATR(b[HIGH], b[LOW], b[CLOSE], 14),
    "volume_sma": lambda b: talib.SMA(b[VOLUME], 20),
    "wma": lambda b: talib.WMA(b[CLOSE], 30),
    "dema": lambda b: talib.DEMA(b[CLOSE], 30),
    "tema": lambda b: talib.TEMA(b[CLOSE], 30),
    "trima": lambda b: talib.TRIMA(b[CLOSE], 30),
    "t3": lambda b: talib.T3(b[CLOSE], 5, 0.7),
    "kama": lambda b: talib.KAMA(b[CLOSE], 30),
    "midpoint": lambda b: talib.MIDPOINT(b[CLOSE], 14),
    "midprice": lambda b: talib.MIDPRICE(b[HIGH], b[LOW], 14),
    "sar": lambda b: talib.SAR(b[HIGH], b[LOW], 0.02, 0.2),
    "aroon": lambda b: talib.AROON(b[HIGH], b[LOW], 14),
    "aroonosc": lambda b: talib.AROONOSC(b[HIGH], b[LOW], 14),
    "plus_dm": lambda b: talib.PLUS_DM(b[HIGH], b[LOW], 14),
    "minus_dm": lambda b: talib.MINUS_DM(b[HIGH], b[LOW], 14),
    "plus_di": lambda b: talib.PLUS_DI(b[HIGH], b[LOW], b[CLOSE], 14),
    "minus_di": lambda b: talib.MINUS_DI(b[HIGH], b[LOW], b[CLOSE], 14),
    "dx": lambda b: talib.DX(b[HIGH], b[LOW], b[CLOSE], 14),
    "adx": lambda b: talib.ADX(b[HIGH], b[LOW], b[CLOSE], 14),
    "adxr": lambda b: talib.ADXR(b[HIGH], b[LOW], b[CLOSE], 14),
    "linearreg": lambda b: talib.LINEARREG(b[CLOSE], 14),
    "linearreg_slope": lambda b: talib.LINEARREG_SLOPE(b[CLOSE], 14),
    "linearreg_angle": lambda b: talib.LINEARREG_ANGLE(b[CLOSE], 14),
    "linearreg_intercept": lambda b: talib.LINEARREG_INTERCEPT(b[CLOSE], 14),
    "tsf": lambda b: talib.TSF(b[CLOSE], 14),
    "ht_trendline": lambda b: talib.HT_TRENDLINE(b[CLOSE]),
    "mom": lambda b: talib.MOM(b[CLOSE], 10),
    "rocp": lambda b: talib.ROCP(b[CLOSE], 10),
    "roc": lambda b: talib.ROC(b[CLOSE], 10),
    "rocr": lambda b: talib.ROCR(b[CLOSE], 10),
    "stochf": lambda b: talib.STOCHF(b[HIGH], b[LOW], b[CLOSE], 5, 3),
    "stoch": lambda b: talib.STOCH(b[HIGH], b[LOW], b[CLOSE], 5, 3, slowd_period=3),
    "stochrsi": lambda b: talib.STOCHRSI(b[CLOSE], 14, 5, 3),
    "willr": lambda b: talib.WILLR(b[HIGH], b[LOW], b[CLOSE], 14),
    "cmo": lambda b: talib.CMO(b[CLOSE], 14),
    "cci": lambda b: talib.CCI(b[HIGH], b[LOW], b[CLOSE], 14),
    "apo": lambda b: talib.APO(b[CLOSE], 12, 26),
    "ppo": lambda b: talib.PPO(b[CLOSE], 12, 26),
    "trix": lambda b: talib.TRIX(b[CLOSE], 30),
    "ultosc": lambda b: talib.ULTOSC(b[HIGH], b[LOW], b[CLOSE], 7, 14, 28),
    "bop": lambda b: talib.BOP(b[OPEN], b[HIGH], b[LOW], b[CLOSE]),
    "mfi": lambda b: talib.MFI(b[HIGH], b[LOW], b[CLOSE], b[VOLUME], 14),
    "obv": lambda b: talib.OBV(b[CLOSE], b[VOLUME]),
    "ad": lambda b: talib.AD(b[HIGH], b[LOW], b[CLOSE], b[VOLUME]),
    "adosc": lambda b: talib.ADOSC(b[HIGH], b[LOW], b[CLOSE], b[VOLUME], 3, 10),
    "natr": lambda b: talib.NATR(b[HIGH], b[LOW], b[CLOSE], 14),
    "trange": lambda b: talib.TRANGE(b[HIGH], b[LOW], b[CLOSE]),
    "typprice": lambda b: talib.TYPPRICE(b[HIGH], b[LOW], b[CLOSE]),
    "medprice": lambda b: talib.MEDPRICE(b[HIGH], b[LOW]),
    "avgprice": lambda b: talib.AVGPRICE(b[OPEN], b[HIGH], b[LOW], b[CLOSE]),
    "wclprice": lambda b: talib.WCLPRICE(b[HIGH], b[LOW], b[CLOSE]),
    "max": lambda b: talib.MAX(b[CLOSE], 30),
    "min": lambda b: talib.MIN(b[CLOSE], 30),
    "stddev": lambda b: talib.STDDEV(b[CLOSE], 5),
    "var": lambda b: talib.VAR(b[CLOSE], 5),
    "close_volume_correl": lambda b: talib.CORREL(b[CLOSE], b[VOLUME], 30),
}


def market() -> tuple[NDArray[np.int64], Floats, NDArray[np.int32]]:
    """Random walks, one bar of each series in turn, ten sessions."""
    rng = np.random.default_rng(1)
    steps = np.exp(rng.normal(0, 0.001, (BARS // SERIES, SERIES)).cumsum(axis=0))
    close = (100 * steps).ravel()
    bars = np.empty((BARS, WIDTH))
    bars[:, OPEN], bars[:, CLOSE] = close, close
    bars[:, HIGH], bars[:, LOW] = (close * (1 + rng.random(BARS) * 0.001), close * (1 - rng.random(BARS) * 0.001))
    bars[:, VOLUME] = rng.integers(1, 10_000, BARS)
    bars[:, NOTIONAL] = close * bars[:, VOLUME]
    bars[:, BID], bars[:, ASK] = close - 0.01, close + 0.01
    bars[:, BID_SIZE], bars[:, ASK_SIZE] = rng.integers(1, 900, (2, BARS))
    session = np.repeat(np.arange(10, dtype=np.int32), BARS // 10)
    return np.tile(np.arange(SERIES), BARS // SERIES), bars, session


def seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def main() -> None:
    series, bars, session = market()
    by_series = [np.ascontiguousarray(bars[i::SERIES].T) for i in range(SERIES)]
    specs = [Spec(indicator, indicator.defaults()) for indicator in CATALOGUE.values()]
    ours = {spec.indicator.name: float("inf") for spec in specs}
    theirs = dict.fromkeys(TALIB, float("inf"))
    for _ in range(ROUNDS + 1):  # the first round may compile; the best of all counts
        for spec in specs:
            name = spec.indicator.name
            state, out = spec.fresh_state(SERIES), np.empty((BARS, len(spec.columns)))
            took = seconds(lambda s=spec, st=state, o=out: s.update(st, series, bars, session, o))
            ours[name] = min(ours[name], took)
            if call := TALIB.get(name):
                theirs[name] = min(theirs[name], seconds(lambda c=call: [c(b) for b in by_series]))
    for name, took in ours.items():
        tell(name, BARS / took, theirs.get(name, 0.0) / took)
    shared = sum(ours[name] for name in TALIB)
    tell("all that TA-Lib has", BARS / shared, sum(theirs.values()) / shared)
    tell("all", BARS / sum(ours.values()), 0.0)


def tell(name: str, bars_per_s: float, ratio: float) -> None:
    """`ratio` is our speed over TA-Lib's, 0 where TA-Lib has no such function."""
    report({
        "name": f"indicators: {name}", "value": round(bars_per_s), "unit": "bars/s",
        "ratio": round(ratio, 3) if ratio else None,
        "ratio_to": f"TA-Lib {talib.__version__} per series" if ratio else None,
    })  # fmt: skip


if __name__ == "__main__":
    main()
