"""A rule on one row in plain numbers: the truth of each part of its expressions, and what that makes of its alert.

    (what the rule remembered, the row) -> lines, and the change of the alert

It works by the letter of docs/alerts.md and shares no arithmetic with the kernel; only where memory lies is read from
the order in which the program hands it out (alerts/program.py).
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import cast

import numpy as np

from marketpulse.alerts.inputs import Inputs
from marketpulse.alerts.life import NEVER
from marketpulse.alerts.program import CompiledRule
from marketpulse.alerts.tree import CROSSINGS, Column, Node, Number, Operation
from marketpulse.alerts.tree_text import text_of
from marketpulse.app.receipts.time_text import show_time

Known = float | None
Truth = bool | None
_SECOND_NS = 10**9
_COMPARE: dict[str, Callable[[float, float], bool]] = {
    "<": lambda x, y: x < y, "<=": lambda x, y: x <= y, ">": lambda x, y: x > y, ">=": lambda x, y: x >= y,
    "==": lambda x, y: x == y, "!=": lambda x, y: x != y,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Change:
    """What a row made of the alert: `raised`, `cleared` or nothing, and the value that was told."""

    state: str = ""
    value: Known = None


@dataclass(slots=True)
class Memory:
    """What a rule remembers of a symbol before a row: its life (LIFE), its numbers, and those of other timeframes'
    bars that close with the row, by (timeframe's place, column)."""

    life: np.void
    numbers: list[float]
    together: Mapping[tuple[int, int], float] = field(default_factory=dict)


@dataclass(slots=True)
class Words:
    """One evaluation. `row` has the numbers of Inputs.columns, NaN where unknown."""

    compiled: CompiledRule
    inputs: Inputs
    memory: Memory
    row: list[float]
    lines: list[str] = field(default_factory=list)
    columns: dict[str, Known] = field(default_factory=dict)
    _next: int = 0  # the next column of memory that is handed out
    _slots: dict[tuple[int, int], int] = field(default_factory=dict)
    _value: Known = None
    _kept: bool = False

    def change(self, close_ns: int) -> Change:
        """What the row makes of the alert, with a line for every part of the expressions and for the outcome."""
        if not self.memory.life["watched"]:
            self._say("the rule does not watch this symbol")
            return Change()
        if close_ns <= self.memory.life["begins_ns"]:
            self._say("the rule began behind this row")
            return Change()
        condition = self._truth(self.compiled.condition)
        self._kept = True
        clear = _opposite(condition) if self.compiled.clear is None else self._truth(self.compiled.clear)
        return self._lived(condition, clear, close_ns)

    def _lived(self, condition: Truth, clear: Truth, close_ns: int) -> Change:
        life, rule = self.memory.life, self.compiled.rule
        if life["raised"]:
            self._say(f"it is raised, and {'cleared now' if clear is True else 'nothing clears it'}")
            return Change("cleared", self._value) if clear is True else Change()
        if condition is not True:
            self._say(f"it is not raised: the expression is {_shown_truth(condition)}")
            return Change()
        if clear is not False:
            self._say(f"it is not raised: what clears it is {_shown_truth(clear)}")
            return Change()
        since = close_ns if life["since_ns"] == NEVER else int(life["since_ns"])
        if rule.for_ns:
            held = f"it has held for {(close_ns - since) / _SECOND_NS!r} s of {rule.for_s!r} s"
            self._say(held)
            if close_ns - since < rule.for_ns:
                return Change()
        if rule.cooldown_ns and life["raised_ns"] != NEVER:
            passed = close_ns - int(life["raised_ns"])
            self._say(f"the last raise is {passed / _SECOND_NS!r} s ago, the cooldown {rule.cooldown_s!r} s")
            if passed < rule.cooldown_ns:
                return Change()
        self._say("it is raised now")
        return Change("raised", self._value)

    def _truth(self, node: Node) -> Truth:
        node = cast("Operation", node)  # parse_condition has seen to that
        if node.name == "not":
            return self._told(node, _opposite(self._truth(node.parts[0])))
        if node.name in ("and", "or"):
            both = [self._truth(part) for part in node.parts]
            decides = node.name == "or"
            found = decides if decides in both else None if None in both else not decides
            return self._told(node, found, f" {node.name} ".join(map(_shown_truth, both)))
        left = self._number(node.parts[0])
        if not self._kept:
            self._kept, self._value = True, left
        right = self._number(node.parts[1])
        if node.name in CROSSINGS:
            return self._crossed(node, left, right)
        numbers = f"{_shown(left)} {node.name} {_shown(right)}"
        if left is None or right is None:
            return self._told(node, None, numbers)
        return self._told(node, _COMPARE[node.name](left, right), numbers)

    def _crossed(self, node: Operation, left: Known, right: Known) -> Truth:
        at = self._take(2)
        before = [_known(number) for number in self.memory.numbers[at : at + 2]]
        was, now = ("<=", ">") if node.name == "crosses_above" else (">=", "<")
        numbers = (
            f"{_shown(before[0])} {was} {_shown(before[1])} on the row before and {_shown(left)} {now} {_shown(right)}"
        )
        if left is None or right is None or before[0] is None or before[1] is None:
            return self._told(node, None, numbers)
        return self._told(node, _COMPARE[was](before[0], before[1]) and _COMPARE[now](left, right), numbers)

    def _number(self, node: Node) -> Known:
        if isinstance(node, Number):
            return node.value
        if isinstance(node, Column):
            value = self._column(node)
            self.columns[self._text(node)] = value
            return value
        parts = [self._number(part) for part in node.parts]
        if node.name in ("prev", "change_pct"):
            at = self._take(node.bars)
            parts.append(_known(self.memory.numbers[at + int(self.memory.life["rows"]) % node.bars]))
        if node.name == "prev":
            found = parts[1]
        else:
            numbers = [part for part in parts if part is not None]
            found = _calculated(node.name, numbers) if len(numbers) == len(parts) else None
        self._say(f"{self._text(node)} = {_shown(found)}")
        return found

    def _column(self, node: Column) -> Known:
        if node.frame == self.compiled.frame:
            return _known(self.row[node.column])
        place = (node.frame, node.column)
        if place not in self._slots:
            self._slots[place] = self._take(1)
        return _known(self.memory.together.get(place, self.memory.numbers[self._slots[place]]))

    def _take(self, columns: int) -> int:
        first, self._next = self._next, self._next + columns
        return first

    def _told(self, node: Node, truth: Truth, numbers: str = "") -> Truth:
        self._say(f"{self._text(node)}: {numbers}{', ' if numbers else ''}{_shown_truth(truth)}")
        return truth

    def _text(self, node: Node) -> str:
        return text_of(node, self.inputs, self.compiled.frame)

    def _say(self, line: str) -> None:
        self.lines.append(line)


def life_lines(life: np.void) -> list[str]:
    """What the alert was before a row."""
    raised, since = int(life["raised_ns"]), int(life["since_ns"])
    lines = [f"the alert is {'raised' if life['raised'] else 'not raised'}"]
    lines.append("it was never raised" if raised == NEVER else f"it was raised last at {show_time(raised)}")
    if not life["raised"] and since != NEVER:
        lines.append(f"its expression holds since {show_time(since)}")
    if life["begins_ns"] != NEVER:
        lines.append(f"the rule sees what closes after {show_time(int(life['begins_ns']))}")
    return lines


def _calculated(name: str, numbers: list[float]) -> Known:
    x, y = numbers[0], numbers[-1]
    if name == "change_pct":  # now, then before
        return None if y == 0 else _finite(100 * (x - y) / y)
    if name == "/":
        return None if y == 0 else _finite(x / y)
    found: dict[str, Callable[[], float]] = {
        "negate": lambda: -x, "abs": lambda: abs(x), "min": lambda: min(numbers), "max": lambda: max(numbers),
        "+": lambda: x + y, "-": lambda: x - y, "*": lambda: x * y,
    }  # fmt: skip
    return _finite(found[name]())


def _known(number: float) -> Known:
    return None if math.isnan(number) else number


def _finite(number: float) -> Known:
    return number if math.isfinite(number) else None


def _opposite(truth: Truth) -> Truth:
    return None if truth is None else not truth


def _shown(number: Known) -> str:
    return "null" if number is None else repr(number)


def _shown_truth(truth: Truth) -> str:
    return "unknown" if truth is None else "true" if truth else "false"
