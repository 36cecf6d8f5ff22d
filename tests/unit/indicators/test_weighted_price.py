"""A price from weights by hand; the indicators built on it are held against TA-Lib."""

import numpy as np

from marketpulse.indicators.bar_columns import CLOSE, HIGH, LOW, OPEN, WIDTH
from marketpulse.indicators.weighted_price import explain_price, weighted_price


def test_a_weighted_price_takes_each_price_as_often_as_it_weighs() -> None:
    bars, out = np.zeros((1, WIDTH)), np.empty((1, 1))
    bars[0, [OPEN, HIGH, LOW, CLOSE]] = [1, 8, 2, 4]
    none = np.zeros((1, 0))
    weighted_price((1.0, 1.0, 2.0, 4.0), none, np.zeros(1, np.int64), bars, np.zeros(1, np.int32), none[0], out)
    assert out[0, 0] == 22 / 8
    explained = explain_price((1.0, 0.0, 2.0, 0.0), "price", none, bars[0], 0, ())
    assert explained.lines == (f"price = (high 8.0 + close * 2 4.0) / 3 = {16 / 3!r}",)
