"""One split or dividend as a vendor tells it, and as the log has it."""

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any, Literal, NamedTuple

from marketpulse.model.market import PRICE_MAX
from marketpulse.model.timeframe import DAY_NS
from marketpulse.ports import RejectedInput

_EPOCH = date(1970, 1, 1).toordinal()


class Action(NamedTuple):
    """`day`: the ex date, in days since 1970. `value`: new shares for an old one, or the amount that was paid for one."""

    type: Literal["split", "dividend"]
    day: int
    value: float

    @property
    def ex_time_ns(self) -> int:
        """Midnight UTC of the ex date: behind every session before it, before the one of that day."""
        return self.day * DAY_NS

    def mark(self, symbol: str) -> int:
        """A short name for it, to stand in a position."""
        return zlib.crc32(f"{symbol}/{self.type}/{self.day}/{self.value!r}".encode())

    def body(self, symbol: str, source: str, event_time_ns: int) -> dict[str, Any]:
        """The record for the log."""
        return {
            "type": self.type, "symbol": symbol, "source": source, "event_time_ns": event_time_ns,
            "ratio" if self.type == "split" else "amount": self.value, "ex_time_ns": self.ex_time_ns,
        }  # fmt: skip


@dataclass(frozen=True, slots=True)
class Told:
    """What an answer says."""

    actions: Sequence[Action] = ()
    rejected: Sequence[RejectedInput] = ()


class Unfit(ValueError):
    """A part of an answer that cannot be used."""


def day_of(fields: Mapping[str, Any], name: str) -> int:
    """Days since 1970 of a date such as 2020-08-31. Raises Unfit."""
    text = fields.get(name)
    try:
        found = date.fromisoformat(text[:10]).toordinal() - _EPOCH if isinstance(text, str) else 0
    except ValueError:
        found = 0
    if found < 1:
        raise Unfit(f"{name} is no date since 1970: {str(text)[:40]!r}")
    return found


def positive(fields: Mapping[str, Any], name: str) -> float:
    """A number above 0, also as text. Raises Unfit."""
    value = fields.get(name)
    try:
        found = float(value) if isinstance(value, str | int | float) and not isinstance(value, bool) else 0.0
    except ValueError:
        found = 0.0
    if not 0 < found <= PRICE_MAX:
        raise Unfit(f"{name} must be a number above 0, found {str(value)[:40]!r}")
    return found


def iso(day: int) -> str:
    """The date of a day since 1970."""
    return date.fromordinal(day + _EPOCH).isoformat()
