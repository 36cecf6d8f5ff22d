"""A declaration gives names, ranges and notation."""

import dataclasses

import numpy as np
import pytest

from marketpulse.errors import ParameterError
from marketpulse.indicators.catalogue import CATALOGUE
from marketpulse.indicators.declaration import Parameter, Spec, all_columns, identifier, number


@pytest.mark.parametrize(
    ("value", "text", "inside_a_name"),
    [
        (20.0, "20", "20"),
        (2.5, "2.5", "2p5"),
        (0.015, "0.015", "0p015"),
        (1e-5, "0.00001", "0p00001"),
        (-1.5, "-1.5", "m1p5"),
        (1e7, "10000000", "10000000"),
        (0.1 + 0.2, "0.30000000000000004", "0p30000000000000004"),
    ],
)
def test_numbers_are_written_without_exponent_and_lose_nothing(value: float, text: str, inside_a_name: str) -> None:
    assert number(value) == text
    assert float(text) == value
    assert identifier(value) == inside_a_name


def test_column_names_are_those_of_the_contract() -> None:
    specs = [
        Spec(CATALOGUE["sma"], (20.0,)),
        Spec(CATALOGUE["macd"], (12.0, 26.0, 9.0)),
        Spec(CATALOGUE["bbands"], (20.0, 2.0)),
        Spec(CATALOGUE["bbands"], (20.0, 2.5)),
        Spec(CATALOGUE["vwap"], ()),
    ]
    assert all_columns(specs) == [
        "sma_20",
        "macd_12_26_9",
        "macd_12_26_9_signal",
        "macd_12_26_9_hist",
        "bbands_20_2_upper",
        "bbands_20_2_middle",
        "bbands_20_2_lower",
        "bbands_20_2p5_upper",
        "bbands_20_2p5_middle",
        "bbands_20_2p5_lower",
        "vwap",
    ]
    assert [spec.text for spec in specs] == ["sma(20)", "macd(12,26,9)", "bbands(20,2)", "bbands(20,2.5)", "vwap"]


@pytest.mark.parametrize(
    ("name", "parameters", "message"),
    [
        ("sma", (0.0,), "sma: period must be from 1 to 10000, found 0"),
        ("sma", (10_001.0,), "sma: period must be from 1 to 10000, found 10001"),
        ("sma", (2.5,), "sma: period must be a whole number, found 2.5"),
        ("sma", (float("nan"),), "sma: period must be a whole number, found nan"),
        ("sma", (), "sma: takes 1 parameters, found 0"),
        ("bbands", (20.0, float("inf")), "bbands: deviations must be from 0 to 100, found inf"),
        ("macd", (26.0, 12.0, 9.0), "macd: fast must be below slow, found 26 and 12"),
    ],
)
def test_a_spec_outside_the_declared_range_cannot_be_made(
    name: str, parameters: tuple[float, ...], message: str
) -> None:
    with pytest.raises(ParameterError) as caught:
        Spec(CATALOGUE[name], parameters)
    assert str(caught.value) == message


def test_a_nan_for_a_number_is_refused_too() -> None:
    assert Parameter("factor", 1.0, "float", 0.0, 2.0).fault(float("nan")) is not None


def test_a_fresh_state_is_all_zeros_one_row_a_series() -> None:
    state = Spec(CATALOGUE["sma"], (20.0,)).fresh_state(3)
    assert state.shape == (3, Spec(CATALOGUE["sma"], (20.0,)).state_width)
    assert state.dtype == np.float64
    assert not state.any()


def test_declarations_cannot_be_changed() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        CATALOGUE["sma"].name = "other"  # type: ignore[misc]
