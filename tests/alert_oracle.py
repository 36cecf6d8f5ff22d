"""Alert rules by the letter of docs/alerts.md, slowly and plainly: what the compiled ones are held against.

It knows nothing of the package: an expression is a tuple of its operator and its parts, unknown is None, and every
row looks at all rows before it again; nothing is kept up to date.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

Tree = tuple[Any, ...]
"""("number", 3.0), ("column", "close", "1h"), ("prev", tree, 2), ("and", tree, tree) …"""


class Row(NamedTuple):
    """One closed row. `together`: it closes as one with its symbol's other rows of this close time."""

    symbol: str
    timeframe: str
    close_time: int
    together: bool
    columns: Mapping[str, float]


@dataclass
class OracleRule:
    """`begins`: of each symbol, the time after which the rule sees what closes; left out: all of it."""

    condition: Tree
    timeframe: str
    clear: Tree | None = None
    held: int = 0
    cooldown: int = 0
    symbols: frozenset[str] | None = None
    begins: Mapping[str, int] = field(default_factory=dict)


class Happened(NamedTuple):
    """What a row made of the alert."""

    row: int
    state: str
    value: float | None


def happened(rule: OracleRule, rows: Sequence[Row]) -> list[Happened]:
    """Everything that the rule makes of these rows, in their order."""
    found = []
    for symbol in {row.symbol for row in rows}:
        if rule.symbols is None or symbol in rule.symbols:
            found += _Symbol(rule, rows, symbol).lives()
    return sorted(found)


class _Symbol:
    """One rule on one symbol. `own` are the places of the rows that the rule runs on."""

    def __init__(self, rule: OracleRule, rows: Sequence[Row], symbol: str) -> None:
        self.rule, self.rows = rule, rows
        begins = rule.begins.get(symbol, -math.inf)
        self.seen = [i for i, row in enumerate(rows) if row.symbol == symbol and row.close_time > begins]
        self.own = [i for i in self.seen if rows[i].timeframe == rule.timeframe]

    def lives(self) -> list[Happened]:
        found: list[Happened] = []
        raised_at: int | None = None  # the number of the row that raised it last
        cleared_at = -1
        raised = False
        for k, place in enumerate(self.own):
            value = self.number(first_left(self.rule.condition), k)
            if raised:
                if self.clears(k) is True:
                    raised, cleared_at = False, k
                    found.append(Happened(place, "cleared", value))
            elif self.held_long_enough(k, cleared_at) and (raised_at is None or self.is_over(raised_at, k)):
                raised, raised_at = True, k
                found.append(Happened(place, "raised", value))
        return found

    def time(self, k: int) -> int:
        return self.rows[self.own[k]].close_time

    def is_over(self, raised_at: int, k: int) -> bool:
        return self.rule.cooldown == 0 or self.time(k) - self.time(raised_at) >= self.rule.cooldown

    def held_long_enough(self, k: int, cleared_at: int) -> bool:
        if self.raises(k) is not True:
            return False
        first = k
        while first - 1 > cleared_at and self.raises(first - 1) is True:
            first -= 1
        return self.rule.held == 0 or self.time(k) - self.time(first) >= self.rule.held

    def raises(self, k: int) -> bool | None:
        """The condition holds, and what clears it does not."""
        return self.truth(("and", self.rule.condition, ("not", self._clear())), k)

    def clears(self, k: int) -> bool | None:
        return self.truth(self._clear(), k)

    def _clear(self) -> Tree:
        return self.rule.clear if self.rule.clear is not None else ("not", self.rule.condition)

    def truth(self, tree: Tree, k: int) -> bool | None:
        """On the k-th row; None: unknown."""
        operator, *parts = tree
        if operator == "not":
            inner = self.truth(parts[0], k)
            return None if inner is None else not inner
        if operator in ("and", "or"):
            decides: bool = operator == "or"
            truths = [self.truth(part, k) for part in parts]
            if decides in truths:
                return decides
            return None if None in truths else not decides
        left, right = (self.number(part, k) for part in parts)
        if left is None or right is None:
            return None
        if operator in ("crosses_above", "crosses_below"):
            left_before, right_before = (self.number(part, k - 1) for part in parts)
            if left_before is None or right_before is None:
                return None
            if operator == "crosses_above":
                return left_before <= right_before and left > right
            return left_before >= right_before and left < right
        compared: dict[str, bool] = {
            "<": left < right, "<=": left <= right, ">": left > right, ">=": left >= right,
            "==": left == right, "!=": left != right,
        }  # fmt: skip
        return compared[operator]

    def number(self, tree: Tree, k: int) -> float | None:
        """On the k-th row; None: unknown, as it is before the first row."""
        if k < 0:
            return None
        operator, *parts = tree
        if operator == "number":
            return float(parts[0])
        if operator == "column":
            return self.column(parts[0], parts[1], self.own[k])
        if operator == "prev":
            return self.number(parts[0], k - parts[1])
        if operator == "change_pct":
            now, before = self.number(parts[0], k), self.number(parts[0], k - parts[1])
            if now is None or before is None or before == 0:
                return None
            return _finite(100.0 * (now - before) / before)
        numbers = [self.number(part, k) for part in parts]
        known = [number for number in numbers if number is not None]
        return _calculated(operator, known) if len(known) == len(numbers) else None

    def column(self, name: str, timeframe: str, place: int) -> float | None:
        """The row's own, or that of the newest row of another timeframe that has closed by then."""
        row = self.rows[place]
        found = place if timeframe == row.timeframe else None
        if found is None:
            for i in self.seen:
                other = self.rows[i]
                as_one = row.together and other.together and other.close_time == row.close_time
                if other.timeframe == timeframe and (i < place or as_one):
                    found = i
        if found is None:
            return None
        value = self.rows[found].columns[name]
        return None if math.isnan(value) else value


def first_left(tree: Tree) -> Tree:
    """What stands to the left of the first comparison."""
    operator, *parts = tree
    if operator in ("not", "and", "or"):
        return first_left(parts[0])
    left: Tree = parts[0]
    return left


def _calculated(operator: str, numbers: list[float]) -> float | None:
    if operator in ("negate", "abs"):
        return -numbers[0] if operator == "negate" else abs(numbers[0])
    if operator in ("min", "max"):
        return min(numbers) if operator == "min" else max(numbers)
    left, right = numbers
    if operator == "/":
        return None if right == 0 else _finite(left / right)
    return _finite({"+": left + right, "-": left - right, "*": left * right}[operator])


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
