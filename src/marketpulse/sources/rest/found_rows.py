"""Where the rows lie in a JSON answer, and each of them as an object with fields: pure functions.

Four shapes are known: an array of objects; an array of arrays, whose cells `columns` names; an object keyed by symbol or
by time (`*`); an object of columns, `{"t": […], "o": […]}`.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from marketpulse.errors import RejectedRecord

Row = dict[str, Any]
_TIME = re.compile(r"\d{4}-?\d\d|\d{8,}")
_DEPTH_MAX = 8


def at_path(value: Any, path: Sequence[str]) -> Any:
    """What lies there; None where something is missing or of another kind."""
    for step in path:
        if isinstance(value, dict):
            value = value.get(step)
        elif isinstance(value, list) and step.isdecimal() and int(step) < len(value):
            value = value[int(step)]
        else:
            return None
    return value


def find_rows(body: Any, path: Sequence[str], columns: Sequence[str], symbol: str, symbols: set[str]) -> list[Any]:
    """The rows of an answer: objects, and whatever else stands in their place. `symbol` and `symbols` as the vendor
    writes them.

    Raises RejectedRecord when the path leads to nothing, or to columns of different lengths.
    """
    return [
        row for leaf, labels in _walk(body, list(path), symbol, symbols, {}) for row in _rows(leaf, columns, labels)
    ]


def _walk(value: Any, path: list[str], symbol: str, symbols: set[str], labels: Row) -> Iterator[tuple[Any, Row]]:
    if not path or value is None:
        yield value, labels
        return
    step, rest = path[0], path[1:]
    if step == "*" and isinstance(value, dict):
        name = _label(value, symbols)
        for key, inner in value.items():
            yield from _walk(inner, rest, symbol, symbols, {**labels, name: key})
    elif step == "*" and isinstance(value, list):
        for inner in value:
            yield from _walk(inner, rest, symbol, symbols, labels)
    elif step == "{symbol}" and isinstance(value, dict | list):
        # A vendor leaves out a symbol of which it has no rows; some give an empty array then.
        yield from _walk(at_path(value, [symbol]), rest, symbol, symbols, labels)
    elif isinstance(value, dict) and step in value:
        yield from _walk(value[step], rest, symbol, symbols, labels)
    elif isinstance(value, list) and step.isdecimal():
        yield from _walk(at_path(value, [step]), rest, symbol, symbols, labels)
    else:
        there = ", ".join(map(str, value))[:200] if isinstance(value, dict) else type(value).__name__
        raise RejectedRecord(f"there is no {step!r} where the setting `rows` leads to: {there or 'nothing'}")


def _label(value: Mapping[str, Any], symbols: set[str]) -> str:
    """What the keys of an object are."""
    return "time" if all(_TIME.match(key) for key in value) and not symbols & value.keys() else "symbol"


def _rows(leaf: Any, columns: Sequence[str], labels: Row) -> list[Any]:
    if leaf is None:
        return []
    if isinstance(leaf, list):
        if columns and leaf and not any(isinstance(cell, list | dict) for cell in leaf):
            return [{**labels, **_named(leaf, columns)}]
        return [_row(element, columns, labels) for element in leaf]
    if not isinstance(leaf, dict):
        return [{**labels, "value": leaf}] if labels else [leaf]
    fields = _flat(leaf)
    lists = {name: value for name, value in fields.items() if isinstance(value, list)}
    if len(lists) > 1:
        if len({len(value) for value in lists.values()}) > 1:
            raise RejectedRecord("its columns are not lists of one length")
        return [{**labels, **dict(zip(lists, cells, strict=True))} for cells in zip(*lists.values(), strict=True)]
    # `{"s": "no_data"}`: what holds no number is no row.
    return [{**labels, **fields}] if any(_is_number(value) for value in fields.values()) else []


def _row(element: Any, columns: Sequence[str], labels: Row) -> Any:
    if isinstance(element, dict):
        return {**labels, **_flat(element)}
    return {**labels, **_named(element, columns)} if isinstance(element, list) else element


def _named(cells: list[Any], columns: Sequence[str]) -> Row:
    """Cells by their names, or by their numbers from 1."""
    return {columns[i] if i < len(columns) else str(i + 1): cell for i, cell in enumerate(cells)}


def _flat(value: Mapping[str, Any]) -> Row:
    """An object without objects in it: `{"quote": {"USD": {"price": 1}}}` -> `{"price": 1}`; names that would be two are
    written with all above them, `quote.USD.price`."""
    paths = dict(_leaves(value, (), _DEPTH_MAX))
    last = [path[-1] for path in paths]
    return {path[-1] if last.count(path[-1]) == 1 else ".".join(path): leaf for path, leaf in paths.items()}


def _leaves(value: Mapping[str, Any], above: tuple[str, ...], depth: int) -> Iterator[tuple[tuple[str, ...], Any]]:
    for name, inner in value.items():
        if isinstance(inner, list) and len(inner) == 1 and isinstance(inner[0], dict):
            inner = inner[0]
        if isinstance(inner, dict) and depth:
            yield from _leaves(inner, (*above, name), depth - 1)
        else:
            yield (*above, name), inner


def _is_number(value: Any) -> bool:
    if isinstance(value, str):
        try:
            float(value)
        except ValueError:
            return False
        return True
    return isinstance(value, int | float) and not isinstance(value, bool)
