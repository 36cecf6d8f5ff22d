"""A tree written as an expression again: one part of a rule by itself."""

from marketpulse.alerts.inputs import Inputs
from marketpulse.alerts.tree import COMPARISONS, CROSSINGS, Column, Node, Number

_BINDS = {"or": 1, "and": 2, "not": 3, **dict.fromkeys((*COMPARISONS, *CROSSINGS), 4), "+": 5, "-": 5, "*": 6, "/": 6, "negate": 7}  # fmt: skip
_CLOSEST = 8


def text_of(node: Node, inputs: Inputs, frame: int) -> str:
    """The expression of a rule on this timeframe, with the parentheses that it needs; it reads as the same tree."""
    if isinstance(node, Number):
        return str(int(node.value)) if node.value.is_integer() and node.value < 1e15 else repr(node.value)
    if isinstance(node, Column):
        name = inputs.columns[node.column]
        return name if node.frame == frame else f"{name}@{inputs.frames[node.frame].name}"
    binds = _BINDS.get(node.name, _CLOSEST)
    if binds == _CLOSEST:
        parts = [text_of(part, inputs, frame) for part in node.parts]
        if node.bars and (node.name, node.bars) != ("prev", 1):
            parts.append(str(node.bars))
        return f"{node.name}({', '.join(parts)})"

    def within(part: Node, least: int) -> str:
        text = text_of(part, inputs, frame)
        return text if _binding(part) >= least else f"({text})"

    if len(node.parts) == 1:
        sign = "-" if node.name == "negate" else "not "
        return sign + within(node.parts[0], binds)
    left, right = node.parts
    # Equal ones are read from the left; a comparison has no other beside it.
    return f"{within(left, binds + (binds == 4))} {node.name} {within(right, binds + 1)}"


def _binding(node: Node) -> int:
    return _CLOSEST if isinstance(node, Number | Column) else _BINDS.get(node.name, _CLOSEST)
