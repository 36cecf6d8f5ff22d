"""The arctangent against known angles and the system's."""

import math

import pytest
from hypothesis import given
from hypothesis.strategies import floats, one_of

from marketpulse.indicators.arctangent import arctangent


@given(tangent=one_of(floats(-10, 10), floats(-1e300, 1e300)))
def test_the_arctangent_is_the_systems_to_four_roundings(tangent: float) -> None:
    assert arctangent(tangent) == pytest.approx(math.atan(tangent), rel=4 * 2**-53, abs=2**-1000)


@pytest.mark.parametrize(("tangent", "degrees"), [(0.0, 0), (1.0, 45), (-1.0, -45), (math.sqrt(3), 60), (math.inf, 90)])
def test_the_arctangent_of_known_angles(tangent: float, degrees: int) -> None:
    assert math.degrees(arctangent(tangent)) == pytest.approx(degrees, rel=1e-15)


def test_the_arctangent_of_no_number_is_none() -> None:
    assert math.isnan(arctangent(math.nan))
