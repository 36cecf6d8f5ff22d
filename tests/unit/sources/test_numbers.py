"""Numbers as people write them."""

import math

import polars as pl
import pytest

from marketpulse.sources.numbers import to_floats


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("437.60", 437.6), (" 12 ", 12.0), ("1,234", 1234.0), ("1,234,567.5", 1234567.5), ("$12.30", 12.3),
        ("1.2M", 1_200_000.0), ("340K", 340_000.0), ("2.5B", 2.5e9), ("1e13", 1e13), ("10000000000000", 1e13),
        ("12,34,567", 1234567.0), ("-5", -5.0), ("1_000", 1000.0),
    ],
)  # fmt: skip
def test_a_number_is_read_however_it_is_written(text: str, number: float) -> None:
    values, present, readable = to_floats(pl.Series([text]))
    assert (values[0], present[0], readable[0]) == (number, True, True)


@pytest.mark.parametrize("text", ["", "  ", "null", "N/A", "NaN", "-", None])
def test_a_blank_is_absent_and_no_fault(text: str | None) -> None:
    values, present, readable = to_floats(pl.Series([text], dtype=pl.String))
    assert math.isnan(values[0])
    assert (present[0], readable[0]) == (False, True)


@pytest.mark.parametrize("text", ["abc", "1.2.3", "12 apples", "1,23"])
def test_a_text_that_is_no_number_is_a_fault(text: str) -> None:
    _, present, readable = to_floats(pl.Series([text]))
    assert (present[0], readable[0]) == (True, False)


@pytest.mark.parametrize(("text", "number"), [("12,5", 12.5), ("1.234,5", 1234.5), ("7", 7.0), ("1.25", 1.25)])
def test_a_decimal_comma_is_a_decimal_comma_where_the_file_has_them(text: str, number: float) -> None:
    values, _, readable = to_floats(pl.Series([text]), decimal_comma=True)
    assert (values[0], readable[0]) == (number, True)


def test_typed_columns_pass_as_they_are() -> None:
    values, present, _ = to_floats(pl.Series([1, None, 3]))
    assert values[[0, 2]].tolist() == [1.0, 3.0]
    assert present.tolist() == [True, False, True]
    assert to_floats(pl.Series(["1.25"]).cast(pl.Decimal(10, 2)))[0][0] == 1.25
