"""Which SQL is let in: one SELECT over the stored tables, and functions that only compute.

DuckDB's own parser reads the text; the tree that it gives is walked, and what is not on a list is
refused. The second wall, in duck.py, is that the database that runs it can open nothing at all.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import duckdb

from marketpulse.errors import QueryRefused

TABLE_FUNCTIONS = frozenset({"unnest", "range", "generate_series", "json_each", "json_tree"})
"""Functions that may stand in FROM: they make rows of their arguments alone."""

TEXT_MAX = 100_000  # characters of one query

_NODES = frozenset({
    "SELECT_NODE", "SET_OPERATION_NODE", "RECURSIVE_CTE_NODE", "CTE_NODE",
    "BASE_TABLE", "SUBQUERY", "JOIN", "EMPTY", "EXPRESSION_LIST", "TABLE_FUNCTION", "PIVOT", "COLUMN_DATA",
    "ORDER_MODIFIER", "DISTINCT_MODIFIER", "LIMIT_MODIFIER", "LIMIT_PERCENT_MODIFIER",
    "ASCENDING", "DESCENDING", "ORDER_DEFAULT",
})  # fmt: skip
_VOLATILE_ALLOWED = frozenset({
    "now", "today", "current_date", "get_current_time", "get_current_timestamp", "transaction_timestamp",
    "current_localtime", "current_localtimestamp", "random", "uuid", "uuidv4", "uuidv7", "gen_random_uuid", "error",
})  # fmt: skip
_REFUSED = frozenset({
    "json_serialize_sql", "json_serialize_plan", "json_deserialize_sql", "json_execute_serialized_sql",
    "pg_sleep", "getenv", "read_text", "read_blob", "which_secret", "parse_duckdb_log_message",
})  # fmt: skip
_PLAIN_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


@dataclass(frozen=True, slots=True)
class Checked:
    """A statement that may run, and the tree that DuckDB's parser makes of it."""

    text: str
    tree: Any


class Guard:
    """Knows the tables and the functions; asks DuckDB for its functions once."""

    def __init__(self, tables: frozenset[str]) -> None:
        self.tables = tables
        self._parser = duckdb.connect(
            ":memory:", config={"enable_external_access": "false", "lock_configuration": "true"}
        )
        self._refused = _REFUSED | _impure_functions(self._parser)
        self._known = lru_cache(maxsize=64)(self._checked)

    def check(self, sql: str) -> Checked:
        """The statement, ready to run. Raises QueryRefused unless it is one plain SELECT."""
        return self._known(sql)

    def _checked(self, sql: str) -> Checked:
        if len(sql) > TEXT_MAX:
            raise QueryRefused(f"the query is longer than {TEXT_MAX:,} characters")
        with self._parser.cursor() as parser:
            try:
                statements = parser.extract_statements(sql)
                if len(statements) != 1:
                    raise QueryRefused(f"give exactly one SELECT, found {len(statements)} statements")
                query = str(statements[0].query).strip().removesuffix(";")
                answer = parser.execute("SELECT json_serialize_sql(?::VARCHAR)", [query]).fetchall()
            except duckdb.Error as error:
                raise QueryRefused(str(error).strip()) from None
        try:
            tree = json.loads(answer[0][0])
        except RecursionError:
            raise QueryRefused("the query is nested too deeply: write it with WITH") from None
        if tree["error"]:
            raise QueryRefused("only SELECT (or WITH … SELECT) is run here: nothing can be changed or loaded")
        self._check_tree(tree["statements"])
        return Checked(query, tree["statements"])

    def _check_tree(self, tree: Any) -> None:
        for node, named in _dictionaries(tree):
            for name in _common_tables(node):
                if not _PLAIN_NAME.fullmatch(name):
                    raise QueryRefused(f"WITH {name!r}: name it in plain letters, digits and underscores")
            kind = node.get("type")
            if "class" in node:
                self._check_expression(node)
            elif isinstance(kind, str) and kind not in _NODES:
                raise QueryRefused(f"{kind} is not allowed here: write a plain SELECT")
            if kind == "BASE_TABLE":
                self._check_table(node, named)
            elif kind == "TABLE_FUNCTION":
                self._check_table_function(node["function"])

    def _check_table(self, node: dict[str, Any], named: frozenset[str]) -> None:
        name = str(node["table_name"])
        plain_place = not node.get("catalog_name") and node.get("schema_name", "") in ("", "main")
        if not plain_place or (name.lower() not in self.tables and name.lower() not in named):
            raise QueryRefused(
                f"there is no table {name!r}: the tables are {', '.join(sorted(self.tables))}; files cannot be read"
            )

    def _check_table_function(self, function: dict[str, Any]) -> None:
        name = str(function.get("function_name", "")).lower()
        if name not in TABLE_FUNCTIONS:
            raise QueryRefused(
                f"{name or 'this'} is not allowed in FROM: only {', '.join(sorted(TABLE_FUNCTIONS))} and the tables"
            )

    def _check_expression(self, node: dict[str, Any]) -> None:
        if node["class"] == "PARAMETER":
            raise QueryRefused("parameters (? and $1) have no value here: write the value itself")
        name = str(node.get("function_name", "")).lower()
        if name in self._refused or name.startswith(("__internal", "duckdb_", "pragma_")):
            raise QueryRefused(f"the function {name} is not allowed: it does more than compute on its arguments")


def _impure_functions(parser: Any) -> frozenset[str]:
    """The functions that read or change something beside their arguments."""
    rows = parser.execute(
        "SELECT DISTINCT function_name FROM duckdb_functions() WHERE function_type = 'scalar' "
        "AND (stability <> 'CONSISTENT' OR has_side_effects)"
    ).fetchall()
    return frozenset(str(name) for (name,) in rows) - _VOLATILE_ALLOWED


def _dictionaries(tree: Any) -> Iterator[tuple[dict[str, Any], frozenset[str]]]:
    """Every node, with the names that WITH gives where it stands: elsewhere such a name is a table's, or the database's own.

    A common table knows those before it, and of itself only the part that recurs.
    """
    stack: list[tuple[Any, frozenset[str]]] = [(tree, frozenset())]
    while stack:
        node, named = stack.pop()
        if isinstance(node, list):
            stack.extend((child, named) for child in node)
        if not isinstance(node, dict):
            continue
        for entry in node.get("cte_map", {}).get("map", ()):
            stack.append((entry["value"], named))
            named |= {str(entry["key"]).lower()}
        yield node, named
        again = named | {str(node.get("cte_name", "")).lower()}  # only what is repeated may name itself
        repeats = node.get("type") == "RECURSIVE_CTE_NODE"
        stack.extend(
            (child, again if repeats and key == "right" else named) for key, child in node.items() if key != "cte_map"
        )


def _common_tables(node: dict[str, Any]) -> Iterator[str]:
    """The names that WITH gives at this node."""
    for entry in node.get("cte_map", {}).get("map", ()):
        yield str(entry["key"])
