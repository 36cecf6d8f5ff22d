"""What an alert says, and templates that cannot be filled."""

import numpy as np
import pytest

from alert_rows import INPUTS, MINUTE
from marketpulse.alerts.events import CLEARED, EVENT, WITHDRAWN
from marketpulse.alerts.message import check_message, message_of
from marketpulse.alerts.rule import Rule
from marketpulse.errors import ParameterError

NOON = 1_577_880_000 * 10**9  # 2020-01-01T12:00:00Z
ROW = [1.0, 2.5, np.nan, 1e300, 1e-7, 0.1, 3.0, 4.0, 5.0, 6.0, 7.0]

OF_EVENT = "symbol, rule, severity, state, time, value"


def said(template: str, *, state: int = CLEARED, time_ns: int = NOON, value: float = 29.75) -> str:
    event = np.array([(0, 1, 0, time_ns - MINUTE, time_ns, state, 0, 0, value)], EVENT)[0]
    row = None if state == WITHDRAWN else ROW
    return message_of(Rule("r-1", "close > 1", message=template), "AAA", event, INPUTS.columns, row)


@pytest.mark.parametrize(
    ("template", "text"),
    [
        ("{symbol}: {rule} is {state} at {value}", "AAA: r-1 is cleared at 29.75"),
        ("{severity} {time}", "warning 2020-01-01T12:00:00Z"),
        ("{open} {high} {low} {close} {volume}", "1 2.5 null 1e+300 1e-07"),
        ("{{value}} {value}}}", "{value} 29.75}"),
        ("no names", "no names"),
        ("", ""),
    ],
)
def test_names_become_the_numbers_of_the_row(template: str, text: str) -> None:
    assert said(template) == text


def test_a_number_that_is_not_known_is_null() -> None:
    assert said("{value}", value=np.nan) == "null"
    assert said("{state} {close} {value}", state=WITHDRAWN) == "withdrawn null 29.75"


def test_a_time_has_as_many_decimals_as_it_needs() -> None:
    assert said("{time}", time_ns=NOON + 1) == "2020-01-01T12:00:00.000000001Z"
    assert said("{time}", time_ns=NOON + 250_000_000) == "2020-01-01T12:00:00.25Z"
    assert said("{time}", time_ns=-1) == "1969-12-31T23:59:59.999999999Z"


@pytest.mark.parametrize(
    ("template", "message", "caret"),
    [
        ("at {closee}", f"unknown name 'closee': write one of {OF_EVENT}, or a column; did you mean 'close'?", 4),
        ("{} is high", "unknown name ''", 1),
        ("at { close}", "unknown name ' close'", 4),
        ("at {close", "a brace stands alone: write it twice to keep it", 3),
        ("at close}", "a brace stands alone: write it twice to keep it", 8),
    ],
)  # fmt: skip
def test_a_template_that_cannot_be_filled_is_pointed_at(template: str, message: str, caret: int) -> None:
    with pytest.raises(ParameterError) as caught:
        check_message(Rule("r", "close > 1", message=template), INPUTS)
    check_message(Rule("r", "close > 1"), INPUTS)  # the default suits every input
    headline, line, pointer = str(caught.value).split("\n")
    assert headline.startswith(f"rule 'r', message: {message}")
    assert (line, pointer) == (f"  {template}", " " * (2 + caret) + "^")
