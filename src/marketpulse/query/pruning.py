"""Which files a query can need, by its conditions and by what the manifests know of the files.

Only what is plain is understood: a view that stands alone in FROM, and of its WHERE the comparisons of a stored column with
a constant, joined by AND and OR. Whatever else a query says leaves out nothing.
"""

import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from marketpulse.catalog.layout import TIMES, arrow_schema
from marketpulse.catalog.visible import StoredFile

Tree = Mapping[str, Any]
"""A node of a query as DuckDB's parser gives it."""

_MIRRORED = {
    "COMPARE_GREATERTHAN": "COMPARE_LESSTHAN", "COMPARE_GREATERTHANOREQUALTO": "COMPARE_LESSTHANOREQUALTO",
    "COMPARE_LESSTHAN": "COMPARE_GREATERTHAN", "COMPARE_LESSTHANOREQUALTO": "COMPARE_GREATERTHANOREQUALTO",
    "COMPARE_EQUAL": "COMPARE_EQUAL",
}  # fmt: skip
_ARITHMETIC: dict[str, Callable[[int, int], int]] = {
    "+": lambda a, b: a + b,
    "-": lambda a, b: a - b,
    "*": lambda a, b: a * b,
}
_RENAMED: dict[str, str | None] = {"timestamp": "event_time", "event_time": None}
_HIDDEN: dict[str, dict[str, str | None]] = {
    "trades": _RENAMED, "quotes": _RENAMED, "events": _RENAMED,
    "stock_data": _RENAMED | dict.fromkeys(set(arrow_schema("trades").names) - {"symbol", "price"} - set(_RENAMED)),
    "stock_data over bars": dict.fromkeys(arrow_schema("bars").names) | {"symbol": "symbol", "timestamp": "open_time"},
}  # fmt: skip
"""What views call otherwise, or (None) do not have: there such a name is another query's column, or an alias."""

_WHOLE_NUMBER = re.compile(r"-?\d+")
_DATE = re.compile(r"\d{4}-\d\d-\d\d")
_TIME = re.compile(r"\d{4}-\d\d-\d\d([ T]\d\d:\d\d(:\d\d(\.\d{1,6})?)?)?")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_LAST = chr(0x10FFFF)


def needed(
    tree: Any, view: str, table: str, files: Sequence[StoredFile], columns: Collection[str] | None = None
) -> Sequence[StoredFile]:
    """Those of a view's files that may hold rows which the query asks for; conditions on other `columns` are let be."""
    asked = list(_references(tree, view)) if files else []
    if not asked or any(where is None for where in asked):
        return files
    conditions = [_Condition(view, table, *where, columns) for where in asked if where is not None]
    return [file for file in files if any(condition.may_hold(file) for condition in conditions)]


def requested_symbols(tree: Any, view: str, table: str) -> set[str] | None:
    """The symbols that a query asks a view for, by `symbol = '…'` and `symbol IN (…)`; None: it may ask for any."""
    symbols: set[str] = set()
    for where in (references := list(_references(tree, view))):
        values = None
        if where is not None and where[1] is not None:
            values = _Condition(view, table, *where, ("symbol",)).symbols(where[1])
        if values is None:
            return None
        symbols |= values
    return symbols if references else None


def at_the_end(tree: Any, view: str, files: Sequence[StoredFile]) -> Sequence[StoredFile]:
    """Of a query that asks for nothing but the greatest and least values of whole numbers, over all rows of the view: the
    files that may hold them."""
    asked = list(_ends(tree, view))
    if not asked:
        return files
    return [file for file in files if any(_may_be(kind, column, file, files) for kind, column in asked)]


class _Condition:
    """What one reference to a view asks of its rows."""

    def __init__(self, view: str, table: str, called: str, where: Tree | None, columns: Collection[str] | None) -> None:
        self._called, self._where, self._columns = called, where, columns
        self._times = TIMES[table]
        self._hidden = _HIDDEN.get(f"{view} over {table}", _HIDDEN.get(view, {}))

    def may_hold(self, file: StoredFile) -> bool:
        return self._where is None or self._may(self._where, file)

    def symbols(self, node: Tree) -> set[str] | None:
        """The symbols that rows have which meet it; None: any."""
        match node["type"]:
            case "CONJUNCTION_AND":
                parts = [part for child in node["children"] if (part := self.symbols(child)) is not None]
                return set.intersection(*parts) if parts else None
            case "CONJUNCTION_OR":
                choices = [self.symbols(child) for child in node["children"]]
                return None if None in choices else set().union(*(choice for choice in choices if choice))
            case "COMPARE_EQUAL":
                operands = [node["left"], node["right"]]
                column, *values = operands if operands[0]["type"] == "COLUMN_REF" else operands[::-1]
            case "COMPARE_IN":
                column, *values = node["children"]
            case _:
                return None
        texts = [_value(value) for value in values]
        if self._column(column) != "symbol" or not all(isinstance(text, str) for text in texts):
            return None
        return {str(text) for text in texts}

    def _may(self, node: Tree, file: StoredFile) -> bool:
        """False only where no row of the file meets it."""
        match node["type"]:
            case "CONJUNCTION_AND":
                return all(self._may(child, file) for child in node["children"])
            case "CONJUNCTION_OR":
                return any(self._may(child, file) for child in node["children"])
            case "COMPARE_BETWEEN":
                at_least = self._compared("COMPARE_GREATERTHANOREQUALTO", node["input"], node["lower"], file)
                return at_least and self._compared("COMPARE_LESSTHANOREQUALTO", node["input"], node["upper"], file)
            case "COMPARE_IN":
                column, *values = node["children"]
                return any(self._compared("COMPARE_EQUAL", column, value, file) for value in values)
            case "FUNCTION" if node.get("function_name") == "~~":
                column, pattern = (argument["expression"] for argument in node["arguments"])
                return self._like(column, pattern, file)
            case kind if kind in _MIRRORED:
                left, right = node["left"], node["right"]
                if left["type"] != "COLUMN_REF":
                    kind, left, right = _MIRRORED[kind], right, left
                return self._compared(kind, left, right, file)
        return True

    def _compared(self, kind: str, column: Tree, constant: Tree, file: StoredFile) -> bool:
        name = self._column(column)
        there = None if name is None else file.bounds.get(name)
        if name is None or there is None:
            return True
        value = _microseconds(constant) if name in self._times else _value(constant)
        low, high = there
        # Not of other types, and not of floating point numbers, whose bounds leave out NaN.
        if value is None or type(low) is not type(value) or type(low) not in (int, str):
            return True
        return _may_compare(kind, low, high, value)

    def _like(self, column: Tree, pattern: Tree, file: StoredFile) -> bool:
        """By what the pattern begins with."""
        name, text = self._column(column), _value(pattern)
        there = None if name is None else file.bounds.get(name)
        if there is None or not isinstance(text, str) or not isinstance(there[0], str):
            return True
        begin = re.split("[%_]", text, maxsplit=1)[0]
        end = begin if begin == text else begin + _LAST
        return bool(there[0] <= end and there[1] >= begin)

    def _column(self, node: Tree) -> str | None:
        """The stored column that is named."""
        if node["type"] != "COLUMN_REF":
            return None
        *before, name = (str(part).lower() for part in node["column_names"])
        if before not in ([], [self._called]) or (self._columns is not None and name not in self._columns):
            return None
        return self._hidden.get(name, name)


def _may_compare(kind: str, low: Any, high: Any, value: Any) -> bool:
    """Whether a column between these bounds may hold what compares so with the value."""
    match kind:
        case "COMPARE_GREATERTHAN":
            return bool(high > value)
        case "COMPARE_GREATERTHANOREQUALTO":
            return bool(high >= value)
        case "COMPARE_LESSTHAN":
            return bool(low < value)
        case "COMPARE_LESSTHANOREQUALTO":
            return bool(low <= value)
    return bool(low <= value <= high)


def _references(tree: Any, view: str) -> Iterator[tuple[str, Tree | None] | None]:
    """Of each place that names the view: what it is called there, and the conditions on it. None: nothing is known."""
    for node, below in _nodes(tree):
        if any(str(entry["key"]).lower() == view for entry in node.get("cte_map", {}).get("map", ())):
            yield None  # another thing is called so
        if not _names(node, view):
            continue
        plain = not node.get("sample") and not node.get("column_name_alias")
        if below is not None and below["type"] == "SELECT_NODE" and below["from_table"] is node and plain:
            yield str(node["alias"] or view).lower(), below["where_clause"]
        else:
            yield None


def _ends(tree: Any, view: str) -> Iterator[tuple[str, str]]:
    """(`min` or `max`, column) of everything that the query asks for, where it asks for nothing else."""
    statements = tree if isinstance(tree, list) else []
    node = statements[0]["node"] if len(statements) == 1 else {}
    if node.get("type") != "SELECT_NODE" or not _names(node["from_table"], view) or node["cte_map"]["map"]:
        return
    others = ("where_clause", "group_expressions", "having", "qualify", "sample", "modifiers")
    if any(node[part] for part in others):
        return
    if node["from_table"].get("sample") or node["from_table"].get("column_name_alias"):
        return
    found = []
    for asked in node["select_list"]:
        arguments = [argument["expression"] for argument in asked.get("arguments", ())]
        plain = asked.get("function_name") in ("min", "max") and not asked.get("filter") and len(arguments) == 1
        if not plain or arguments[0]["type"] != "COLUMN_REF" or len(arguments[0]["column_names"]) != 1:
            return
        found.append((str(asked["function_name"]), str(arguments[0]["column_names"][0]).lower()))
    yield from found


def _may_be(kind: str, column: str, file: StoredFile, files: Sequence[StoredFile]) -> bool:
    there = file.bounds.get(column)
    known = [other.bounds[column] for other in files if column in other.bounds]
    if there is None or type(there[0]) is not int:
        return True
    if kind == "max":
        return bool(there[1] >= max(low for low, _ in known))
    return bool(there[0] <= min(high for _, high in known))


def _names(node: Any, view: str) -> bool:
    return isinstance(node, Mapping) and node.get("type") == "BASE_TABLE" and str(node["table_name"]).lower() == view


def _nodes(tree: Any) -> Iterator[tuple[Tree, Tree | None]]:
    """Every node, with the node that it stands in."""
    stack: list[tuple[Any, Tree | None]] = [(tree, None)]
    while stack:
        node, below = stack.pop()
        if isinstance(node, list):
            stack.extend((child, below) for child in node)
        elif isinstance(node, Mapping):
            yield node, below
            stack.extend((child, node) for child in node.values())


def _value(node: Tree) -> int | str | None:
    """A constant's value; None where it is not one that is understood."""
    if node["type"] == "VALUE_CONSTANT":
        literal = node.get("literal") or {}
        kind, text = literal.get("kind"), str(literal.get("text"))
        if kind == "INTEGER" and _WHOLE_NUMBER.fullmatch(text):
            return int(text)
        return text if kind == "STRING" else None
    if node["type"] == "FUNCTION" and node.get("function_name") in _ARITHMETIC:
        values = [_value(argument["expression"]) for argument in node["arguments"]]
        if len(values) == 2 and all(isinstance(value, int) for value in values):
            return _ARITHMETIC[node["function_name"]](*values)  # type: ignore[arg-type]
    return None


def _microseconds(node: Tree) -> int | None:
    """A moment, since 1970 and in UTC, of a text or of a text that is cast."""
    pattern = _TIME
    if node["type"] == "OPERATOR_CAST" and not node.get("try_cast"):
        kind = node["type_expr"].get("type_name")
        if kind not in ("DATE", "TIMESTAMP"):
            return None
        pattern = _DATE if kind == "DATE" else _TIME
        node = node["child"]
    text = _value(node)
    if not isinstance(text, str) or not pattern.fullmatch(text):
        return None
    try:
        return (datetime.fromisoformat(text).replace(tzinfo=UTC) - _EPOCH) // timedelta(microseconds=1)
    except ValueError:
        return None
