"""Every indicator against its oracle on all real daily files, and against sums by hand."""

import json
import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from examples import examples
from marketpulse.indicators.bar_columns import NOTIONAL
from marketpulse.indicators.catalogue import CATALOGUE, parse_indicators
from marketpulse.indicators.declaration import Spec
from unit.indicators.contract import DATA, Floats, check, closes, compute, every_daily
from unit.indicators.oracles import ORACLES

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


# in the order of closes, each one's highs and lows
STAIRS = {"high": [6, 8, 7, 10], "low": [4, 6, 6, 8]}
# highs rise by 2, 3, 1; lows fall by 1, 2, 4: up, up and down count 2, 3 and 4; true ranges 6, 11 and 16
MOVES = {"high": [12, 14, 17, 18], "low": [9, 8, 6, 2]}
# places in the range: +1, -1, +0.5, none; flows 3 -2 4 0
FLOWS = {"high": [8, 9, 10, 7], "low": [4, 5, 6, 7], "volume": [3, 2, 8, 50]}
FELL_BACK = {"high": [9, 6, 7], "low": [5, 2, 3]}
BAR = {"high": 8.5, "low": 4.0}
WIDE = {"high": math.e, "low": [1 / math.e, 1]}
PRESSURES = {"high": [10, 13, 11, 13], "low": [10, 9, 9, 9]}
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
KAMA = 2 + (7 - 2) * (3 / 7 * (2 / 3 - 2 / 31) + 2 / 31) ** 2
PRICES = [7.0, 1e13 / 3, 1e-8 / 3, 0.1]
BY_HAND = [
    Row("ad", [8, 5, 9, 7], [3, 1, 5, 5], **FLOWS),
    # the line 6 12 0; averages of two 6 10 10/3, of three 6 9 4.5
    Row("adosc(2,3)", [8, 8, 4], [10 / 3 - 4.5], 1e-14, high=8, low=4, volume=[6, 6, 12]),
    # dx 100, 100 / 3 and, with the sums 2 / 2 + 3 and 4 / 2, 100 / 3 again
    Row("adx(2)", [10] * 5, [200 / 3, (200 / 3 + 100 / 3) / 2], 1e-15, high=[12, 14, 17, 18, 21], low=[9, 8, 6, 2, 2]),
    # centre on the newest, width 2: the older one weighs exp(-1 / 8)
    Row("alma(2,1,1)", [1, 2], [(0.8824969025845955 + 2) / (0.8824969025845955 + 1)], 1e-15),
    # ema(2) moves by 2/3: 2, 4, 6 after the seed (1 + 3) / 2 = 2; ema(3) by 1/2: 3, 4 after the seed 3
    Row("apo(2,3)", [1, 3, 5, 7], [1.0, 1.0], 1e-14),
    Row("ppo(2,3)", [1, 3, 5, 7], [100 / 3, 20.0], 1e-14),
    Row("aroon(4)", [5] * 5, [[75, 25]], high=[9, 9, 8, 7, 6], low=[4, 3, 4, 3, 4]),  # the newest of equal extremes
    Row("aroonosc(4)", [5, 9, 6, 4, 7], [25 - 75]),
    # true ranges: - 3 1 4; the first bar's 98 counts for nothing
    Row("atr(2)", [10] * 4, [2.0, 3.0], high=[99, 12, 11, 14], low=[1, 9, 10, 13]),
    Row("atr(1)", [10, 14, 9], [4.0, 5.0]),  # the gap to the close before counts
    Row("avgprice", [4], [5.625], open=6, **BAR),
    Row("bop", [6, 4, 5], [0.25, -1, 0], open=[5, 8, 5], high=[8, 8, 7], low=[4, 4, 3]),
    # typical 2 4 9: mean 5, distances 3 1 4, their mean 8 / 3
    Row("cci(3)", [1, 4, 8], [4 / (0.015 * 8 / 3)], 1e-14, high=[4, 5, 13], low=[1, 3, 6]),
    # distances -1 0 1 and -1 -1 2: products 3, squares 2 and 6; then the same in another order
    Row("close_volume_correl(3)", [1, 2, 3, 1], [3 / math.sqrt(12)] * 2, 1e-14, volume=[1, 1, 4, 1]),
    Row("cmf(2)", [8, 5, 9, 7], [0.2, 0.2, 4 / 58], 1e-15, **FLOWS),  # flows 3 -2 4 0 of volumes 3 2 8 50
    # changes +2 -1 +3: gains 1 then (1 + 3) / 2 = 2, losses 0.5 then 0.25
    Row("cmo(2)", [10, 12, 11, 14], [50 / 1.5, 175 / 2.25], 1e-15),
    Row("rsi(2)", [10, 12, 11, 14], [100 / 1.5, 200 / 2.25], 1e-15),
    # ema(2) 2 4 8 with k 2/3 from the second close on; its own average 3, then 3 + (8 - 3) * 2/3
    Row("dema(2)", [1, 3, 5, 10], [2 * 4 - 3, 2 * 8 - (3 + 10 / 3)], 1e-15),
    # the same, and the average of the second one 14/3
    Row("tema(2)", [1, 3, 5, 10], [3 * (8 - 19 / 3) + 14 / 3], 1e-15),
    Row("donchian(2)", [5] * 3, [[9, 5.5, 2], [7, 4.5, 2]], **FELL_BACK),  # its own bar counts
    Row("dpo(4)", [1, 2, 6, 7, 6], [-3, -3.25]),  # three bars back less the mean of four: 1 - 4, 2 - 5.25
    Row("dpo(4)", 1e13 + 4 * np.arange(40.0), [-6.0] * 37),  # huge prices, exact to the last digit
    Row("drawdown(3)", [8, 4, 6, 3, 2, 5], [-0.25, -0.5, (2 - 6) / 6, 0]),
    Row("dx(2)", [10] * 4, [100, 100 * 2 / 6], 1e-15, **MOVES),  # the sums of moves 4 and 0, then 2 and 4
    Row("ema(3)", [1, 2, 6, 7, 1], [3, 5, 3]),  # seeded with the mean of the first closes, k = 1/2
    # middles 6 7 6.5 9: eases 1 * 4 / 8, -0.5 * 1 / 2, 2.5 * 2 / 10, in ten thousandths
    Row("eom(2)", [5, 7, 6, 9], [1250, 1250], high=[8, 9, 7, 10], low=[4, 5, 6, 8], volume=[1, 8, 2, 10]),
    # null exactly while a bar without volume is in the window
    Row("eom(3)", np.arange(1, 13), [1e4, 1e4, NAN, NAN, NAN, *[1e4] * 4], **WITH_A_GAP),
    # forces 6 -4 3; the average of two begins at 1 and moves by 2/3
    Row("force_index(2)", [10, 12, 11, 14], [1, 1 + 4 / 3], 1e-15, volume=[9, 3, 4, 1]),
    # ranges e² and e, the second one crossed from the low to the high
    Row("garman_klass(1)", [1, math.e], np.sqrt([2, 0.5 - (2 * math.log(2) - 1)]), 1e-15, open=1, **WIDE),
    # wma(2) 5/3 14/3, wma(4) 30/10 and 40/10 from the fourth close on: quick 22/3 - 3, 28/3 - 4; wma(2) of these
    Row("hma(4)", [1, 2, 3, 4, 5], [(2 * (28 / 3 - 4) + (22 / 3 - 3)) / 3], 1e-15),
    Row("ichimoku(1,2,3)", [5] * 3, [[7, NAN, NAN, NAN], [4, 5.5, 4.75, NAN], [5, 4.5, 4.75, 5.5]], **FELL_BACK),
    # efficiency |7 - 4| / (2 + 5) from the second close, 2, on; then |2 - 2| / (5 + 5), so the slow pace
    Row("kama(2)", [4, 2, 7, 2], [KAMA, KAMA + (2 - KAMA) * (2 / 31) ** 2], 1e-15),
    # ema(2) 11, then 2/3 of the way to 14; true ranges 2 and 2
    Row("keltner(2,1,2)", [10, 12, 14], [[15, 11, 7], [17, 13, 9]], 1e-15),
    # distances -1 -1 -1 3 from 2: mean square 3, mean fourth power 21: (5 * 21 / 9 - 9) * 3 / 2
    Row("kurtosis(4)", [1, 1, 1, 5], [4], 1e-14),
    # the lines through 1 2 6 and 2 6 4: 3 in the middle and 5/2 a bar, then 4 and 1
    Row("linearreg(3)", [1, 2, 6, 4], [5.5, 5], 1e-15),
    Row("linearreg_intercept(3)", [1, 2, 6, 4], [0.5, 3], 1e-15),
    Row("linearreg_slope(3)", [1, 2, 6, 4], [2.5, 1], 1e-15),
    Row("tsf(3)", [1, 2, 6, 4], [8, 6], 1e-15),
    Row("linearreg_angle(2)", [5, 6, 6, 5, 5 + 3**0.5], [45, 0, -45, 60], 1e-15),
    # fast 2 (k 2/3), slow 3 (k 1/2): seeds on the third bar are (2 + 6) / 2 = 4 and (1 + 2 + 6) / 3 = 3
    Row("macd(2,3,1)", [1, 2, 6, 7], [[1.0, 1.0, 0.0], [6.0 - 5.0, 1.0, 0.0]], 1e-15),
    Row("max(3)", [4, 9, 2, 3, 5, 1], [9, 9, 5, 5]),
    Row("max(1)", PRICES, PRICES),
    Row("medprice", [4], [6.25], **BAR),
    # flows: in 12 * 3 = 36, out 10 * 2 = 20, none, in 15 * 4 = 60
    Row("mfi(2)", [10, 12, 10, 10, 15], [100 * 36 / 56, 0, 100], 1e-15, volume=[9, 3, 2, 7, 4]),
    Row("midpoint(3)", [1, 5, 2, 3, 10], [3, 3.5, 6]),
    # where the sum exceeds a double there is none, and then there is again
    Row("midpoint(2)", [1e308, 1.5e308, 3.0, 5.0], [NAN, (1.5e308 + 3) / 2, 4.0]),
    Row("midprice(2)", [5] * 4, [5.5, 4.5, 5.5], high=[9, 6, 7, 8], low=[5, 2, 3, 4]),
    Row("min(3)", [4, 9, 2, 3, 5, 1], [2, 2, 2, 1]),
    Row("min(1)", PRICES, PRICES),
    # each sum is halved first
    Row("minus_di(2)", [10] * 4, [0, 100 * 4 / 23], 1e-15, **MOVES),
    Row("plus_di(2)", [10] * 4, [100 * 4 / 14, 100 * 2 / 23], 1e-15, **MOVES),
    Row("minus_dm(2)", [10] * 4, [0, 0, 0 + 4], **MOVES),
    Row("plus_dm(2)", [10] * 4, [2, 1 + 3, 2], **MOVES),
    # neither side counts where both went as far
    Row("minus_dm(1)", [10, 10], [0.0], high=[12, 14], low=[9, 7]),
    Row("plus_dm(1)", [10, 10], [0.0], high=[12, 14], low=[9, 7]),
    Row("mom(2)", [1, 5, 4, 9, 2], [3, 4, -2]),
    Row("mom(3)", 1e13 + np.arange(50.0) ** 2, 6 * np.arange(3, 50) - 9.0),  # huge prices, exact to the last digit
    # true ranges 4 6, their mean 5 of a close of 20; then (5 + 7) / 2 = 6 of 24
    Row("natr(2)", [16, 20, 20, 24], [25, 25], high=[16, 20, 22, 26], low=[16, 18, 16, 19]),
    Row("obv", [10, 11, 11, 9, 12], [5, 8, 8, 4, 5], volume=[5, 3, 8, 4, 1]),
    Row("obv", [3, 4, 2, 5], [0, 0, 0, 0], volume=0),
    # ranges e, e³ and none: 1, 9 and 0 over 4 ln 2
    Row("parkinson(2)", [1] * 3, np.sqrt(np.array([5, 4.5]) / (4 * math.log(2))), 1e-15, high=[math.e, math.e**3, 1]),
    Row("percent_rank(4)", [4, 1, 3, 2, 3, 0, 9], [75, 0, 100]),
    Row("realized_volatility(2)", [1, math.e, 1 / math.e**3, 1 / math.e**3], [math.sqrt(1 + 16), 4.0], 1e-15),
    Row("rma(3)", [1, 2, 6, 6, 10], [3, 4, 6]),
    Row("roc(1)", [1, 4, 2, 2.5], [300.0, -50.0, 25.0]),
    Row("rocp(1)", [1, 4, 2, 2.5], [3.0, -0.5, 0.25]),
    Row("rocr(1)", [1, 4, 2, 2.5], [4.0, 0.5, 1.25]),
    # up from the low 8 towards the high 14: 8 + 0.5 * 6 = 11, held down to the low before, 10, which is reached:
    # the stop jumps to the extreme 14 and falls by half of the way to 9, held up to the high before, 13
    Row("sar(0.5,0.5)", [9, 12, 10, 9], [8, 14, 14], high=[10, 14, 13, 12], low=[8, 10, 9, 8]),
    # it begins down only where the low fell further than the high rose: down with the high before as its stop; up
    # with the low before; up too where both are equal, and turned at once
    Row("sar", [10, 10], [10], high=[10, 9.5], low=[9, 8]),
    Row("sar", [10, 10], [9], high=[10, 12], low=[9, 9.5]),
    Row("sar", [10, 10], [11], high=[10, 11], low=[9, 8]),
    # distances -1 -1 2 from 1: squares 6, cubes 6: sqrt(3) (6 / 3) / (6 / 3)^1.5 sqrt(2)
    Row("skew(3)", [0.5, 0.5, 2], [math.sqrt(3)], 1e-15),
    Row("skew(3)", [1, 2, 3], [0], absolute=1e-15),
    Row("sma(3)", [1, 2, 6, 4, 5], [3, 4, 5]),
    Row("stddev(2)", [2, 8, 4, 4], [3, 2, 0]),
    Row("var(2)", [2, 8, 4, 4], [9, 4, 0]),
    # windows of two: 4..8 at 7, 6..8 at 6, 6..10 at 9: raw 75, 0, 75; its means of two 37.5, 37.5
    Row("stoch(2,2,2)", [5, 7, 6, 9], [[37.5, 37.5]], **STAIRS),
    Row("stochf(2,2)", [5, 7, 6, 9], [[0, 37.5], [75, 37.5]], **STAIRS),
    Row("willr(2)", [5, 7, 6, 9], [-25, -100, -25], **STAIRS),
    # changes +2 -1 +3 -1: rsi(2) = 66.67, 200 / 2.25 = 88.89, gain 1, loss 0.625: 61.54
    Row("stochrsi(2,2,1)", [10, 12, 11, 14, 13], [[100, 100], [0, 0]]),
    # bands 11 ± 1, 12 ± 1, 17 ± 5, 18 ± 1, 9 ± 9: the upper stays at 12 until 17 has passed it, then the lower
    # rises from 12 to 17 until 9 has passed that; the upper one is 18 by then
    Row("supertrend(1,1)", [10, 11, 12, 17, 18, 9], [[12, -1], [12, -1], [12, 1], [17, 1], [18, -1]]),
    # inside the bar, down from the close before, up from it
    Row("trange", [10, 11, 6, 9], [4, 6, 3], high=[11, 12, 7, 9], low=[9, 8, 5, 8]),
    Row("trange", 1e13 + np.arange(30.0) ** 2, 2 * np.arange(1, 30) - 1.0),  # huge prices, exact to the last digit
    Row("trima(4)", [6, 3, 0, 9, 12], [21 / 6, 33 / 6], 1e-15),  # weights 1 2 2 1, then 1 2 3 2 1
    Row("trima(5)", [6, 3, 0, 9, 12], [42 / 9], 1e-15),
    Row("trix(1)", [4, 8, 6], [100, -25]),  # the rate of change of averages of one
    # averages of two of 1 3 5 7 …: 2 4 6 …, of these 3 5 7 …, of these 4 6 8 …
    Row("trix(2)", [1, 3, 5, 7, 9, 11], [50, 100 / 3], 1e-14),
    # changes 3 -1 4 -2: averages of two 1 3 -1/3, of two 2 4/9; sizes 3 1 4 2: 2 10/3 22/9, 8/3 68/27
    Row("tsi(2,2)", [10, 13, 12, 16, 14], [75, 100 * (4 / 9) / (68 / 27)], 1e-14),
    Row("typprice", [4], [5.5], **BAR),
    # pressures 2 1 4 of ranges 4 2 4: shares 1 of 1, 5/6 of 2, 7/10 of 3
    Row("ultosc(1,2,3)", [10, 11, 10, 13], [100 * (4 + 2 * 5 / 6 + 0.7) / 7], 1e-14, **PRESSURES),
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
    Row("wclprice", [4], [5.125], **BAR),
    Row("wma(3)", [1, 2, 6, 4], [23 / 6, 26 / 6], 1e-15),  # (1 + 2 * 2 + 3 * 6) / 6, (2 + 2 * 6 + 3 * 4) / 6
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
