"""Where equality ends, by hand and against the place where TA-Lib's money flow sees a direction."""

import numpy as np
import pytest
import talib

from marketpulse.indicators.tie import negligible, tied


@pytest.mark.parametrize("price", [1e-8, 1.0, 100.0, 1e13])
def test_values_are_tied_as_in_talib(price: float) -> None:
    for factor in (1.0, 1 + 1e-15, 1 + 1.8e-14, 1 + 2.2e-14, 1 + 1e-12, 2.0):
        typical = np.array([2 * price, price, price * factor])
        index = talib.MFI(typical, typical, typical, np.ones(3), 2)
        assert tied(price, price * factor) == (index[2] == 0)


def test_only_nothing_is_negligible_beside_nothing() -> None:
    assert negligible(0.0, 0.0)
    assert not negligible(5e-324, 0.0)
