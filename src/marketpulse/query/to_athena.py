"""DuckDB's SQL, as Athena (Trino) takes it. What Athena has no word for is refused before it costs anything."""

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

from sqlglot import exp
from sqlglot.errors import ErrorLevel, UnsupportedError

from marketpulse.errors import QueryRefused
from marketpulse.query.from_athena import parse_one
from marketpulse.query.guard import TEXT_MAX

Columns = Mapping[str, Sequence[str]]
"""The columns of each table that is known, in their order."""

_SECONDS = {"SECOND": 1, "MINUTE": 60, "HOUR": 3_600, "DAY": 86_400}
_DAY_S = 86_400
_PLAIN_MOMENTS = (exp.DataType.Type.TIMESTAMP, exp.DataType.Type.TIMESTAMPNTZ)


def to_athena(sql: str, columns: Columns) -> str:
    """The statement for Athena. Raises QueryRefused where DuckDB would not read it, or Athena has no word for it."""
    if len(sql) > TEXT_MAX:
        raise QueryRefused(f"the query is longer than {TEXT_MAX:,} characters")
    try:
        return _translated(sql, columns)
    except RecursionError:
        raise QueryRefused("the query is nested too deeply: write it with WITH") from None


def _translated(sql: str, columns: Columns) -> str:
    tree = parse_one(sql, "duckdb")
    for select in reversed(list(tree.find_all(exp.Select))):
        _spell_out(select, columns)
    for select in reversed(list(tree.find_all(exp.Select))):
        if select.args.get("qualify") is not None:
            chosen = _chosen(select, columns)
            if select is tree:
                tree = chosen
            else:
                select.replace(chosen)
    for node in reversed(list(tree.walk())):
        change = _CHANGES.get(type(node))
        changed = node if change is None else change(node)
        if changed is not node:
            node.replace(changed)
    try:
        return str(tree.sql("athena", unsupported_level=ErrorLevel.RAISE, pretty=True))
    except UnsupportedError as error:
        raise _no_word(str(error)) from None


def _no_word(what: str) -> QueryRefused:
    return QueryRefused(
        f"Athena has no word for this: {what}: write the query in its own dialect, with --dialect athena"
    )


def _spell_out(select: exp.Select, columns: Columns) -> None:
    """Athena knows a name of the SELECT list in ORDER BY alone, and neither GROUP BY ALL nor EXCLUDE."""
    here = _columns_here(select, columns)
    names = _aliases(select)
    _check(select)
    _expand_list(select, names, here)
    group = select.args.get("group")
    if group is not None and group.args.get("all"):
        plain = [i for i, p in enumerate(select.expressions, 1) if not _aggregates(p)]
        numbers: list[Any] = [exp.Literal.number(i) for i in plain]
        select.set("group", exp.Group(expressions=numbers) if numbers else None)
    for part in ("where", "group", "having", "qualify"):
        if (clause := select.args.get(part)) is not None:
            _expand(clause, names, here)
    order = select.args.get("order")
    if order is not None and len(order.expressions) == 1 and _is_all(order.expressions[0].this):
        direction = order.expressions[0].args
        order.set("expressions", [
            exp.Ordered(this=exp.Literal.number(i), **{k: direction.get(k) for k in ("desc", "nulls_first")})
            for i in range(1, len(select.expressions) + 1)
        ])  # fmt: skip


def _aliases(select: exp.Select) -> dict[str, exp.Expr]:
    return {p.alias.lower(): p.this for p in select.expressions if isinstance(p, exp.Alias)}


def _expand_list(select: exp.Select, names: dict[str, exp.Expr], here: Collection[str]) -> None:
    """A later column may use an earlier one's name in DuckDB."""
    earlier: dict[str, exp.Expr] = {}
    for projection in select.expressions:
        _expand(projection, earlier, here)
        if isinstance(projection, exp.Alias):
            earlier[projection.alias.lower()] = projection.this
    names.update(earlier)


def _expand(clause: Any, names: Mapping[str, exp.Expr], here: Collection[str]) -> None:
    """Put in what each name stands for. A column of the tables goes before a name of the list."""
    for column in list(clause.find_all(exp.Column)):
        name = column.name.lower()
        if column.table or name in here or name not in names or _inner(column, clause):
            continue
        meant = names[name].copy()
        alone = isinstance(meant, exp.Column | exp.Literal | exp.Func) or column.parent is clause
        column.replace(meant if alone else exp.paren(meant))


def _inner(column: exp.Column, clause: Any) -> bool:
    """Whether the column belongs to a query inside the clause."""
    select = column.find_ancestor(exp.Select)
    return select is not clause.find_ancestor(exp.Select)


def _columns_here(select: exp.Select, columns: Columns) -> set[str]:
    """The columns that the tables and queries in FROM are known to have."""
    found: set[str] = set()
    sources = [select.args.get("from_") or select.args.get("from"), *select.args.get("joins", [])]
    for source in sources:
        inner = source.this if source is not None else None
        if isinstance(inner, exp.Table):
            query = _common_table(select, inner.name)
            found |= set(query.named_selects) if query is not None else set(columns.get(inner.name.lower(), ()))
        elif isinstance(inner, exp.Subquery) and isinstance(inner.this, exp.Query):
            found |= set(inner.this.named_selects)
    return {name.lower() for name in found}


def _common_table(select: exp.Select, name: str) -> Any:
    scope: Any = select
    while scope is not None:
        for entry in scope.args.get("with_").expressions if scope.args.get("with_") else ():
            if entry.alias.lower() == name.lower():
                return entry.this
        scope = scope.find_ancestor(exp.Query)
    return None


def _aggregates(projection: exp.Expr) -> bool:
    """Whether it computes over a group; a window over rows does not."""
    return any(
        isinstance(node, exp.AggFunc) and not isinstance(node.parent, exp.Window | exp.IgnoreNulls)
        for node in projection.walk()
    )


def _is_all(node: Any) -> bool:
    return isinstance(node, exp.Var) and node.name.upper() == "ALL"


def _check(select: exp.Select) -> None:
    """What would come through as it stands, and fail there. Raises QueryRefused."""
    for join in select.args.get("joins") or ():
        kind = join.method or (join.kind if join.kind in ("SEMI", "ANTI") else "")
        if kind:
            raise _no_word(f"{kind} JOIN")
    if select.find(exp.TableSample):
        raise _no_word("a sample (it is TABLESAMPLE BERNOULLI (10) there)")
    for projection in select.expressions:
        for star in projection.find_all(exp.Star):
            if star.args.get("except_") or star.args.get("replace"):
                raise _no_word("* EXCLUDE and * REPLACE (name the columns)")
        if projection.find(exp.Columns):
            raise _no_word("COLUMNS(…) (name the columns)")


def _chosen(select: exp.Select, columns: Columns) -> exp.Select:
    """Without QUALIFY: the rows are numbered in an inner query, and chosen and ordered outside."""
    if any(isinstance(p, exp.Star) for p in select.expressions):
        table = select.args["from_"].this
        known = columns.get(table.name.lower(), ()) if isinstance(table, exp.Table) else ()
        if not known or select.args.get("joins") or len(select.expressions) > 1 or table.name.lower() == "indicators":
            raise _no_word("QUALIFY behind * (name the columns)")
        select.set("expressions", [exp.column(name, quoted=True) for name in known])
    names = select.named_selects
    order = select.args.get("order")
    for column in order.find_all(exp.Column) if order is not None else ():
        if column.name not in names:
            raise _no_word(f"QUALIFY with ORDER BY {column.name}, which is not in the SELECT list (add it)")
        column.set("table", None)
    outer = exp.Select(expressions=[exp.column(name, quoted=True) for name in names])
    for part in ("order", "limit", "offset"):
        outer.set(part, select.args.get(part))
        select.set(part, None)
    condition = select.args["qualify"].this
    select.set("qualify", None)
    for place, window in enumerate(list(condition.find_all(exp.Window))):
        name = f"_window_{place}"
        select.append("expressions", exp.alias_(window.copy(), name))
        if window is condition:
            condition = exp.column(name)
        else:
            window.replace(exp.column(name))
    for column in condition.find_all(exp.Column):
        if column.name not in select.named_selects:
            raise _no_word(f"QUALIFY by {column.name}, which is not in the SELECT list (add it)")
        column.set("table", None)
    inner = exp.Subquery(this=select.copy(), alias=exp.TableAlias(this=exp.to_identifier("_numbered")))
    return outer.from_(inner).where(condition)


def _joined_text(node: exp.GroupConcat) -> exp.Expr:
    separator = node.args.get("separator") or exp.Literal.string(",")
    return exp.Anonymous(this="array_join", expressions=[exp.ArrayAgg(this=node.this.copy()), separator.copy()])


def _counted(node: exp.Count) -> exp.Expr:
    if node.this is None:
        node.set("this", exp.Star())
    return node


def _microseconds(node: exp.Cast) -> exp.Expr:
    """Athena's TIMESTAMP alone has milliseconds."""
    kind = node.to
    if kind.this in _PLAIN_MOMENTS and not kind.expressions:
        node.set("to", exp.DataType.build("TIMESTAMP(6)", dialect="trino"))
    return node


def _quantile(node: Any) -> exp.Expr:
    quantile = node.args.get("expression") or exp.Literal.number("0.5")
    return exp.Anonymous(this="approx_percentile", expressions=[node.this.copy(), quantile.copy()])


def _bucket(node: exp.DateBin) -> exp.Expr:
    """A slot that divides the day, counted from 1970: as DuckDB's, which counts from a midnight too."""
    length = node.this
    unit = str(length.args.get("unit") or "").upper() if isinstance(length, exp.Interval) else ""
    count = length.this.name if isinstance(length, exp.Interval) and length.this is not None else ""
    seconds = int(count) * _SECONDS[unit] if count.isdigit() and unit in _SECONDS else 0
    if not seconds or _DAY_S % seconds:
        raise _no_word("time_bucket of a length that does not divide a day")
    whole = exp.Anonymous(this="to_unixtime", expressions=[node.expression.copy()])
    slots = exp.Anonymous(
        this="floor", expressions=[exp.Div(this=whole, expression=exp.Literal.number(seconds), typed=True)]
    )
    start = exp.Anonymous(
        this="from_unixtime", expressions=[exp.Mul(this=slots, expression=exp.Literal.number(seconds))]
    )
    return exp.Cast(this=start, to=exp.DataType.build("TIMESTAMP(6)", dialect="trino"))


def _divided(node: exp.IntDiv) -> exp.Expr:
    """`//` of whole numbers drops the rest, of others it divides: as Athena's `/`."""
    return exp.Div(this=node.this.copy(), expression=node.expression.copy(), typed=True)


def _moment(microseconds: Any) -> exp.Expr:
    nanoseconds = exp.Mul(this=exp.paren(microseconds.copy()), expression=exp.Literal.number(1000))
    return exp.Cast(
        this=exp.Anonymous(this="from_unixtime_nanos", expressions=[nanoseconds]),
        to=exp.DataType.build("TIMESTAMP(6)", dialect="trino"),
    )


def _from_unix(node: exp.UnixToTime) -> exp.Expr:
    scale = node.args.get("scale")
    return _moment(node.this) if scale is not None and scale.name == "6" else node


def _named(node: exp.Anonymous) -> exp.Expr:
    make = _FUNCTIONS.get((str(node.this).lower(), len(node.expressions)))
    return node if make is None else make(*node.expressions)


def _nanoseconds(moment: Any) -> exp.Expr:
    """To the microsecond, as a TIMESTAMP here is."""
    text = f"CAST(round(to_unixtime({moment.sql('trino')}) * 1000000) AS bigint) * 1000"
    return parse_one("SELECT " + text, "trino").expressions[0]  # type: ignore[no-any-return]


def _part(unit: Any, moment: Any) -> exp.Expr:
    return exp.Extract(this=exp.var(unit.name), expression=moment.copy())


_FUNCTIONS: dict[tuple[str, int], Callable[..., exp.Expr]] = {
    ("epoch_ns", 1): _nanoseconds,
    ("date_part", 2): _part,
    ("datepart", 2): _part,
    ("today", 0): lambda: exp.CurrentDate(),
    ("date_sub", 3): lambda unit, a, b: exp.Anonymous(this="date_diff", expressions=[unit.copy(), a.copy(), b.copy()]),
    ("datesub", 3): lambda unit, a, b: exp.Anonymous(this="date_diff", expressions=[unit.copy(), a.copy(), b.copy()]),
    ("make_timestamp_ns", 1): lambda ns: exp.Anonymous(this="from_unixtime_nanos", expressions=[ns.copy()]),
}
_CHANGES: dict[type, Callable[[Any], Any]] = {
    exp.Anonymous: _named,
    exp.Cast: _microseconds,
    exp.TryCast: _microseconds,
    exp.Count: _counted,
    exp.GroupConcat: _joined_text,
    exp.IntDiv: _divided,
    exp.Median: _quantile,
    exp.PercentileCont: _quantile,
    exp.PercentileDisc: _quantile,
    exp.DateBin: _bucket,
    exp.UnixToTime: _from_unix,
    exp.DayOfWeek: lambda node: exp.Mod(
        this=exp.Anonymous(this="day_of_week", expressions=[node.this.copy()]), expression=exp.Literal.number(7)
    ),
}
