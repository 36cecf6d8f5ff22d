from itertools import pairwise

import numpy as np
import pytest

from marketpulse.engine.layout import QUALITY
from marketpulse.engine.price_level import BELIEVED, judge_price, relative_move, unit_or
from marketpulse.model.quality import PRICE_BAND, PRICE_UNIT


def judge(state: np.ndarray, *prices: float, scale: float = 0.001, most: float = 0.05, warm: float = 1.0) -> list[int]:
    return [judge_price(state, 0, price, scale, most, 30.0, 3.0, warm) for price in prices]


def judged(*prices: float, warm: float = 1.0) -> list[int]:
    return judge(np.zeros(1, QUALITY), *prices, warm=warm)


GOOD, BAND, UNIT = BELIEVED, PRICE_BAND, PRICE_UNIT


@pytest.mark.parametrize(("prices", "last_judgements"), [
    pytest.param([100, 101, 150, 101], [GOOD, GOOD, BAND, GOOD], id="one outside the band, and the level stays"),
    pytest.param([100, 10_100, 1.01, 100_000, 100], [GOOD, UNIT, UNIT, UNIT, GOOD], id="other units"),
    pytest.param([100, 200, 201, 200, 202], [GOOD, BAND, BAND, GOOD, GOOD], id="the confirming record is believed"),
    pytest.param([100, 200, 201, 9, 200, 201, 202], [BAND, BAND, GOOD], id="a bad print between begins the count anew"),
])  # fmt: skip
def test_a_price_is_judged_by_the_level(prices: list[float], last_judgements: list[int]) -> None:
    assert judged(*prices)[-len(last_judgements) :] == last_judgements


def test_a_rise_and_its_fall_are_one_move_and_the_first_prices_and_those_that_go_on_are_believed() -> None:
    assert relative_move(125.0, 100.0) == relative_move(100.0, 125.0) == 0.25
    assert judged(100, 200, 50, 400, 410, 4_000, warm=4) == [BELIEVED] * 5 + [PRICE_BAND]
    assert unit_or(100.0, 700.0, PRICE_BAND) == PRICE_BAND
    wild = judged(100, *(float(10 ** (i % 2 + 3) * (i + 1) ** 3) for i in range(12)))
    assert wild.index(BELIEVED, 1) <= 12, "nothing agrees on it: it is its level after four times as many"


def test_one_bad_print_hardly_moves_the_scale_which_comes_to_the_median_of_the_moves() -> None:
    state = np.zeros(1, QUALITY)
    judge(state, *(100.0 + 0.1 * (i % 2) for i in range(200)))
    before = float(state["scale"][0])
    for price, after in ((1e6, before), (103.0, before * 1.02)):
        judge(state, price)
        assert state["scale"][0] == after
    state, random = np.zeros(1, QUALITY), np.random.default_rng(3)
    prices = [float(price) for price in 100.0 * np.exp(np.cumsum(0.001 * random.standard_t(3, 5_000)))]
    judge(state, *prices, scale=0.02, most=0.5)
    moves = [float(relative_move(after, before)) for before, after in pairwise([100.0, *prices])]
    assert abs(float(state["scale"][0]) / np.median(moves) - 1) < 0.35
