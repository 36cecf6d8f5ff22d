"""The logarithm of a price's move, against decimal arithmetic with 50 digits."""

from decimal import Decimal, localcontext

import pytest
from hypothesis import given, settings
from hypothesis.strategies import floats

from marketpulse.indicators.log_return import log_return

FIRST_CALL_COMPILES = settings(deadline=None)
PRICES = floats(1e-100, 1e100)


def exact(previous: float, price: float) -> Decimal:
    with localcontext() as context:
        context.prec = 50
        return (Decimal(price) / Decimal(previous)).ln()


def assert_right(previous: float, price: float) -> None:
    expected = exact(previous, price)
    error = abs(Decimal(log_return(previous, price)) - expected)
    assert error <= abs(expected) * Decimal("4e-16")


@FIRST_CALL_COMPILES
@given(previous=PRICES, price=PRICES)
def test_any_move_is_right_to_the_last_bits(previous: float, price: float) -> None:
    assert_right(previous, price)


@FIRST_CALL_COMPILES
@given(previous=floats(1e-8, 1e13), factor=floats(0.65, 1.55))
def test_moves_around_the_square_root_of_two_are_right_too(previous: float, factor: float) -> None:
    assert_right(previous, previous * factor)


@FIRST_CALL_COMPILES
@given(previous=floats(1e-8, 1e13), move=floats(-1e-6, 1e-6))
def test_small_moves_keep_all_their_digits(previous: float, move: float) -> None:
    assert_right(previous, previous + previous * move)


@pytest.mark.parametrize("price", [1e-100, 1e-8, 0.1, 1.0, 1e13, 1e100])
def test_no_move_is_exactly_zero(price: float) -> None:
    assert log_return(price, price) == 0.0


@FIRST_CALL_COMPILES
@given(previous=PRICES, price=PRICES)
def test_a_move_back_is_the_move_with_its_sign_turned(previous: float, price: float) -> None:
    assert log_return(previous, price) == -log_return(price, previous)
