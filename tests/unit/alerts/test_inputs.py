"""What rules may read, and which timeframe a rule has that names none."""

import pytest

from marketpulse.alerts.inputs import Inputs, inputs_of
from marketpulse.errors import ParameterError
from marketpulse.model.rows import BAR
from marketpulse.model.timeframe import parse_timeframes


def test_rules_read_the_numbers_of_bars_then_the_indicators() -> None:
    inputs = inputs_of(["sma_20", "vwap"], parse_timeframes(["1m"]))
    assert inputs.columns == (
        "open", "high", "low", "close", "volume", "vwap", "trade_count", "sma_20", "session_vwap",
    )  # fmt: skip
    assert set(inputs.columns[:7]) <= set(BAR.names)


@pytest.mark.parametrize(
    ("timeframes", "smallest"),
    [(["1h", "1m", "5m"], "1m"), (["100t", "1d", "1h"], "1h"), (["500t", "100t"], "100t"), (["1d"], "1d")],
)
def test_a_rule_without_a_timeframe_has_the_smallest(timeframes: list[str], smallest: str) -> None:
    inputs = inputs_of([], parse_timeframes(timeframes))
    assert inputs.frames[inputs.smallest].name == smallest


def test_inputs_that_cannot_be_told_apart_are_refused() -> None:
    with pytest.raises(ParameterError, match="a column's name stands twice"):
        inputs_of(["close"], parse_timeframes(["1m"]))
    with pytest.raises(ParameterError, match="name at least one timeframe"):
        Inputs(("close",), ())
