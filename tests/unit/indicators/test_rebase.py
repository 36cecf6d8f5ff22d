import numpy as np
import pytest

from marketpulse.indicators.catalogue import CATALOGUE, Indicator, Spec
from marketpulse.indicators.rebase import explain_rebased, in_first_units, in_units_of_now, update_rebased


@pytest.mark.parametrize("indicator", list(CATALOGUE.values()), ids=list(CATALOGUE))
def test_the_words_have_the_bits_of_the_values(indicator: Indicator) -> None:
    spec, n = Spec(indicator, indicator.defaults()), 300
    rng = np.random.default_rng(3)
    close = 100 * np.exp(np.cumsum(rng.normal(0, 0.02, n)))
    raw = np.column_stack([close, close * 1.01, close * 0.98, close, *(100 * rng.random((6, n)))])
    factor, begins = np.where(np.arange(n) < 299, 1.0, 3.0), np.arange(n) == 299
    state, out = spec.fresh_state(1), np.empty((n, len(spec.columns)))
    zeros = np.zeros(n, np.int64)

    def advance(part: slice) -> None:
        session = np.zeros(n, np.int32)[part]
        update_rebased(spec, state, zeros[part], raw[part], session, factor[part], begins[part], out[part])

    advance(slice(0, 299))
    explained = explain_rebased(spec, state[0], raw[299], 0, 3.0, begins=True)
    advance(slice(299, 300))
    assert np.array(explained.values).tobytes() == out[299].tobytes()
    assert explained.lines


def test_prices_grow_and_sizes_shrink_and_their_product_stays() -> None:
    bars = np.arange(1.0, 11.0).reshape(1, 10)
    assert in_first_units(bars, np.array([4.0]))[0].tolist() == [4, 8, 12, 16, 1.25, 6, 28, 2, 36, 2.5]


def test_values_come_back_by_their_degrees() -> None:
    values = np.array([[8.0, 8.0, 8.0, 8.0]])
    assert in_units_of_now(values, np.array([2.0]), (1, 2, 0, -1)).tolist() == [[4, 2, 8, 16]]
    assert np.isnan(in_units_of_now(np.array([[1e308]]), np.array([4.0]), (-1,))).all()
