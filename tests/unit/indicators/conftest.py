"""Real daily bars, and a way to run one indicator over one series."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

from marketpulse.indicators.bar_columns import BID, CLOSE, HIGH, LOW, NOTIONAL, OPEN, VOLUME, WIDTH
from marketpulse.indicators.catalogue import parse_indicators

Floats = NDArray[np.float64]
Compute = Callable[..., Floats]

DATA = Path(__file__).parents[2] / "data"
DAILY_FILES = sorted((DATA / "daily_bars").glob("*.csv"))


def read_bars(path: Path) -> tuple[Floats, NDArray[np.int32]]:
    """A CSV of bars without vwap and quotes: the kernel's bars (n, 10), and each bar's own date."""
    frame = pd.read_csv(path, encoding="utf-8-sig")
    bars = np.empty((len(frame), WIDTH))
    bars[:, BID:] = np.nan
    for column, name in ((OPEN, "open"), (HIGH, "high"), (LOW, "low"), (CLOSE, "close"), (VOLUME, "volume")):
        bars[:, column] = frame[name]
    typical = (bars[:, HIGH] + bars[:, LOW] + bars[:, CLOSE]) / 3
    bars[:, NOTIONAL] = typical * bars[:, VOLUME]
    days = pd.to_datetime(frame["date"]).to_numpy().astype("datetime64[D]").astype(np.int32)
    return bars, days


@pytest.fixture(params=DAILY_FILES, ids=lambda path: path.stem)
def daily(request: pytest.FixtureRequest) -> Floats:
    """Daily bars (n, 10) of each real file in turn."""
    return read_bars(request.param)[0]


@pytest.fixture(scope="session")
def every_daily() -> list[Floats]:
    """Daily bars (n, 10) of all real files at once."""
    return [read_bars(path)[0] for path in DAILY_FILES]


@pytest.fixture(scope="session")
def minutes() -> tuple[Floats, NDArray[np.int32]]:
    """One-minute bars (n, 10) of four sessions, and the session date of each."""
    return read_bars(DATA / "intraday_bars" / "spy_like_1m.csv")


@pytest.fixture(scope="session")
def compute() -> Compute:
    """`compute("sma(20)", bars)`: its columns (n, k) over one fresh series."""

    def run(text: str, bars: Floats, session: NDArray[np.int32] | None = None) -> Floats:
        (spec,) = parse_indicators(text)
        n = len(bars)
        out = np.full((n, len(spec.columns)), 12345.0)
        dates = np.zeros(n, np.int32) if session is None else session
        spec.update(spec.fresh_state(1), np.zeros(n, np.int64), np.ascontiguousarray(bars), dates, out)
        return out

    return run


@pytest.fixture(scope="session")
def closes() -> Callable[[object], Floats]:
    """Bars in which one trade of size 1 happened at each of these prices."""

    def make(prices: object) -> Floats:
        column = np.asarray(prices, np.float64)
        bars = np.repeat(column[:, np.newaxis], WIDTH, axis=1)
        bars[:, VOLUME] = 1.0
        return bars

    return make


@pytest.fixture(scope="session")
def assert_close() -> Callable[[Floats, Floats], None]:
    """Nulls in the same places, and values equal to 1e-9: relative, below 1 absolute."""

    def check(found: Floats, expected: Floats, tolerance: float = 1e-9) -> None:
        assert found.shape == expected.shape
        np.testing.assert_array_equal(np.isnan(found), np.isnan(expected))
        np.testing.assert_allclose(found, expected, rtol=tolerance, atol=tolerance)

    return check
