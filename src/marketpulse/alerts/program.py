"""Rules as the kernel runs them: programs for a stack machine, and where each rule's memory lies.

Programs are data: another rule is another array, and nothing is compiled anew.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from marketpulse.alerts import instructions as do
from marketpulse.alerts.inputs import Inputs
from marketpulse.alerts.rule import Rule
from marketpulse.alerts.tree import COMPARISONS, CROSSINGS, Column, Node, Number, Operation

RULE = np.dtype([
    ("id", "i4"),
    ("frame", "i4"),  # it runs on this timeframe's rows
    ("condition", "i4"),  # its instructions begin here
    ("clear", "i4"),  # and those of the clear expression here
    ("stop", "i4"),  # one past the last; where `clear` begins: there is none
    ("memory", "i4"),  # its columns of the state's memory
    ("memory_stop", "i4"),
    ("for_ns", "i8"),
    ("cooldown_ns", "i8"),
])  # fmt: skip

FEED = np.dtype([("rule", "i4"), ("memory", "i4"), ("column", "i4")])
"""A column of a timeframe's row that a rule on another timeframe keeps, and where in memory."""

_PLAIN = {
    "+": do.ADD,
    "-": do.SUBTRACT,
    "*": do.MULTIPLY,
    "/": do.DIVIDE,
    "negate": do.NEGATE,
    "abs": do.ABSOLUTE,
    "and": do.AND,
    "or": do.OR,
    "not": do.NOT,
}
_COMPARED = {"<": do.LESS, "<=": do.LESS_EQUAL, "==": do.EQUAL, "!=": do.NOT_EQUAL}
_TURNED = {">": do.LESS, ">=": do.LESS_EQUAL}


class CompiledRule(NamedTuple):
    """A rule that has been read: its number, its timeframe's place, its expressions (`clear` None: none), and the columns
    that its message cites."""

    id: int
    rule: Rule
    frame: int
    condition: Node
    clear: Node | None
    cited: tuple[int, ...] = ()


class Program(NamedTuple):
    """All rules for the kernel: R rules of I instructions, on F timeframes."""

    code: NDArray[np.int32]  # (I, 3): see instructions.py
    constants: NDArray[np.float64]
    rules: NDArray[np.void]  # (R,) RULE, in order of their numbers
    run_start: NDArray[np.int64]  # (F + 1,): timeframe f runs `run` [run_start[f], run_start[f + 1])
    run: NDArray[np.int64]  # (R,) places in `rules`, by timeframe
    feed_start: NDArray[np.int64]  # (F + 1,): the same for `feeds`
    feeds: NDArray[np.void]  # FEED, by the timeframe that feeds
    memory_degree: NDArray[np.int64]  # (width,) of what is remembered there (Inputs.degrees)
    memory_frame: NDArray[np.int64]  # (width,) the timeframe whose row it came of
    width: int  # columns of memory
    depth: int  # the highest that the stack grows


def assemble(rules: Sequence[CompiledRule], inputs: Inputs) -> Program:
    """One program for all rules, which come in order of their numbers."""
    assembler, frames = _Assembler(inputs), len(inputs.frames)
    table = np.zeros(len(rules), RULE)
    for place, rule in enumerate(rules):
        table[place] = assembler.add(place, rule)
    feeds = sorted(assembler.feeds)
    by_frame = np.argsort(table["frame"], kind="stable")
    return Program(
        code=np.array(assembler.code, np.int32).reshape(-1, 3),
        constants=np.array(assembler.constants, np.float64),
        rules=table,
        run_start=np.searchsorted(table["frame"][by_frame], np.arange(frames + 1)).astype(np.int64),
        run=by_frame.astype(np.int64),
        feed_start=np.searchsorted([frame for frame, *_ in feeds], np.arange(frames + 1)).astype(np.int64),
        feeds=np.array([tuple(feed) for _, *feed in feeds], FEED),
        memory_degree=np.array([degree for degree, _ in assembler.units], np.int64),
        memory_frame=np.array([frame for _, frame in assembler.units], np.int64),
        width=len(assembler.units),
        depth=assembler.depth,
    )


def degree_of(node: Node, inputs: Inputs) -> int:
    """Of an expression, as of a column (Inputs.degrees); 0 where its parts do not agree on one."""
    if isinstance(node, Number):
        return 0
    if isinstance(node, Column):
        return inputs.degree(node.column)
    degrees = [degree_of(part, inputs) for part in node.parts]
    if node.name == "*":
        return sum(degrees)
    if node.name == "/":
        return degrees[0] - degrees[1]
    if node.name == "change_pct":
        return 0
    told = {d for d, part in zip(degrees, node.parts, strict=True) if not _is_number(part)}  # `close + 1` is a price
    return told.pop() if len(told) == 1 else 0


def _is_number(node: Node) -> bool:
    return isinstance(node, Number) or (isinstance(node, Operation) and all(map(_is_number, node.parts)))


class _Assembler:
    """Writes instructions and hands out memory. `_height` follows the stack as it will be."""

    def __init__(self, inputs: Inputs) -> None:
        self._inputs = inputs
        self.code: list[tuple[int, int, int]] = []
        self.constants: list[float] = []
        self.feeds: list[tuple[int, int, int, int]] = []  # frame, then FEED
        self.units: list[tuple[int, int]] = []  # of each column of memory: degree and timeframe
        self.depth = 1
        self._height = 0
        self._place = 0
        self._frame = 0
        self._kept = False
        self._fed: dict[tuple[int, int], int] = {}

    def add(self, place: int, compiled: CompiledRule) -> tuple[int, ...]:
        """Append one rule; its row of RULE."""
        self._place, self._frame, self._kept, self._fed = place, compiled.frame, False, {}
        memory, condition = len(self.units), len(self.code)
        self._condition(compiled.condition)
        clear = len(self.code)
        if compiled.clear is not None:
            self._kept = True
            self._condition(compiled.clear)
        rule = compiled.rule
        return (
            compiled.id, compiled.frame, condition, clear, len(self.code), memory, len(self.units), rule.for_ns,
            rule.cooldown_ns,
        )  # fmt: skip

    def _condition(self, node: Node) -> None:
        self._height = 0
        self._emit(node)

    def _emit(self, node: Node) -> None:
        if isinstance(node, Number):
            self.constants.append(node.value)
            self._push(do.CONSTANT, len(self.constants) - 1)
        elif isinstance(node, Column):
            if node.frame == self._frame:
                self._push(do.COLUMN, node.column)
            else:
                self._push(do.MEMORY, self._slot(node))
        elif node.name in (*COMPARISONS, *CROSSINGS):
            self._compare(node)
        elif node.name in ("min", "max"):
            self._fold(node)
        elif node.name in ("prev", "change_pct"):
            self._emit(node.parts[0])
            ring = self._memory(*[degree_of(node.parts[0], self._inputs)] * node.bars)
            self.code.append((do.BEFORE if node.name == "prev" else do.CHANGE_PCT, ring, node.bars))
        else:
            for part in node.parts:
                self._emit(part)
            self._reduce(_PLAIN[node.name], len(node.parts))

    def _compare(self, node: Operation) -> None:
        """Both sides in the order of the text. What stands to the left of a rule's first comparison is kept."""
        left, right = node.parts
        self._emit(left)
        if not self._kept:
            self._kept = True
            self.code.append((do.KEEP, 0, 0))
        self._emit(right)
        if node.name in CROSSINGS:
            above = node.name == "crosses_above"
            sides = self._memory(*(degree_of(side, self._inputs) for side in node.parts))
            self._reduce(do.CROSSES, 2, a=sides, b=1 if above else -1)
        elif node.name in _TURNED:
            self._reduce(_TURNED[node.name], 2, b=1)
        else:
            self._reduce(_COMPARED[node.name], 2)

    def _fold(self, node: Operation) -> None:
        self._emit(node.parts[0])
        for part in node.parts[1:]:
            self._emit(part)
            self._reduce(do.SMALLER if node.name == "min" else do.LARGER, 2)

    def _push(self, instruction: int, a: int) -> None:
        self.code.append((instruction, a, 0))
        self._height += 1
        self.depth = max(self.depth, self._height)

    def _reduce(self, instruction: int, parts: int, a: int = 0, b: int = 0) -> None:
        self.code.append((instruction, a, b))
        self._height -= parts - 1

    def _memory(self, *degrees: int, frame: int | None = None) -> int:
        """The first of so many new columns of memory; what is kept there is of the rule's own rows, or of `frame`'s."""
        first = len(self.units)
        self.units += [(degree, self._frame if frame is None else frame) for degree in degrees]
        return first

    def _slot(self, node: Column) -> int:
        """Where the rule keeps this column of another timeframe."""
        key = (node.frame, node.column)
        if key not in self._fed:
            degree = self._inputs.degree(node.column)
            self._fed[key] = self._memory(degree, frame=node.frame)
            self.feeds.append((node.frame, self._place, self._fed[key], node.column))
        return self._fed[key]
