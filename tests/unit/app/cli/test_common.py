import pytest

from marketpulse.app.cli.common import parse_duration, without_none
from marketpulse.errors import ParameterError


@pytest.mark.parametrize(
    ("text", "seconds"), [("30s", 30), ("2m", 120), ("1.5h", 5400), ("500ms", 0.5), ("7", 7), (" 1 d ", 86400)]
)
def test_a_length_of_time_is_read_in_its_unit(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "soon", "-3s", "0s", "3 weeks", "1e3s"])
def test_what_is_no_length_of_time_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(ParameterError, match="30s, 2m or 1h"):
        parse_duration(text)


def test_options_that_were_not_given_override_nothing() -> None:
    assert without_none({"serve": {"port": None}, "a": {"b": 0, "c": None}, "d": False}) == {"a": {"b": 0}, "d": False}
