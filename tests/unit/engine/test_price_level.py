import numpy as np

from marketpulse.engine.layout import QUALITY
from marketpulse.engine.price_level import BELIEVED, judge_price, relative_move, unit_or
from marketpulse.model.quality import PRICE_BAND, PRICE_UNIT


def judged(*prices: float, confirm: float = 3.0, warm: float = 1.0) -> list[int]:
    state = np.zeros(1, QUALITY)
    return [judge_price(state, 0, price, 0.001, 0.05, 30.0, confirm, warm) for price in prices]


def test_a_rise_and_the_fall_back_are_the_same_move() -> None:
    assert relative_move(125.0, 100.0) == relative_move(100.0, 125.0) == 0.25


def test_a_price_outside_the_band_is_doubted_and_the_level_stays() -> None:
    assert judged(100, 101, 150, 101) == [BELIEVED, BELIEVED, PRICE_BAND, BELIEVED]


def test_the_first_prices_are_believed_whatever_they_are() -> None:
    assert judged(100, 200, 50, 400, 410, 4_000, warm=4) == [BELIEVED] * 5 + [PRICE_BAND]


def test_a_hundredfold_and_a_hundredth_are_another_unit() -> None:
    assert judged(100, 10_100, 1.01, 100_000, 100) == [BELIEVED, PRICE_UNIT, PRICE_UNIT, PRICE_UNIT, BELIEVED]
    assert unit_or(100.0, 700.0, PRICE_BAND) == PRICE_BAND


def test_a_level_that_stays_is_believed_with_the_confirming_record() -> None:
    assert judged(100, 200, 201, 200, 202) == [BELIEVED, PRICE_BAND, PRICE_BAND, BELIEVED, BELIEVED]


def test_a_bad_print_between_begins_the_count_anew() -> None:
    assert judged(100, 200, 201, 9, 200, 201, 202)[-3:] == [PRICE_BAND, PRICE_BAND, BELIEVED]


def test_a_price_that_nothing_agrees_on_is_its_level_after_four_times_as_many() -> None:
    wild = judged(100, *(float(10 ** (i % 2 + 3) * (i + 1) ** 3) for i in range(12)))
    assert wild.index(BELIEVED, 1) <= 12


def test_one_bad_print_hardly_moves_the_scale() -> None:
    state = np.zeros(1, QUALITY)
    for i in range(200):
        judge_price(state, 0, 100.0 + 0.1 * (i % 2), 0.001, 0.05, 30.0, 3.0, 1.0)
    before = float(state["scale"][0])
    judge_price(state, 0, 1e6, 0.001, 0.05, 30.0, 3.0, 1.0)
    assert state["scale"][0] == before
    judge_price(state, 0, 103.0, 0.001, 0.05, 30.0, 3.0, 1.0)
    assert state["scale"][0] == before * 1.02


def test_the_scale_comes_to_the_median_of_the_moves() -> None:
    state, random = np.zeros(1, QUALITY), np.random.default_rng(3)
    price, moves = 100.0, []
    for _ in range(5_000):
        after = price * float(np.exp(0.001 * random.standard_t(3)))
        moves.append(float(relative_move(after, price)))
        judge_price(state, 0, after, 0.02, 0.5, 30.0, 3.0, 1.0)
        price = after
    assert abs(float(state["scale"][0]) / np.median(moves) - 1) < 0.35
