"""Athena's SQL (Trino's), as DuckDB takes it: the same rows, but for what docs/sql.md names.

sqlglot knows most of both dialects. What is added here is where they share a word and mean two things,
which would give other rows and no error.
"""

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import sqlglot
from sqlglot import exp
from sqlglot.errors import ErrorLevel, ParseError, TokenError, UnsupportedError

from marketpulse.errors import QueryRefused
from marketpulse.query.guard import TEXT_MAX

_DATE = exp.DataType.Type.DATE
_WHOLE_DAYS = frozenset({"DAY", "WEEK", "MONTH", "QUARTER", "YEAR"})
_MOMENTS = tuple(exp.DataType.Type[name] for name in ("TIMESTAMP", "TIMESTAMPTZ", "TIMESTAMPNTZ"))
_NOT_HERE = {
    "parse_datetime": "write date_parse, whose format is MySQL's",
    "format_datetime": "write date_format, whose format is MySQL's",
}


@lru_cache(maxsize=64)
def to_duckdb(sql: str) -> str:
    """The statement for DuckDB. Raises QueryRefused where Athena would not read it, or DuckDB has no word for it."""
    if len(sql) > TEXT_MAX:
        raise QueryRefused(f"the query is longer than {TEXT_MAX:,} characters")
    try:
        return _translated(sql)
    except RecursionError:
        raise QueryRefused("the query is nested too deeply: write it with WITH") from None


def _translated(sql: str) -> str:
    tree = parse_one(sql, "athena")
    # Inner ones first: an outer one takes up what its arguments have become.
    for node in reversed(list(tree.walk())):
        changed = _changed(node)
        if changed is not node:
            if node is tree:
                tree = changed
            else:
                node.replace(changed)
    try:
        return str(tree.sql("duckdb", unsupported_level=ErrorLevel.RAISE))
    except UnsupportedError as error:
        raise QueryRefused(f"this part of Athena's SQL is not understood here: {error}") from None


def parse_one(sql: str, dialect: str) -> Any:
    """The tree of one statement. Raises QueryRefused with the place of the mistake (`LINE n:` and a caret)."""
    try:
        trees = [tree for tree in sqlglot.parse(sql, read=dialect) if tree is not None]
    except ParseError as error:
        place = error.errors[0]
        column = place["col"] - len(place["highlight"])  # from 0
        raise QueryRefused(_with_caret(sql, place["description"], place["line"], column)) from None
    except (TokenError, RecursionError) as error:
        raise QueryRefused(f"Parser Error: {str(error).splitlines()[0] or 'nested too deeply'}") from None
    if len(trees) != 1:
        raise QueryRefused(f"give exactly one SELECT, found {len(trees)} statements")
    if not isinstance(trees[0], exp.Query):
        raise QueryRefused("only SELECT (or WITH … SELECT) is run here: nothing can be changed or loaded")
    return trees[0]


def _with_caret(sql: str, what: str, line: int, column: int) -> str:
    text = sql.splitlines()[line - 1] if line <= len(sql.splitlines()) else ""
    head = f"LINE {line}: "
    return f"Parser Error: {what}\n\n{head}{text}\n{' ' * (len(head) + max(column, 0))}^"


def _changed(node: Any) -> Any:
    change = _CHANGES.get(type(node))
    return node if change is None else change(node)


def _named(node: exp.Anonymous) -> exp.Expr:
    name = str(node.this).lower()
    if name in _NOT_HERE:
        raise QueryRefused(f"the function {name} is not understood here: {_NOT_HERE[name]}")
    arguments = node.expressions
    make = _FUNCTIONS.get((name, len(arguments)))
    return node if make is None else make(*arguments)


def _zoned(moment: Any) -> exp.Expr:
    """A moment with its zone: without one it is UTC, as everywhere here."""
    return exp.cast(moment.copy(), "TIMESTAMPTZ", dialect="duckdb")


def _at_zone(moment: Any, zone: Any) -> exp.Expr:
    """What a clock there shows. Athena keeps the zone with it, DuckDB gives the clock's own time."""
    return exp.func("timezone", zone.copy(), _zoned(moment), dialect="duckdb")


def _cast(node: exp.Cast) -> exp.Expr:
    """DuckDB's TIMESTAMP(3) is another type, which not every function takes: its microseconds hold all."""
    kind = node.to
    if kind.this in _MOMENTS and kind.expressions:
        kind.set("expressions", [])
    return node


def _divided(node: exp.Div) -> exp.Expr:
    """Of whole numbers Athena gives a whole one, as DuckDB's `//` does, which divides all others plainly."""
    return exp.IntDiv(this=node.this.copy(), expression=node.expression.copy())


def _moved(node: Any) -> exp.Expr:
    """A date moved by whole days stays a date; DuckDB makes it a moment."""
    unit = node.args.get("unit") or getattr(node.expression, "unit", None)
    if str(unit or "").upper() in _WHOLE_DAYS and _is_date(node.this):
        return exp.cast(node.copy(), "DATE")
    return node  # type: ignore[no-any-return]


def _is_date(node: Any) -> bool:
    if isinstance(node, exp.Paren | exp.Alias):
        return _is_date(node.this)
    return (isinstance(node, exp.Cast) and node.to.this == _DATE) or isinstance(node, exp.CurrentDate | exp.Date)


def _truncated(node: Any) -> exp.Expr:
    return exp.cast(node.copy(), "DATE") if _is_date(node.this) else node


def _difference(node: exp.DateDiff) -> exp.Expr:
    """Athena counts whole units that have passed, DuckDB's date_diff the boundaries between."""
    unit = exp.Literal.string(str(node.args.get("unit") or "day").lower())
    return exp.Anonymous(this="date_sub", expressions=[unit, node.expression.copy(), node.this.copy()])


def _found(node: exp.RegexpExtract) -> exp.Expr:
    """Null where nothing matches; DuckDB gives an empty text."""
    matches = exp.RegexpLike(this=node.this.copy(), expression=node.expression.copy())
    return exp.Case(ifs=[exp.If(this=matches, true=node.copy())])


def _formatted(node: exp.Format) -> exp.Expr:
    return exp.Anonymous(this="printf", expressions=[node.this.copy(), *(e.copy() for e in node.expressions)])


def _bucket(node: exp.WidthBucket) -> exp.Expr:
    if node.args.get("max_value") is None:
        raise QueryRefused("width_bucket over an array of bounds is not understood here: write CASE")
    value, low, high, count = (node.args[k].sql("duckdb") for k in ("this", "min_value", "max_value", "num_buckets"))
    parts = f"floor(({value} - {low}) * {count}::DOUBLE / ({high} - {low}))::BIGINT + 1"
    return sqlglot.parse_one(
        f"CASE WHEN {value} < {low} THEN 0 WHEN {value} >= {high} THEN {count} + 1 ELSE {parts} END", read="duckdb"
    )


def _reduced(node: exp.Reduce) -> exp.Expr:
    """The last argument, where it changes nothing, has no place in DuckDB."""
    finish = node.args.get("finish")
    if isinstance(finish, exp.Lambda) and finish.this == finish.expressions[0]:
        node.set("finish", None)
    return node


def _sliced(node: exp.ArraySlice) -> exp.Expr:
    """Athena is told how many, DuckDB the last."""
    start, count = node.args["start"], node.args["end"]
    last = exp.Sub(
        this=exp.Add(this=start.copy(), expression=exp.paren(count.copy())), expression=exp.Literal.number(1)
    )
    return exp.Anonymous(this="list_slice", expressions=[node.this.copy(), start.copy(), last])


def _part(node: exp.Extract) -> exp.Expr:
    """Athena's week begins with Monday, 1."""
    if node.name.upper() in ("DOW", "DAY_OF_WEEK"):
        return exp.Anonymous(this="isodow", expressions=[node.expression.copy()])
    return node


def _renamed(name: str) -> Callable[..., exp.Expr]:
    return lambda *arguments: exp.Anonymous(this=name, expressions=[a.copy() for a in arguments])


def _double(text: str) -> Callable[..., exp.Expr]:
    return lambda: exp.cast(exp.Literal.string(text), "DOUBLE")


def _map_of(key: Any, value: Any) -> exp.Expr:
    lists = [exp.Anonymous(this="list", expressions=[each.copy()]) for each in (key, value)]
    return exp.Anonymous(this="map", expressions=lists)


def _from_nanoseconds(moment: Any) -> exp.Expr:
    microseconds = exp.IntDiv(this=exp.paren(moment.copy()), expression=exp.Literal.number(1000))
    return exp.Anonymous(this="make_timestamp", expressions=[microseconds])


_FUNCTIONS: dict[tuple[str, int], Callable[..., exp.Expr]] = {
    ("from_unixtime_nanos", 1): _from_nanoseconds,
    ("at_timezone", 2): _at_zone,
    ("with_timezone", 2): lambda moment, zone: exp.func(
        "timezone", zone.copy(), exp.cast(moment.copy(), "TIMESTAMP"), dialect="duckdb"
    ),
    ("map_agg", 2): _map_of,
    ("geometric_mean", 1): _renamed("geomean"),
    ("codepoint", 1): _renamed("unicode"),
    ("nan", 0): _double("nan"),
    ("infinity", 0): _double("infinity"),
}
_CHANGES: dict[type, Callable[[Any], Any]] = {
    exp.Anonymous: _named,
    exp.AtTimeZone: lambda node: _at_zone(node.this, node.args["zone"]),
    exp.Cast: _cast,
    exp.TryCast: _cast,
    exp.Div: _divided,
    exp.ArraySlice: _sliced,
    exp.Extract: _part,
    exp.DateAdd: _moved,
    exp.DateSub: _moved,
    exp.Add: _moved,
    exp.Sub: _moved,
    exp.TimestampTrunc: _truncated,
    exp.DateTrunc: _truncated,
    exp.DateDiff: _difference,
    exp.RegexpExtract: _found,
    exp.Format: _formatted,
    exp.WidthBucket: _bucket,
    exp.Reduce: _reduced,
    exp.ParseDatetime: lambda node: _named(exp.Anonymous(this="parse_datetime", expressions=[node.this.copy()])),
}
