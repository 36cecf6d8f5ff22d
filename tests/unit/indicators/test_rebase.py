import numpy as np
import pytest

from marketpulse.indicators.catalogue import CATALOGUE, Indicator, Spec
from marketpulse.indicators.rebase import explain_rebased, in_first_units, in_units_of_now, update_rebased
from split_rows import Floats


@pytest.mark.parametrize("indicator", list(CATALOGUE.values()), ids=list(CATALOGUE))
def test_the_words_have_the_bits_of_the_values(indicator: Indicator, daily: Floats) -> None:
    spec, raw, n = Spec(indicator, indicator.defaults()), daily[:200].copy(), 200
    raw[:, -4:] = 1.5
    factor = np.where(np.arange(n) < 150, 1.0, 3.0)
    begins = np.arange(n) == 150
    state, out = spec.fresh_state(1), np.empty((n, len(spec.columns)))
    zeros, session = np.zeros(n, np.int64), np.zeros(n, np.int32)
    for i in (*range(0, 150, 150), 150, 151, 199):
        end = {0: 150, 150: 151, 151: 199, 199: 200}[i]
        if i >= 150:
            explained = explain_rebased(spec, state[0], raw[i], 0, float(factor[i]), begins=bool(begins[i]))
        part = slice(i, end)
        update_rebased(
            spec, state, zeros[part], raw[part], session[part], factor[part], begins[part], out[part]
        )
        if i >= 150:
            assert np.array(explained.values).tobytes() == out[i].tobytes()
            assert explained.lines


def test_prices_grow_and_sizes_shrink_and_their_product_stays() -> None:
    bars = np.arange(1.0, 11.0).reshape(1, 10)
    assert in_first_units(bars, np.array([4.0]))[0].tolist() == [4, 8, 12, 16, 1.25, 6, 28, 2, 36, 2.5]


def test_values_come_back_by_their_degrees() -> None:
    values = np.array([[8.0, 8.0, 8.0, 8.0]])
    assert in_units_of_now(values, np.array([2.0]), (1, 2, 0, -1)).tolist() == [[4, 2, 8, 16]]
    assert np.isnan(in_units_of_now(np.array([[1e308]]), np.array([4.0]), (-1,))).all()
