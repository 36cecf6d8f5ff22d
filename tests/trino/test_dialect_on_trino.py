"""The dialect on Athena's own engine: the same text gives the same rows there and here."""

import math
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest

from athena_queries import FROM_DUCKDB, TWINS
from marketpulse.ports import SqlQuestion
from marketpulse.query.desk import LakeDesk
from marketpulse.query.named import NAMED
from marketpulse.query.to_athena import to_athena
from marketpulse.query.view_columns import view_columns
from trino_server import Trino

pytestmark = pytest.mark.trino


def here(lake: LakeDesk, question: SqlQuestion) -> list[list[Any]]:
    return plain(lake.answer(question).rows)


def plain(rows: pa.Table) -> list[list[Any]]:
    return [[_plain(value) for value in row.values()] for row in rows.to_pylist()]


def _plain(value: Any) -> Any:
    """What both mean: a number, a text, a moment in UTC."""
    if isinstance(value, Decimal):
        return float(value)
    if isinstance(value, datetime):
        return (value if value.tzinfo else value.replace(tzinfo=UTC)).timestamp()
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    return value


def assert_same(mine: list[list[Any]], theirs: list[list[Any]], relative: float = 1e-9) -> None:
    assert len(mine) == len(theirs)
    for a, b in zip(mine, theirs, strict=True):
        for x, y in zip(a, b, strict=True):
            if isinstance(x, float) or isinstance(y, float):
                assert x == pytest.approx(y, rel=relative, abs=1e-6) or (math.isnan(x) and math.isnan(y)), (a, b)
            else:
                assert x == y, (a, b)


@pytest.mark.parametrize("name", sorted(NAMED))
def test_a_named_query_gives_the_same_rows_there_and_here(lake: LakeDesk, trino: Trino, name: str) -> None:
    theirs = plain(trino.run(NAMED[name].sql))
    assert_same(here(lake, SqlQuestion(named=name)), theirs, 1e-6)
    assert theirs or name == "gainers"


@pytest.mark.parametrize(("athena", "within"), [(athena, 1e-9 if exact else 0.03) for athena, _, exact in TWINS])
def test_athenas_words_mean_the_same_or_nearly_here(lake: LakeDesk, trino: Trino, athena: str, within: float) -> None:
    assert_same(here(lake, SqlQuestion(athena, dialect="athena")), plain(trino.run(athena)), within)


@pytest.mark.parametrize(("duckdb", "exact"), FROM_DUCKDB)
def test_duckdbs_words_are_sent_as_athenas(lake: LakeDesk, trino: Trino, duckdb: str, exact: bool) -> None:
    sent = to_athena(duckdb, view_columns())
    assert_same(here(lake, SqlQuestion(duckdb, dialect="duckdb")), plain(trino.run(sent)), 1e-9 if exact else 0.03)


@pytest.mark.parametrize(("athena", "theirs", "mine"), [
    ("SELECT CAST(367.46E0 AS varchar)", "3.6746E2", "367.46"), ("SELECT CAST(2.5E0 AS bigint)", 3, 2),
    ("SELECT CAST(7.5 / 2 AS varchar)", "3.8", "3.75"),
])  # fmt: skip
def test_what_differs_is_what_we_name(lake: LakeDesk, trino: Trino, athena: str, theirs: object, mine: object) -> None:
    assert plain(trino.run(athena)) == [[theirs]]
    assert here(lake, SqlQuestion(athena, dialect="athena")) == [[mine]]
