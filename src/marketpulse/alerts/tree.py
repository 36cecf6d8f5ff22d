"""An expression as a tree: numbers, columns, and operations on them. Every node knows its place in the text."""

from dataclasses import dataclass

COMPARISONS = ("<", "<=", ">", ">=", "==", "!=")
CROSSINGS = ("crosses_above", "crosses_below")
LOGIC = ("and", "or", "not")


@dataclass(frozen=True, slots=True)
class Number:
    """A number that stands in the text."""

    at: int
    value: float


@dataclass(frozen=True, slots=True)
class Column:
    """A column of the rule's own row, or of the newest closed row of another timeframe."""

    at: int
    column: int
    frame: int


@dataclass(frozen=True, slots=True)
class Operation:
    """An operator or function on its parts. `bars`: how far back prev and change_pct look.

    `name` is the operator's sign or the function's name; `negate` is the sign before one number.
    """

    at: int
    name: str
    parts: tuple["Node", ...]
    bars: int = 0


Node = Number | Column | Operation


def is_truth(node: Node) -> bool:
    """Whether the node is true, false or unknown; else it is a number or unknown."""
    return isinstance(node, Operation) and node.name in (*COMPARISONS, *CROSSINGS, *LOGIC)


def columns_of(node: Node) -> list[Column]:
    """Every column that the expression reads, in the order of the text."""
    if isinstance(node, Column):
        return [node]
    if isinstance(node, Operation):
        return [column for part in node.parts for column in columns_of(part)]
    return []
