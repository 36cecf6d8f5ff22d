"""SQL over the lake: both dialects, the named queries, parts of a result."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal

import pyarrow as pa

from marketpulse.errors import ParameterError, QueryRefused
from marketpulse.ports import SqlAnswer, SqlPlan, SqlQuestion, SqlTable
from marketpulse.query.dialect import looks_foreign, written_in
from marketpulse.query.duck import Answered, LakeQuery
from marketpulse.query.explain import Reading
from marketpulse.query.formats import render
from marketpulse.query.from_athena import to_duckdb
from marketpulse.query.how import How
from marketpulse.query.meanings import MEANINGS
from marketpulse.query.mistakes import mistake_in
from marketpulse.query.named import NAMED, NamedQuery, named
from marketpulse.query.named.days import Days, Ends
from marketpulse.query.plan import Plan
from marketpulse.query.views import VIEWS
from marketpulse.settings import Settings


class LakeDesk:
    """The lake's desk."""

    def __init__(self, settings: Settings) -> None:
        self._query = LakeQuery(settings)

    def answer(self, question: SqlQuestion) -> SqlAnswer:
        limit = None if question.limit is None else question.limit + 1
        how = How(skip=question.skip, limit=limit)
        days = self._days(question)
        answered, sql, dialect = self._run(question, days, how)
        rows = answered.rows
        more = limit is not None and rows.num_rows == limit
        note = "" if days is None else self._note(days, empty=rows.num_rows == 0 and not question.skip)
        return SqlAnswer(rows.slice(0, question.limit), more, sql, dialect, answered.committed_ms, note)

    def explain(self, question: SqlQuestion) -> str:
        """Run it and tell how: what was asked of each table's files, which of them were read, and DuckDB's plan."""
        reading, sql, _, plan = self._watched(question)
        return "\n".join([sql.strip(), "", *reading.lines(plan), "", *plan.lines(), ""])

    def plan(self, question: SqlQuestion) -> SqlPlan:
        reading, sql, dialect, plan = self._watched(question)
        return SqlPlan(sql.strip(), dialect, tuple(reading.all(plan)), "\n".join(plan.lines()))

    def tables(self) -> Sequence[SqlTable]:
        return [
            # No symbol is '': no file is opened for it.
            SqlTable(view, MEANINGS[view], [(f.name, str(f.type)) for f in self._query.run(f"SELECT * FROM {view} WHERE symbol = '' LIMIT 0").schema])  # noqa: S608  (one of VIEWS)
            for view in VIEWS
        ]  # fmt: skip

    def version(self) -> str:
        return self._query.version()

    def library(self) -> Sequence[Mapping[str, Any]]:
        return [_described(query) for query in NAMED.values()]

    def render(self, rows: pa.Table, form: str) -> bytes:
        return render(rows, form)

    def close(self) -> None:
        self._query.close()

    def _watched(self, question: SqlQuestion) -> tuple[Reading, str, Literal["duckdb", "athena"], Plan]:
        reading = Reading()
        how = How(prefix="EXPLAIN (ANALYZE, FORMAT json) ", reading=reading)
        answered, sql, dialect = self._run(question, self._days(question), how)
        rows = answered.rows
        return reading, sql, dialect, Plan.of(str(rows.column(rows.num_columns - 1)[0].as_py()))

    def _run(
        self, question: SqlQuestion, days: Days | None, how: How
    ) -> tuple[Answered, str, Literal["duckdb", "athena"]]:
        if days is not None:
            return self._as_athena(days.sql(), how)
        if question.parameters:
            raise ParameterError("parameters belong to a named query: name one, or write the values themselves")
        asked = question.sql
        dialect = written_in(asked) if question.dialect == "auto" else question.dialect
        if dialect == "athena":
            try:
                return self._as_athena(asked, how)
            except QueryRefused as refusal:
                if question.dialect == "athena" or not str(refusal).startswith("Parser Error"):
                    raise
        try:
            return self._query.answer(asked, how), asked, "duckdb"
        except QueryRefused as refusal:
            error = refusal
        if question.dialect == "auto" and looks_foreign(str(error)):
            try:
                return self._as_athena(asked, how)
            except QueryRefused:
                pass  # it is wrong in both: DuckDB's words are shown
        raise _placed(error, asked)

    def _as_athena(self, asked: str, how: How) -> tuple[Answered, str, Literal["athena"]]:
        try:
            sql = to_duckdb(asked)
            return self._query.answer(sql, how), sql, "athena"
        except QueryRefused as refusal:
            raise _placed(refusal, asked) from None

    def _days(self, question: SqlQuestion) -> Days | None:
        """Those that a named query covers. Each symbol's newest row is looked up first: then older files are left out."""
        if question.named is None:
            return None
        days = Days(named(question.named), question.parameters)
        return days if "until" in question.parameters else self._with_ends(days)

    def _with_ends(self, days: Days) -> Days:
        rows = self._query.run(to_duckdb(days.query.ends(days.values))).to_pylist()
        return replace(days, ends=Ends(**rows[0]))

    def _note(self, days: Days, *, empty: bool) -> str:
        if not empty:
            return days.covered()
        days = days if days.ends else self._with_ends(days)
        timeframes: list[str] = []
        if days.ends and not days.ends.symbols and days.query.table == "bars":
            rows = self._query.run(to_duckdb(days.query.timeframes(days.values)))
            timeframes = rows.column(0).to_pylist()
        return " ".join(part for part in (days.covered(), days.why_empty(timeframes)) if part)


def _placed(refusal: QueryRefused, asked: str) -> QueryRefused:
    refusal.mistake = mistake_in(asked, str(refusal))
    return refusal


def _described(query: NamedQuery) -> dict[str, Any]:
    return {
        "name": query.name, "title": query.title, "meaning": query.meaning, "sql": query.sql,
        "parameters": [
            {"name": p.name, "kind": p.kind, "default": p.default, "meaning": p.meaning} for p in query.parameters
        ],
    }  # fmt: skip
