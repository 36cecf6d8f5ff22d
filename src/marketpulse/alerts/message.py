"""What an alert says: the rule's template with the numbers of its row.

`{symbol}`, `{rule}`, `{severity}`, `{state}`, `{time}` and `{value}` are of the event; every other name is a
column of the row, and may have a format: `{close:.2f}`. A brace that shall stay is written twice.
"""

import re
from collections.abc import Sequence
from datetime import UTC, datetime

import numpy as np

from marketpulse.alerts.events import STATE_NAMES
from marketpulse.alerts.inputs import Inputs
from marketpulse.alerts.rule import Rule
from marketpulse.alerts.tokens import TextFault

OF_TEXT = ("symbol", "rule", "severity", "state", "time")
OF_EVENT = (*OF_TEXT, "value")

_PART = re.compile(r"(?P<brace>\{\{|\}\})|\{(?P<name>[^{}:]*)(?::(?P<format>[^{}]*))?\}|(?P<stray>[{}])")
_FORMAT = re.compile(r"[+ ]?0?\d{0,2},?(\.\d{1,2})?[efg%]?", re.IGNORECASE)
"""Those of Python's formats of a number that cannot make a text long."""
_SECOND_NS = 1_000_000_000


def check_message(rule: Rule, inputs: Inputs) -> None:
    """Raises ParameterError for a name that no message knows, and for a brace without its other one."""
    where = f"rule {rule.name!r}, message"
    for part in _PART.finditer(rule.message):
        if part["stray"]:
            raise TextFault(where, "a brace stands alone: write it twice to keep it", rule.message, part.start())
        name = part["name"]
        if name is not None and name not in OF_EVENT and inputs.column(name) is None:
            raise TextFault(
                where,
                f"unknown name {name!r}: write one of {', '.join(OF_EVENT)}, or a column{inputs.near(name)}",
                rule.message,
                part.start("name"),
            )
        if part["format"] is not None and (name in OF_TEXT or not _FORMAT.fullmatch(part["format"])):
            raise TextFault(
                where,
                f"{name} takes no format {part['format']!r}: numbers take one such as .2f or ,.0f",
                rule.message,
                part.start("format"),
            )


def cited_columns(rule: Rule, inputs: Inputs) -> tuple[int, ...]:
    """The columns whose numbers the message shows, in order."""
    names = {part["name"] for part in _PART.finditer(rule.message)}
    return tuple(column for column, name in enumerate(inputs.columns) if name in names and name not in OF_EVENT)


def message_of(rule: Rule, symbol: str, event: np.void, columns: Sequence[str], row: Sequence[float] | None) -> str:
    """The message of one event of EVENT. `row` has the numbers of the columns; None: the row is no more.

    Numbers are the shortest that give the same double again; what is not known is `null`.
    """
    facts = {
        "symbol": symbol,
        "rule": rule.name,
        "severity": rule.told_severity,
        "state": STATE_NAMES[int(event["state"])],
        "time": _time_text(int(event["event_time_ns"])),
    }

    def said(part: re.Match[str]) -> str:
        if part["brace"]:
            return part["brace"][0]
        name = part["name"]
        if name in facts:
            return facts[name]
        number = event["value"] if name == "value" else np.nan if row is None else row[columns.index(name)]
        return _number_text(float(number), part["format"] or "")

    return _PART.sub(said, rule.message)


def _number_text(value: float, form: str) -> str:
    if np.isnan(value):
        return "null"
    if form:
        return format(value, form)
    return str(int(value)) if value.is_integer() and abs(value) < 1e15 else repr(value)


def _time_text(time_ns: int) -> str:
    """ISO 8601 in UTC, with as many decimals of the second as there are."""
    seconds, rest = divmod(time_ns, _SECOND_NS)
    decimals = f".{rest:09d}".rstrip("0") if rest else ""
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}{decimals}Z"
