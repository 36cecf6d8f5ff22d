"""What a value was some bars ago, by hand."""

import numpy as np
import pytest

from marketpulse.indicators.delay import DELAY_HEAD, delay_push


@pytest.mark.parametrize("length", [1, 2, 7])
def test_a_delayed_value_is_the_one_of_so_many_pushes_ago(length: int) -> None:
    state = np.full((3, DELAY_HEAD + length + 2), -7.0)
    slots = (1, slice(1, 1 + DELAY_HEAD + length))
    state[slots] = 0.0
    for i in range(60):
        known, past = delay_push(state, 1, 1, length, 100.0 + i)
        assert known == (i >= length)
        assert not known or past == 100.0 + i - length
    state[slots] = -7.0
    assert (state == -7.0).all()
