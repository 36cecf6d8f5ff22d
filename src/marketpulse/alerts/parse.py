"""Reads `rsi_14 < 30 and close crosses_above sma_20@1h`: the language of alert rules (docs/alerts.md).

    expression = also { "or" also }
    also       = negated { "and" negated }
    negated    = "not" negated | comparison
    comparison = sum [ ("<" | "<=" | ">" | ">=" | "==" | "!=" | "crosses_above" | "crosses_below") sum ]
    sum        = product { ("+" | "-") product }
    product    = signed { ("*" | "/") signed }
    signed     = ("-" | "+") signed | part
    part       = number | column [ "@" timeframe ] | function "(" … ")" | "(" expression ")"
    function   = "abs" "(" sum ")" | ("min" | "max") "(" sum "," sum { "," sum } ")"
               | "prev" "(" sum [ "," number ] ")" | "change_pct" "(" sum "," number ")"

Words are read in any case. A fault is a ParameterError that shows the text with a caret under the place.
Why it is read by hand: docs/decisions/013-alert-rules.md.
"""

import difflib
from collections.abc import Callable

from marketpulse.alerts.inputs import Inputs
from marketpulse.alerts.tokens import TokenReader
from marketpulse.alerts.tree import COMPARISONS, CROSSINGS, LOGIC, Column, Node, Number, Operation, columns_of, is_truth
from marketpulse.errors import ParameterError

BARS_BACK_MAX = 1_000
DEPTH_MAX = 40
FUNCTIONS = ("abs", "min", "max", "prev", "change_pct")

_Reading = Callable[[], Node]
_WRITE_INSTEAD = {"=": "==", "<>": "!=", "&": "and", "&&": "and", "|": "or", "||": "or", "!": "not", "is": "=="}
_OPERATORS = (*LOGIC, *CROSSINGS)
_CROSSES_LIKE = {"over": "crosses_above", "under": "crosses_below"}


def parse_condition(text: str, inputs: Inputs, frame: int, where: str) -> Node:
    """The tree of an expression that is true, false or unknown, for a rule on this timeframe.

    Raises ParameterError, which begins with `where`: for what cannot be read, a name that is not known, a number
    where a comparison must stand or the other way round, and an expression that reads no column.
    """
    parser = _Parser(TokenReader(text, where), inputs, frame)
    node = parser.truth(parser.expression)
    if parser.reader.kind:
        raise parser.unexpected("an operator or the end")
    if not columns_of(node):
        raise parser.reader.fault("it reads no column, so it is always the same", 0)
    return node


class _Parser:
    """One method a line of the grammar. Each gives the node that begins where the reader stands."""

    def __init__(self, reader: TokenReader, inputs: Inputs, frame: int) -> None:
        self.reader = reader
        self._inputs = inputs
        self._frame = frame
        self._depth = 0

    def truth(self, of: _Reading) -> Node:
        """What this line of the grammar gives, which must be a truth."""
        start = self.reader.at
        node = of()
        if not is_truth(node):
            if self.reader.kind and not self.reader.stands_at(")", ",", *LOGIC):
                raise self.unexpected("an operator")
            raise self.reader.fault("expected a condition, such as close > 100, found a number", start)
        return node

    def number(self, of: _Reading) -> Node:
        """What this line of the grammar gives, which must be a number."""
        start = self.reader.at
        node = of()
        if is_truth(node):
            raise self.reader.fault("expected a number, found a condition", start)
        return node

    def expression(self) -> Node:
        return self._joined("or", self._also)

    def _also(self) -> Node:
        return self._joined("and", self._negated)

    def _joined(self, word: str, of: _Reading) -> Node:
        start = self.reader.at
        left = of()
        while self.reader.stands_at(word):
            if not is_truth(left):
                raise self.reader.fault(f"expected a condition before {word!r}, found a number", start)
            at = self.reader.at
            self.reader.advance()
            left = Operation(at, word, (left, self.truth(of)))
        return left

    def _negated(self) -> Node:
        at = self.reader.at
        if self.reader.take("not"):
            return Operation(at, "not", (self._deeper(lambda: self.truth(self._negated)),))
        return self._comparison()

    def _comparison(self) -> Node:
        start = self.reader.at
        left = self._sum()
        if not self.reader.stands_at(*COMPARISONS, *CROSSINGS):
            return left
        if is_truth(left):
            raise self.reader.fault("comparisons do not chain: write a < b and b < c, and compare numbers", start)
        at = self.reader.at
        sign = self.reader.advance()
        node = Operation(at, sign, (left, self.number(self._sum)))
        if self.reader.stands_at(*COMPARISONS, *CROSSINGS):
            raise self.reader.fault("comparisons do not chain: write a < b and b < c")
        return node

    def _sum(self) -> Node:
        return self._calculated(("+", "-"), self._product)

    def _product(self) -> Node:
        return self._calculated(("*", "/"), self._signed)

    def _calculated(self, signs: tuple[str, str], of: _Reading) -> Node:
        start = self.reader.at
        left = of()
        while self.reader.stands_at(*signs):
            if is_truth(left):
                raise self.reader.fault("expected a number, found a condition", start)
            at = self.reader.at
            sign = self.reader.advance()
            left = Operation(at, sign, (left, self.number(of)))
        return left

    def _signed(self) -> Node:
        at = self.reader.at
        if self.reader.take("+"):
            return self._deeper(lambda: self.number(self._signed))
        if self.reader.take("-"):
            return Operation(at, "negate", (self._deeper(lambda: self.number(self._signed)),))
        return self._part()

    def _part(self) -> Node:
        reader = self.reader
        if reader.kind == "number":
            return self._literal()
        if reader.take("("):
            node = self._deeper(self.expression)
            if not reader.take(")"):
                raise self.unexpected('")"')
            return node
        if reader.kind != "name" or reader.token in (*LOGIC, *CROSSINGS):
            raise self.unexpected("a column, a number or a function")
        at = reader.at
        name = reader.advance()
        return self._function(name, at) if reader.take("(") else self._column(name, at)

    def _column(self, name: str, at: int) -> Node:
        reader, inputs = self.reader, self._inputs
        column = inputs.column(name)
        if column is None:
            if name in FUNCTIONS:
                raise reader.fault(f'expected "(" after the function {name}')
            raise reader.fault(f"unknown column {name!r}{inputs.near(name)}", at)
        if not reader.take("@"):
            return Column(at, column, self._frame)
        place = reader.at
        frame = inputs.frame(reader.advance()) if reader.kind else None
        if frame is None:
            raise reader.fault(f"expected a timeframe: there is {inputs.frame_names()}", place)
        if reader.stands_at("@"):
            raise reader.fault("a column has one timeframe")
        if frame != self._frame and (inputs.cut_by_count(frame) or inputs.cut_by_count(self._frame)):
            raise reader.fault(
                "bars cut by a number of trades follow the log, not time: a rule that reads them reads no others", place
            )
        return Column(at, column, frame)

    def _function(self, name: str, at: int) -> Node:
        reader = self.reader
        if name not in FUNCTIONS:
            hint = self._inputs.near(name) if self._inputs.column(name) is None else f": write {name}"
            raise reader.fault(f"there is no function {name!r}, only {', '.join(FUNCTIONS)}{hint}", at)
        bars = 1 if name == "prev" else 0
        parts = [self._deeper(lambda: self.number(self.expression))]
        if name in ("min", "max"):
            if not reader.stands_at(","):
                raise reader.fault(f"{name} takes two or more numbers, such as {name}(open, close)")
            while reader.take(","):
                parts.append(self._deeper(lambda: self.number(self.expression)))
        elif name == "change_pct" or (name == "prev" and reader.stands_at(",")):
            if not reader.take(","):
                raise reader.fault("change_pct takes a number and how many bars back: change_pct(close, 5)")
            bars = self._bars(name)
        if not reader.take(")"):
            raise self.unexpected('"," or ")"' if name in ("min", "max") else '")"')
        return Operation(at, name, tuple(parts), bars)

    def _bars(self, name: str) -> int:
        start = self.reader.at
        value = self._literal().value if self.reader.kind == "number" else 0.0
        if not (value.is_integer() and 1 <= value <= BARS_BACK_MAX):
            raise self.reader.fault(
                f"{name}: how many bars back must be a whole number from 1 to {BARS_BACK_MAX}", start
            )
        return int(value)

    def _literal(self) -> Number:
        at = self.reader.at
        try:
            value = float(self.reader.advance().replace("_", "?"))
        except ValueError:
            raise self.reader.fault("this is not a number", at) from None
        if value == float("inf"):
            raise self.reader.fault("this number is too large", at)
        return Number(at, value)

    def _deeper(self, of: _Reading) -> Node:
        """One level further in; a text that nests too deep is refused before it costs anything."""
        self._depth += 1
        if self._depth > DEPTH_MAX:
            raise self.reader.fault(f"it nests deeper than {DEPTH_MAX} levels")
        node = of()
        self._depth -= 1
        return node

    def unexpected(self, expected: str) -> ParameterError:
        """The fault of a token that cannot stand here."""
        reader = self.reader
        if not reader.kind:
            return reader.fault(f"expected {expected}, found the end")
        if reader.token in _WRITE_INSTEAD:
            kind = "sign" if reader.kind == "sign" else "word"
            return reader.fault(f"unknown {kind} {reader.token!r}: write {_WRITE_INSTEAD[reader.token]}")
        return reader.fault(f"expected {expected}, found {reader.token!r}{_near_operator(reader.token)}")


def _near_operator(word: str) -> str:
    """What a message about an unknown word ends with: the operator that comes closest."""
    near = difflib.get_close_matches(word, _OPERATORS, 1)
    like = next(
        (operator for end, operator in _CROSSES_LIKE.items() if word.startswith("cross") and word.endswith(end)), ""
    )
    operator = like or next(iter(near), "")
    return f": did you mean {operator}?" if operator and operator != word else ""
