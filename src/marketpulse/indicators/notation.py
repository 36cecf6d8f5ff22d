"""Reads `sma(20), macd(fast=12, slow=26), vwap`: what a person writes to say which indicators to compute.

    list       = indicator { "," indicator } [","]
    indicator  = name [ "(" [ value { "," value } ] ")" ]
    value      = number | parameter "=" number          (by place first, then by name)

Names are read in any case; parameters that are left out have their defaults. A fault is a
ParameterError that shows the text with a caret under the place.
"""

import difflib
import re
from collections.abc import Mapping

from marketpulse.errors import ParameterError
from marketpulse.indicators.declaration import Indicator, Spec, number

_TOKEN = re.compile(r"\s*(?:(?P<name>[A-Za-z_]\w*)|(?P<number>[-+]?[0-9.][\w.]*(?:(?<=[eE])[-+]\d+)?)|(?P<sign>\S))")
_COLUMN = re.compile(r"([a-z][a-z0-9_]*?)((?:_\d+(?:p\d+)?)+)(?:_[a-z_]+)?")


def parse(text: str, catalogue: Mapping[str, Indicator]) -> tuple[Spec, ...]:
    """The indicators in the order in which they are written; none for an empty text.

    Raises ParameterError for an unknown name, a wrong value, a stray sign, or one that stands twice.
    """
    reader = _Reader(text)
    specs: list[Spec] = []
    while reader.kind:
        start = reader.at
        spec = _indicator(reader, catalogue)
        if spec in specs:
            raise reader.fault(f"{spec.text} stands twice: remove one", start)
        specs.append(spec)
        if reader.kind and not reader.take(","):
            raise reader.fault('expected "," between two indicators')
    return tuple(specs)


def _indicator(reader: "_Reader", catalogue: Mapping[str, Indicator]) -> Spec:
    start = reader.at
    if reader.kind != "name":
        raise reader.fault("expected an indicator's name, such as sma")
    written = reader.advance()
    indicator = catalogue.get(written.lower())
    if indicator is None:
        raise reader.fault(f"unknown indicator {written!r}{_suggestion(written.lower(), catalogue)}", start)
    values = _values(reader, indicator) if reader.take("(") else indicator.defaults()
    fault = indicator.fault(values)
    if fault is not None:
        raise reader.fault(f"{indicator.name}: {fault}", start)
    return Spec(indicator, values)


def _values(reader: "_Reader", indicator: Indicator) -> tuple[float, ...]:
    values = list(indicator.defaults())
    names = [p.name for p in indicator.parameters]
    given: set[int] = set()
    by_name = False
    while not reader.take(")"):
        start = reader.at
        if reader.kind == "name":
            by_name = True
            place = _place_of(reader, indicator, names)
        else:
            place = len(given)
            if by_name:
                raise reader.fault("a value by place cannot follow one by name: name it too")
            if place >= len(names):
                raise reader.fault(f"{_usage(indicator)}: one value too many")
        if place in given:
            raise reader.fault(f"{indicator.name}: {names[place]} is given twice", start)
        given.add(place)
        value_at = reader.at
        values[place] = _number(reader)
        fault = indicator.parameters[place].fault(values[place])
        if fault is not None:
            raise reader.fault(f"{indicator.name}: {fault}", value_at)
        if not reader.take(",") and not reader.is_sign(")"):
            raise reader.fault('expected "," or ")"')
    return tuple(values)


def _place_of(reader: "_Reader", indicator: Indicator, names: list[str]) -> int:
    start = reader.at
    name = reader.advance().lower()
    if name not in names:
        raise reader.fault(f"{_usage(indicator)}: no parameter {name!r}", start)
    if not reader.take("="):
        raise reader.fault(f'expected "=" after {name}')
    return names.index(name)


def _number(reader: "_Reader") -> float:
    start, kind = reader.at, reader.kind
    if kind == "number":
        try:
            return float(reader.advance())
        except ValueError:
            raise reader.fault("this is not a number", start) from None
    raise reader.fault("expected a number", start)


def _usage(indicator: Indicator) -> str:
    if not indicator.parameters:
        return f"{indicator.name} takes no parameters"
    names = ", ".join(f"{p.name}={number(p.default)}" for p in indicator.parameters)
    return f"{indicator.name} takes ({names})"


def _suggestion(written: str, catalogue: Mapping[str, Indicator]) -> str:
    column = _COLUMN.fullmatch(written)
    if column and column[1] in catalogue:
        values = column[2].strip("_").replace("p", ".").replace("_", ",")
        return f": write {column[1]}({values})"
    near = difflib.get_close_matches(written, list(catalogue), n=1, cutoff=0.5)
    return f"; did you mean {near[0]!r}?" if near else "; `marketpulse indicators` lists them all"


class _Reader:
    """The text, and the token at which the reader stands. `kind` is empty at the end."""

    __slots__ = ("_end", "_token", "at", "kind", "text")

    def __init__(self, text: str) -> None:
        self.text = text
        self._end = 0
        self._step()

    def _step(self) -> None:
        match = _TOKEN.match(self.text, self._end)
        self.kind = (match.lastgroup or "") if match else ""
        self._token = match[self.kind] if match and self.kind else ""
        self.at = match.start(self.kind) if match and self.kind else len(self.text.rstrip())
        self._end = match.end() if match else len(self.text)

    def advance(self) -> str:
        """The token here; the reader goes on to the next."""
        token = self._token
        self._step()
        return token

    def is_sign(self, sign: str) -> bool:
        return self.kind == "sign" and self._token == sign

    def take(self, sign: str) -> bool:
        """Go past this sign, if it stands here."""
        found = self.is_sign(sign)
        if found:
            self._step()
        return found

    def fault(self, message: str, at: int | None = None) -> ParameterError:
        place = self.at if at is None else at
        begin = self.text.rfind("\n", 0, place) + 1
        line = self.text[begin:].split("\n", 1)[0]
        return ParameterError(f"indicators: {message}\n  {line}\n  {' ' * (place - begin)}^")
