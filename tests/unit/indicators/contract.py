"""The contract of an indicator with its oracle, the real bars that it is held on, and bars made from a few prices."""

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
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
