"""One alert rule as a person states it: what must hold, for how long, and what is said then."""

import math
import re
from dataclasses import dataclass
from typing import Literal, get_args

from marketpulse.errors import ParameterError

Severity = Literal["info", "warning", "critical"]
SEVERITIES: tuple[str, ...] = get_args(Severity)
MUTED = "muted"
"""The severity of what a muted rule tells, whatever its own: nobody is to be told of it."""

DURATION_MAX_S = 366 * 86_400.0
TEXT_MAX = 2_000
SYMBOLS_MAX = 10_000
MESSAGE = "{symbol}: {rule} is {state} at {value}"

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,99}")
_NS = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Rule:
    """An alert rule. `expression` raises it, `clear` (empty: the expression no longer holds) clears it.

    `timeframe`: whose closed bars it runs on; empty: the smallest configured one.
    `for_s`: how long, in event time, the expression must have held; `cooldown_s`: how long after a raise there is
    no other one. `symbols`: names, in which `*` stands for any characters; none: all symbols. A `muted` rule is
    evaluated as ever; what it tells has the severity MUTED.

    Raises ParameterError for values out of range. Whether the texts can be read is checked where it is known what
    they may name (rule_set.py).
    """

    name: str
    expression: str
    timeframe: str = ""
    severity: Severity = "warning"
    message: str = MESSAGE
    for_s: float = 0.0
    cooldown_s: float = 0.0
    clear: str = ""
    symbols: tuple[str, ...] = ()
    muted: bool = False

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise ParameterError(
                f"rule {self.name!r}: name it with up to 100 letters, digits, _ . or -, a letter first"
            )
        if self.severity not in SEVERITIES:
            raise ParameterError(
                f"rule {self.name!r}: severity must be one of {', '.join(SEVERITIES)}, found {self.severity!r}"
            )
        for name, value in (("for_s", self.for_s), ("cooldown_s", self.cooldown_s)):
            if not (math.isfinite(value) and 0 <= value <= DURATION_MAX_S):
                raise ParameterError(
                    f"rule {self.name!r}: {name} must be from 0 to {DURATION_MAX_S:.0f} seconds, found {value}"
                )
        for name in ("expression", "message", "clear"):
            if len(getattr(self, name)) > TEXT_MAX:
                raise ParameterError(f"rule {self.name!r}: {name} is longer than {TEXT_MAX} characters")
        if len(self.symbols) > SYMBOLS_MAX or not all(self.symbols):
            raise ParameterError(
                f"rule {self.name!r}: symbols must be at most {SYMBOLS_MAX:,} names, none of them empty"
            )

    @property
    def for_ns(self) -> int:
        return round(self.for_s * _NS)

    @property
    def cooldown_ns(self) -> int:
        return round(self.cooldown_s * _NS)

    @property
    def told_severity(self) -> str:
        """That of the alerts that it tells now."""
        return MUTED if self.muted else self.severity

    def takes(self, symbol: str) -> bool:
        """Whether the rule watches this symbol."""
        return not self.symbols or any(_matches(pattern, symbol) for pattern in self.symbols)


def _matches(pattern: str, symbol: str) -> bool:
    """Whether the symbol is the pattern; `*` in it stands for any characters, none included."""
    if "*" not in pattern:
        return pattern == symbol
    first, *middle, last = pattern.split("*")
    if len(symbol) < len(first) + len(last) or not (symbol.startswith(first) and symbol.endswith(last)):
        return False
    at, end = len(first), len(symbol) - len(last)
    for part in middle:
        found = symbol.find(part, at, end)
        if found < 0:
            return False
        at = found + len(part)
    return True
