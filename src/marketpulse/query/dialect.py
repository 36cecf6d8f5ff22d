"""Which dialect a query is written in. The same rule holds for what runs here and for what goes to Athena:

DuckDB's, when DuckDB's parser reads it and has every function that it calls; else Athena's.
"""

import json
from collections.abc import Iterator
from functools import cache
from typing import Any, Literal

import duckdb

Dialect = Literal["auto", "duckdb", "athena"]

_WITHOUT_ENTRY = frozenset({"unnest", "grouping", "grouping_id", "row", "struct_pack", "coalesce", "try", "count_star"})
"""Functions that DuckDB's binder knows and its list of functions does not."""
_OTHERS_WITH_SO_MANY = frozenset({("date_add", 3), ("json_extract_scalar", 2)})
"""Functions of both names, by (name, arguments) as only Athena has them."""


@cache
def _known() -> tuple[Any, frozenset[str]]:
    parser = duckdb.connect(":memory:", config={"enable_external_access": "false", "lock_configuration": "true"})
    rows = parser.execute("SELECT DISTINCT lower(function_name) FROM duckdb_functions()").fetchall()
    return parser, frozenset(str(name) for (name,) in rows) | _WITHOUT_ENTRY


def written_in(sql: str) -> Literal["duckdb", "athena"]:
    """The dialect of a query that does not say."""
    parser, known = _known()
    with parser.cursor() as cursor:
        try:
            cursor.extract_statements(sql)
            answer = cursor.execute("SELECT json_serialize_sql(?::VARCHAR)", [sql]).fetchall()[0][0]
        except duckdb.Error:
            return "athena"
    try:
        tree = json.loads(answer)
    except RecursionError:
        return "duckdb"  # whose guard says what is wrong
    if tree["error"]:
        return "athena" if tree.get("error_type") == "parser" else "duckdb"
    for name, arguments in _calls(tree["statements"]):
        if name not in known or (name, arguments) in _OTHERS_WITH_SO_MANY:
            return "athena"
    return "duckdb"


def looks_foreign(message: str) -> bool:
    """Whether DuckDB refused a function or its arguments, which may be another dialect's."""
    return message.startswith(("Parser Error", "Binder Error: No function matches", "Binder Error: Macro")) or (
        message.startswith("Catalog Error") and "Function with name" in message
    )


def _calls(tree: Any) -> Iterator[tuple[str, int]]:
    stack = [tree]
    while stack:
        node = stack.pop()
        if isinstance(node, dict):
            if node.get("class") == "FUNCTION" and not node.get("is_operator"):
                yield str(node["function_name"]).lower(), len(node.get("arguments", ()))
            stack.extend(node.values())
        elif isinstance(node, list):
            stack.extend(node)
