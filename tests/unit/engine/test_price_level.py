from itertools import pairwise

import numpy as np
import pytest

from marketpulse.engine.layout import QUALITY
from marketpulse.engine.price_level import BELIEVED, judge_price, relative_move, unit_or
from marketpulse.model.quality import PRICE_BAND, PRICE_UNIT


def judged(*prices: float, warm: float = 1.0) -> list[int]:
    state = np.zeros(1, QUALITY)
    return [judge_price(state, 0, price, 0.001, 0.05, 30.0, 3.0, warm) for price in prices]


def test_a_rise_and_the_fall_back_are_the_same_move() -> None:
    assert relative_move(125.0, 100.0) == relative_move(100.0, 125.0) == 0.25


GOOD, BAND, UNIT = BELIEVED, PRICE_BAND, PRICE_UNIT


@pytest.mark.parametrize(("prices", "last_judgements"), [
    pytest.param([100, 101, 150, 101], [GOOD, GOOD, BAND, GOOD], id="one outside the band, and the level stays"),
    pytest.param([100, 10_100, 1.01, 100_000, 100], [GOOD, UNIT, UNIT, UNIT, GOOD], id="other units"),
    pytest.param([100, 200, 201, 200, 202], [GOOD, BAND, BAND, GOOD, GOOD], id="the confirming record is believed"),
    pytest.param([100, 200, 201, 9, 200, 201, 202], [BAND, BAND, GOOD], id="a bad print between begins the count anew"),
])  # fmt: skip
def test_a_price_is_judged_by_the_level(prices: list[float], last_judgements: list[int]) -> None:
    assert judged(*prices)[-len(last_judgements) :] == last_judgements


def test_the_first_prices_are_believed_whatever_they_are() -> None:
    assert judged(100, 200, 50, 400, 410, 4_000, warm=4) == [BELIEVED] * 5 + [PRICE_BAND]
    assert unit_or(100.0, 700.0, PRICE_BAND) == PRICE_BAND


def test_a_price_that_nothing_agrees_on_is_its_level_after_four_times_as_many() -> None:
    wild = judged(100, *(float(10 ** (i % 2 + 3) * (i + 1) ** 3) for i in range(12)))
    assert wild.index(BELIEVED, 1) <= 12


def test_one_bad_print_hardly_moves_the_scale() -> None:
    state = np.zeros(1, QUALITY)

    def scale_after(*prices: float) -> float:
        for price in prices:
            judge_price(state, 0, price, 0.001, 0.05, 30.0, 3.0, 1.0)
        return float(state["scale"][0])

    before = scale_after(*(100.0 + 0.1 * (i % 2) for i in range(200)))
    assert scale_after(1e6) == before
    assert scale_after(103.0) == before * 1.02


def test_the_scale_comes_to_the_median_of_the_moves() -> None:
    state, random = np.zeros(1, QUALITY), np.random.default_rng(3)
    prices = 100.0 * np.exp(np.cumsum(0.001 * random.standard_t(3, 5_000)))
    for price in prices:
        judge_price(state, 0, float(price), 0.02, 0.5, 30.0, 3.0, 1.0)
    moves = [float(relative_move(after, before)) for before, after in pairwise([100.0, *prices])]
    assert abs(float(state["scale"][0]) / np.median(moves) - 1) < 0.35
