"""Every indicator against its oracle on all real daily files, or published values, or sums by hand. And from which bar
on TradingView's values and ours are the same to two decimals, where the beginnings differ: the formulas of its
manual."""

import json
import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from examples import examples
from marketpulse.indicators.bar_columns import CLOSE, HIGH, LOW, NOTIONAL
from marketpulse.indicators.catalogue import CATALOGUE, parse_indicators
from marketpulse.indicators.declaration import Spec
from unit.indicators.oracles import DATA, DOCS, ORACLES, Floats, check, closes, compute, every_daily

NAN = np.nan


@pytest.mark.parametrize("name", ORACLES)
def test_an_indicator_equals_its_oracle_on_all_real_daily_files(name: str) -> None:
    check(name, *ORACLES[name])


class Row:
    """What `text` gives over these closes and other columns; the bars before the first expected value are null."""

    def __init__(self, text: str, close: Any, expected: Any, within: Any = 0.0, **columns: Any) -> None:
        days = columns.pop("days", None)
        self.text, self.within, self.absolute = text, within, columns.pop("absolute", 0.0)
        self.bars, self.session = closes(close, **columns), None if days is None else np.asarray(days, np.int32)
        values = np.asarray(expected, np.float64)
        self.expected: Floats = np.full((len(self.bars), *values.shape[1:]), NAN)
        self.expected[len(self.bars) - len(values) :] = values


# places in the range: +1, -1, +0.5, none; flows 3 -2 4 0
FLOWS = {"high": [8, 9, 10, 7], "low": [4, 5, 6, 7], "volume": [3, 2, 8, 50]}
WIDE = {"high": math.e, "low": [1 / math.e, 1]}
WITH_A_GAP = {"high": np.arange(2, 14), "volume": [1, 1, 1, 1, 1, 0, 1, 1, 1, 1, 1, 1]}
BOOK: list[tuple[float, ...]] = [
    (10, 5, 11, 7),
    (10, 8, 11, 4),  # 3 join the bid, 3 leave the ask: 3 + 3
    (10.5, 2, 11, 4),  # a better bid of 2, the ask stays: 2 + 0
    (10.5, 2, 10.8, 9),  # the bid stays, a better ask of 9: 0 - 9
    (10, 6, 12, 3),  # the bid of 2 is gone, the ask of 9 too: -2 + 9
]


def quotes(*rows: tuple[float, ...]) -> dict[str, Floats]:
    return dict(zip(("bid", "bid_size", "ask", "ask_size"), np.array(rows).T, strict=True))


def book(period: int, expected: list[float], *rows: tuple[float, ...]) -> Row:
    return Row(f"ofi({period})", np.full(len(rows), 50.0), expected, **quotes(*rows))


# the book there and back; in each one, one column of the third bar is missing
THERE_AND_BACK = [*BOOK, *BOOK[3::-1]]
GAPS = [tuple(NAN if i == gap else value for i, value in enumerate(BOOK[2])) for gap in range(4)]
WITHOUT = [[*BOOK[:2], row, *THERE_AND_BACK[3:]] for row in GAPS]

SIZED = quotes((1, 1, 2, 3), (9, 4, 8, 0), (5, 0, 5, 4), (1e13, 2, 2e13, 2))
LEANING = quotes((9, 1, 11, 3), (9, 3, 11, 1), (9, 5, 11, 5), (9, 0, 11, 2))
PRICES = [7.0, 1e13 / 3, 1e-8 / 3, 0.1]
BY_HAND = [  # what neither TA-Lib nor published values tell
    Row("aroon(4)", [5] * 5, [[75, 25]], high=[9, 9, 8, 7, 6], low=[4, 3, 4, 3, 4]),  # the newest of equal extremes
    # distances -1 0 1 and -1 -1 2: products 3, squares 2 and 6; then the same in another order
    Row("close_volume_correl(3)", [1, 2, 3, 1], [3 / math.sqrt(12)] * 2, 1e-14, volume=[1, 1, 4, 1]),
    Row("cmf(2)", [8, 5, 9, 7], [0.2, 0.2, 4 / 58], 1e-15, **FLOWS),  # flows 3 -2 4 0 of volumes 3 2 8 50
    Row("donchian(2)", [5] * 3, [[9, 5.5, 2], [7, 4.5, 2]], high=[9, 6, 7], low=[5, 2, 3]),  # its own bar counts
    Row("dpo(4)", [1, 2, 6, 7, 6], [-3, -3.25]),  # three bars back less the mean of four: 1 - 4, 2 - 5.25
    Row("dpo(4)", 1e13 + 4 * np.arange(40.0), [-6.0] * 37),  # huge prices, exact to the last digit
    Row("drawdown(3)", [8, 4, 6, 3, 2, 5], [-0.25, -0.5, (2 - 6) / 6, 0]),
    # middles 6 7 6.5 9: eases 1 * 4 / 8, -0.5 * 1 / 2, 2.5 * 2 / 10, in ten thousandths
    Row("eom(2)", [5, 7, 6, 9], [1250, 1250], high=[8, 9, 7, 10], low=[4, 5, 6, 8], volume=[1, 8, 2, 10]),
    # null exactly while a bar without volume is in the window
    Row("eom(3)", np.arange(1, 13), [1e4, 1e4, NAN, NAN, NAN, *[1e4] * 4], **WITH_A_GAP),
    # forces 6 -4 3; the average of two begins at 1 and moves by 2/3
    Row("force_index(2)", [10, 12, 11, 14], [1, 1 + 4 / 3], 1e-15, volume=[9, 3, 4, 1]),
    # ranges e² and e, the second one crossed from the low to the high
    Row("garman_klass(1)", [1, math.e], np.sqrt([2, 0.5 - (2 * math.log(2) - 1)]), 1e-15, open=1, **WIDE),
    # distances -1 -1 -1 3 from 2: mean square 3, mean fourth power 21: (5 * 21 / 9 - 9) * 3 / 2
    Row("kurtosis(4)", [1, 1, 1, 5], [4], 1e-14),
    Row("max(1)", PRICES, PRICES),
    # where the sum exceeds a double there is none, and then there is again
    Row("midpoint(2)", [1e308, 1.5e308, 3.0, 5.0], [NAN, (1.5e308 + 3) / 2, 4.0]),
    Row("min(1)", PRICES, PRICES),
    # neither side counts where both went as far
    Row("minus_dm(1)", [10, 10], [0.0], high=[12, 14], low=[9, 7]),
    Row("plus_dm(1)", [10, 10], [0.0], high=[12, 14], low=[9, 7]),
    Row("mom(3)", 1e13 + np.arange(50.0) ** 2, 6 * np.arange(3, 50) - 9.0),  # huge prices, exact to the last digit
    # ranges e, e³ and none: 1, 9 and 0 over 4 ln 2
    Row("parkinson(2)", [1] * 3, np.sqrt(np.array([5, 4.5]) / (4 * math.log(2))), 1e-15, high=[math.e, math.e**3, 1]),
    Row("percent_rank(4)", [4, 1, 3, 2, 3, 0, 9], [75, 0, 100]),
    Row("realized_volatility(2)", [1, math.e, 1 / math.e**3, 1 / math.e**3], [math.sqrt(1 + 16), 4.0], 1e-15),
    # it begins down only where the low fell further than the high rose: down with the high before as its stop; up
    # with the low before; up too where both are equal, and turned at once
    Row("sar", [10, 10], [10], high=[10, 9.5], low=[9, 8]),
    Row("sar", [10, 10], [9], high=[10, 12], low=[9, 9.5]),
    Row("sar", [10, 10], [11], high=[10, 11], low=[9, 8]),
    # distances -1 -1 2 from 1: squares 6, cubes 6: sqrt(3) (6 / 3) / (6 / 3)^1.5 sqrt(2)
    Row("skew(3)", [0.5, 0.5, 2], [math.sqrt(3)], 1e-15),
    Row("skew(3)", [1, 2, 3], [0], absolute=1e-15),
    Row("trange", 1e13 + np.arange(30.0) ** 2, 2 * np.arange(1, 30) - 1.0),  # huge prices, exact to the last digit
    # changes 3 -1 4 -2: averages of two 1 3 -1/3, of two 2 4/9; sizes 3 1 4 2: 2 10/3 22/9, 8/3 68/27
    Row("tsi(2,2)", [10, 13, 12, 16, 14], [75, 100 * (4 / 9) / (68 / 27)], 1e-14),
    Row("volume_sma(2)", [50, 60, 70], [3, 2], volume=[2, 4, 0]),  # the volume only
    # huge volumes, exact to the last digit
    Row("volume_sma(20)", [5.0] * 40, 1e13 + 9.5 + np.arange(21), volume=1e13 + np.arange(40)),
    Row("vpt", [10, 15, 12, 12], [2, 0, 0], volume=[7, 4, 10, 9]),
    # it starts again with the session, also on the first day of 1970
    Row("vwap", [2, 4, 10, 6], [2, 3, 10, 6], days=[0, 0, 1, 0]),
    # null until something trades, and then it stays over empty bars
    Row("vwap", [5, 5, 9, 9], [5, 5, 7], volume=[0, 2, 0, 2], notional=[0, 10, 0, 18]),
    # null while nothing in the window has traded
    Row("vwma(2)", [5, 8, 2, 7, 9], [29 / 4, 8, NAN, 9], volume=[1, 3, 0, 0, 2]),
    # ahead from the second close on: 3 10 8 2, their mean 7, then half of the way
    Row("zlema(3)", [1, 2, 6, 7, 4.5], [7, 4.5]),
    Row("zscore(4)", [2, 2, 2, 6, 2], [3 / math.sqrt(3), -1 / math.sqrt(3)], 1e-15),
    # from -1 to 1, whatever the prices
    Row("imbalance", [50] * 4, [-0.5, 1, -1, 0], **SIZED),
    Row("imbalance", [50] * 3, [], bid_size=[0, NAN, NAN], ask_size=[0, 1, NAN]),  # without sizes, and without a quote
    # it leans to the side with less size
    Row("microprice", [50] * 4, [9.5, 10.5, 10, 9], **LEANING),
    # without sizes, and with one side only
    Row("microprice", [50] * 3, [], **quotes((9, 0, 11, 0), (9, NAN, 11, 3), (9, 1, NAN, NAN))),
    # halfway, whatever the sizes
    Row("mid", [50] * 3, [9.75, 11.5, 7], **quotes((9.5, 0, 10, 0), (12, 1, 11, 9), (7, NAN, 7, NAN))),
    # null without a quote and with one side only
    Row("mid", [50] * 4, [10], bid=[NAN, 9, NAN, 9], ask=[NAN, NAN, 10, 11]),
    # negative in a crossed book and 0 in a locked one
    Row("spread", [50] * 3, [0.5, -1, 0], bid=[9.5, 12, 7], ask=[10, 11, 7]),
    Row("spread", [50] * 3, [], bid=[NAN, 9, NAN], ask=[NAN, NAN, 10]),
    book(1, [6, 2, -9, 7], *BOOK),
    book(2, [8, -7, -2], *BOOK),
    book(3, [-1, 0], *BOOK),
    book(5, [], *BOOK),
    # null until the flows behind a missing quote fill the window; flows: . 6 . . 7, and back from (10, 6, 12, 3):
    # +2 - 9 = -7, 0 + 9 = 9, -2 + 0 = -2, 5 - 8 - 7 + 4 = -6
    *(book(1, [6, NAN, NAN, 7, -7, 9, -2, -6], *rows) for rows in WITHOUT),
    *(book(2, [0, 2, 7, -8], *rows) for rows in WITHOUT),
    # no quotes, and a book that stands still
    book(2, [], *[(NAN, NAN, NAN, NAN)] * 5),
    book(2, [0, 0, 0], *[BOOK[0]] * 5),
    # sizes of zero are none, and a crossed book is taken as it is: 4 leave the bid; then the book crosses: a bid of 1
    # at 12 is better, the ask of 5 at 11 stays
    book(1, [-4, 1], (10, 4, 11, 5), (10, 0, 11, 5), (12, 1, 11, 5)),
]


@pytest.mark.parametrize("row", BY_HAND, ids=lambda row: row.text)
def test_a_sum_by_hand_comes_out(row: Row) -> None:
    found = compute(row.text, row.bars, row.session)
    assert found.shape == row.expected.shape or not np.isfinite(row.expected).any()
    np.testing.assert_allclose(found, row.expected, rtol=row.within, atol=row.absolute)


def test_every_indicator_is_held_against_values_from_elsewhere() -> None:
    assert {row.text.partition("(")[0] for row in BY_HAND} | set(ORACLES) == set(CATALOGUE)


PUBLISHED: dict[tuple[str, int], dict[int, str]] = {
    ("alma(10,0.85,6)", 0): {9: "214.1839", 24: "216.0619", 149: "235.8609", 249: "257.5787", 501: "242.1871"},
    ("hma(20)", 0): {149: "236.0835", 501: "235.6972"},
    ("vwma(10)", 0): {9: "213.981942", 99: "226.302760", 249: "257.053654", 501: "242.101548"},
    ("rma(20)", 0): {19: "214.52500", 20: "214.55125", 21: "214.58319", 100: "225.78071", 501: "255.67462"},
    ("keltner(20,10,2)", 0): {485: "275.4260", 501: "262.1873"},
    ("keltner(20,10,2)", 1): {485: "265.4599", 501: "249.3519"},
    ("keltner(20,10,2)", 2): {485: "255.4938", 501: "236.5165"},
    ("supertrend(14,3)", 0): {249: "253.8008", 501: "250.7954"},
    ("supertrend(14,3)", 1): {151: "1", 152: "-1", 249: "1", 501: "-1"},
    ("ichimoku", 0): {51: "224.465", 249: "257.150", 475: "265.575", 501: "241.260"},
    ("ichimoku", 1): {51: "221.940", 249: "253.085", 475: "263.965", 501: "251.505"},
    ("ichimoku", 2): {25: "214.8325", 223: "246.3125", 449: "274.9475", 475: "264.7700"},
    ("ichimoku", 3): {223: "241.685", 449: "274.950", 475: "269.820"},
}


@pytest.mark.parametrize(("text", "column"), list(PUBLISHED))
def test_the_published_values_come_out(text: str, column: int) -> None:
    found = compute(text, every_daily()["default_502"]).reshape(502, -1)[:, column]
    for bar, published in PUBLISHED[text, column].items():
        decimals = len(published.partition(".")[2])
        assert f"{found[bar]:.{decimals}f}" == published, bar


@pytest.mark.parametrize("name", ["ema", "sma"])
def test_the_published_series_comes_out(name: str) -> None:
    rows = json.loads((DATA / "indicator_values" / f"{name}.standard.json").read_text())
    published = np.array([row[name] for row in rows], np.float64)
    np.testing.assert_allclose(compute(f"{name}(20)", every_daily()["default_502"]), published, rtol=1e-9, atol=1e-9)


CHUNK, CHUNKS, LAST = 500_000, examples(40).max_examples // 2, 50_000
SPECS = parse_indicators("""sma(20),ema(26),rma(14),rsi(14),macd,bbands(20,2),atr(14),wma(30),kama(30),vwma(20),dema(30),t3,
    stddev(20),var(20),zscore,linearreg(14),linearreg_slope(14),adx(14),cci(20),mfi(14),cmf,close_volume_correl,
    realized_volatility(20),stoch,ultosc,donchian""")


def chunks() -> Iterator[Floats]:
    """Ten million bars under the profile `full`, two under `quick`; 500,000 at a time."""
    random = np.random.default_rng(7)
    for chunk in range(CHUNKS):
        close = (100 + 5 * np.sin(np.arange(CHUNK) / 300) + random.normal(0, 0.3, CHUNK)) * (1e11 if chunk == 1 else 1)
        spread = close * 0.003 * random.random(CHUNK)
        volume = random.integers(1, 1_000, CHUNK)
        bars = closes(close, open=close - spread / 2, high=close + spread, low=close - spread, volume=volume)
        bars[:, NOTIONAL] = volume * close
        yield bars


def run(spec: Spec, state: Floats, bars: Floats) -> Floats:
    """The last thousand values."""
    out = np.empty((len(bars), len(spec.columns)))
    spec.update(state, np.zeros(len(bars), np.int64), bars, np.zeros(len(bars), np.int32), out)
    return out[-1_000:]


Ends = dict[str, tuple[Floats, Floats]]


@pytest.fixture(scope="module")
def values() -> Ends:
    """By notation, the last thousand values of the long run and of the short one."""
    states = [spec.fresh_state(1) for spec in SPECS]
    for bars in chunks():
        ends = [run(spec, state, bars) for spec, state in zip(SPECS, states, strict=True)]
    return {s.text: (end, run(s, s.fresh_state(1), bars[-LAST:])) for s, end in zip(SPECS, ends, strict=True)}


@pytest.mark.parametrize("text", [spec.text for spec in SPECS])
def test_after_millions_of_bars_the_values_are_those_of_the_last_ones(values: Ends, text: str) -> None:
    long, short = values[text]
    assert np.isfinite(short).all()
    np.testing.assert_allclose(long, short, rtol=1e-11, atol=1e-11)


def ema(values: Floats, length: int) -> Floats:
    """From the first value on."""
    out = np.full(len(values), np.nan)
    average = np.nan
    for i, value in enumerate(values.tolist()):
        if not np.isnan(value):
            average = value if np.isnan(average) else average + 2 / (length + 1) * (value - average)
        out[i] = average
    return out


def tema(bars: Floats) -> Floats:
    one = ema(bars[:, CLOSE], 30)
    two = ema(one, 30)
    return 3 * (one - two) + ema(two, 30)


def t3(bars: Floats) -> Floats:
    values = bars[:, CLOSE]
    for _ in range(3):
        one = ema(values, 5)
        values = one + 0.7 * (one - ema(one, 5))
    return values


def lagged(values: Floats) -> Floats:
    return np.concatenate([np.full(9, np.nan), values[:-9]])


def kama(bars: Floats) -> Floats:
    """As scripts have it: the average before the first one is 0."""
    close = bars[:, CLOSE]
    out, average = np.full(len(close), np.nan), 0.0
    for i in range(30, len(close)):
        path = np.abs(np.diff(close[i - 30 : i + 1])).sum()
        efficiency = abs(close[i] - close[i - 30]) / path if path else 1.0
        average += (efficiency * (2 / 3 - 2 / 31) + 2 / 31) ** 2 * (close[i] - average)
        out[i] = average
    return out


def sar(bars: Floats) -> Floats:
    """The manual's: the second close against the first gives the side, and a stop that is only touched holds."""
    high, low, close = bars[:, HIGH], bars[:, LOW], bars[:, CLOSE]
    out = np.full(len(bars), np.nan)
    up = close[1] > close[0]
    stop, extreme, factor = (low[0], high[1], 0.02) if up else (high[0], low[1], 0.02)
    for i in range(1, len(bars)):
        stop += factor * (extreme - stop)
        turns = stop > low[i] if up else stop < high[i]
        if turns:
            stop = max(high[i], extreme) if up else min(low[i], extreme)
            up, factor = not up, 0.02
            extreme = high[i] if up else low[i]
        elif i > 1 and (high[i] > extreme if up else low[i] < extreme):
            extreme, factor = high[i] if up else low[i], min(factor + 0.02, 0.2)
        before = slice(max(i - 2, 0), i)
        stop = min(stop, low[before].min()) if up else max(stop, high[before].max())
        out[i] = stop
    return out


def rma(values: Floats, length: int) -> Floats:
    """From the mean of the first `length` values on."""
    out = np.full(len(values), np.nan)
    first = int(np.flatnonzero(~np.isnan(values))[0]) + length - 1
    average = out[first] = values[first - length + 1 : first + 1].mean()
    for i in range(first + 1, len(values)):
        average = out[i] = average + (values[i] - average) / length
    return out


def true_range(bars: Floats) -> Floats:
    """That of the first bar is its own range."""
    before = np.concatenate([bars[:1, CLOSE], bars[:-1, CLOSE]])
    found: Floats = np.maximum(bars[:, HIGH], before) - np.minimum(bars[:, LOW], before)
    found[0] = bars[0, HIGH] - bars[0, LOW]
    return found


def directional(bars: Floats, side: str) -> Floats:
    """plus_di or minus_di (14): quotients of `ta.rma`, which begin with the second bar."""
    up, down = np.diff(bars[:, HIGH], prepend=np.nan), -np.diff(bars[:, LOW], prepend=np.nan)
    moved, other = (up, down) if side == "plus" else (down, up)
    ranged = true_range(bars)
    ranged[0] = np.nan
    counted = np.where(np.isnan(moved), np.nan, np.where((moved > other) & (moved > 0), moved, 0.0))
    return 100 * rma(counted, 14) / rma(ranged, 14)


def dx(bars: Floats) -> Floats:
    plus, minus = directional(bars, "plus"), directional(bars, "minus")
    moved = plus + minus
    return 100 * np.abs(plus - minus) / np.where(moved == 0, 1.0, moved)


def supertrend(bars: Floats) -> Floats:
    """The manual's: bands only come nearer, and the first one is the upper."""
    width, centre = 3 * rma(true_range(bars), 10), (bars[:, HIGH] + bars[:, LOW]) / 2
    out, rises = np.full(len(bars), np.nan), False
    upper, lower = centre + width, centre - width
    for i in range(9, len(bars)):
        if i > 9:
            before = bars[i - 1, CLOSE]
            upper[i] = upper[i] if upper[i] < upper[i - 1] or before > upper[i - 1] else upper[i - 1]
            lower[i] = lower[i] if lower[i] > lower[i - 1] or before < lower[i - 1] else lower[i - 1]
            rises = not bars[i, CLOSE] < lower[i] if rises else bool(bars[i, CLOSE] > upper[i])
        out[i] = lower[i] if rises else upper[i]
    return out


THEIRS: dict[str, tuple[Callable[[Floats], Floats], int]] = {
    "dema(30)": (lambda bars: 2 * ema(bars[:, CLOSE], 30) - ema(ema(bars[:, CLOSE], 30), 30), 171),
    "tema(30)": (tema, 241), "t3(5,0.7)": (t3, 43), "kama(30)": (kama, 291),
    "zlema(20)": (lambda bars: ema(2 * bars[:, CLOSE] - lagged(bars[:, CLOSE]), 20), 139),
    "plus_di(14)": (lambda bars: directional(bars, "plus"), 102),
    "minus_di(14)": (lambda bars: directional(bars, "minus"), 102), "dx(14)": (dx, 115),
    "adx(14)": (lambda bars: rma(dx(bars), 14), 136), "supertrend(10,3)": (supertrend, 79),
    "keltner(20,10,2)": (lambda bars: ema(bars[:, CLOSE], 20) + 2 * rma(true_range(bars), 10), 112),
}  # fmt: skip


def apart(text: str, theirs: Callable[[Floats], Floats]) -> list[NDArray[np.bool_]]:
    """Per real daily file, the bars on which both differ by half a cent or more."""
    files = every_daily().values()
    return [np.abs(compute(text, bars).reshape(len(bars), -1)[:, 0] - theirs(bars)) >= 0.005 for bars in files]


def page(name: str) -> str:
    return " ".join((DOCS / f"{name}.md").read_text(encoding="utf-8").split())


@pytest.mark.parametrize("text", list(THEIRS))
def test_both_are_the_same_to_two_decimals_from_the_bar_that_the_page_names(text: str) -> None:
    theirs, bar = THEIRS[text]
    assert max(int(np.flatnonzero(differs).max(initial=-1)) + 2 for differs in apart(text, theirs)) == bar
    assert f"the same to two decimals from bar {bar} on" in page(text.partition("(")[0])


def test_the_parabolic_stops_are_the_same_on_as_many_bars_as_the_page_says() -> None:
    differs = np.concatenate([found[1:] for found in apart("sar", sar)])
    assert f"the same to two decimals on {(~differs).sum():,} of {len(differs):,} bars" in page("sar")
