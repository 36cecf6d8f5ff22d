import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from marketpulse.errors import ParameterError, QueryCancelled, QueryRefused
from marketpulse.ports import SqlMistake, SqlQuestion
from marketpulse.query.desk import LakeDesk
from marketpulse.query.view_columns import view_columns
from marketpulse.settings import Settings
from real_rows import real_trades, store


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    made = Settings(data_dir=tmp_path_factory.mktemp("desk"))
    store(made, "trades", real_trades(), "market")
    return made


@pytest.fixture(scope="module")
def desk(settings: Settings) -> Iterator[LakeDesk]:
    opened = LakeDesk(settings)
    yield opened
    opened.close()


def test_a_part_of_the_rows_says_whether_there_are_more(desk: LakeDesk) -> None:
    sql = "SELECT i FROM range(10) t(i) ORDER BY i"
    seen = []
    for skip in range(0, 12, 4):
        answer = desk.answer(SqlQuestion(sql, skip=skip, limit=4), threading.Event())
        seen.append((answer.rows["i"].to_pylist(), answer.more))
    assert seen == [([0, 1, 2, 3], True), ([4, 5, 6, 7], True), ([8, 9], False)]


def test_the_answer_says_what_was_run_and_whose_it_was(desk: LakeDesk) -> None:
    plain = desk.answer(SqlQuestion("SELECT 7/2 AS x"), threading.Event())
    assert (plain.rows["x"].to_pylist(), plain.dialect) == ([3.5], "duckdb")
    other = desk.answer(SqlQuestion("SELECT 7/2 AS x", dialect="athena"), threading.Event())
    assert (other.rows["x"].to_pylist(), other.dialect, other.sql) == ([3], "athena", "SELECT 7 // 2 AS x")


def test_arguments_that_duckdb_does_not_take_are_tried_as_athenas(desk: LakeDesk) -> None:
    answer = desk.answer(
        SqlQuestion("SELECT element_at(array_agg(price ORDER BY timestamp), 1) AS p FROM trades"), threading.Event()
    )
    assert (answer.rows["p"].to_pylist(), answer.dialect) == ([367.46], "athena")


@pytest.mark.parametrize(
    ("sql", "line", "column"),
    [
        ("SELECT * FORM trades", 1, 15),
        ("SELECT symbol,\n  prize\nFROM trades", 2, 3),
        ("SELECT date_parse('a', 'b'),\n  prize FROM trades", 2, 3),
        ("SELECT nosuch(1)", 1, 8),
    ],
)
def test_a_mistake_has_its_place_in_what_was_asked(desk: LakeDesk, sql: str, line: int, column: int) -> None:
    with pytest.raises(QueryRefused) as refusal:
        desk.answer(SqlQuestion(sql), threading.Event())
    mistake = refusal.value.mistake
    assert isinstance(mistake, SqlMistake)
    assert (mistake.line, mistake.column) == (line, column)


def test_parameters_belong_to_a_named_query(desk: LakeDesk) -> None:
    with pytest.raises(ParameterError, match="belong to a named query"):
        desk.answer(SqlQuestion("SELECT 1", parameters={"days": "1"}), threading.Event())


def test_a_named_query_is_cancelled_too(desk: LakeDesk) -> None:
    cancelled = threading.Event()
    cancelled.set()
    with pytest.raises(QueryCancelled):
        desk.answer(SqlQuestion(named="gainers"), cancelled)


def test_the_version_changes_with_what_is_stored(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path)
    desk = LakeDesk(settings)
    empty = desk.version()
    assert desk.version() == empty
    store(settings, "trades", real_trades(), "market")
    assert desk.version() != empty
    desk.close()


def test_the_library_is_described_for_programs(desk: LakeDesk) -> None:
    gainers = next(query for query in desk.library() if query["name"] == "gainers")
    assert gainers["title"] == "Gainers"
    assert gainers["parameters"][2] == {
        "name": "days", "kind": "count", "default": "30", "meaning": "how many days back from `until`",
    }  # fmt: skip


def test_the_columns_of_the_views_are_known_without_a_lake() -> None:
    assert view_columns()["stock_data"] == ("symbol", "timestamp", "price", "volume")
