"""What a query reads: files and row groups that its conditions leave."""

import threading
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pytest

from marketpulse.model.tables import TABLES
from marketpulse.ports import SqlQuestion
from marketpulse.query.desk import LakeDesk
from marketpulse.settings import Settings
from real_rows import store

DAY_NS = 86_400 * 10**9
START_NS = 19_844 * DAY_NS


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[LakeDesk]:
    """Two partitions, one symbol in each, ten days: a file for each day."""
    settings = Settings(data_dir=tmp_path)
    for partition, symbol in enumerate(("AAA", "BBB")):
        rows = [
            {"symbol": symbol, "event_time_ns": START_NS + day * DAY_NS + i, "price": 1.0, "size": 1.0,
             "topic": "market", "partition": partition, "offset": day * 10 + i, "row": 0}
            for day in range(10) for i in range(10)
        ]  # fmt: skip
        store(settings, "trades", pa.Table.from_pylist(rows, schema=TABLES["trades"][1]), "market", partition)
    opened = LakeDesk(settings)
    yield opened
    opened.close()


def explained(desk: LakeDesk, sql: str) -> str:
    return desk.explain(SqlQuestion(sql), threading.Event())


def read(text: str) -> tuple[int, int]:
    line = next(line for line in text.splitlines() if line.startswith("trades: "))
    files, _, in_all = line.removeprefix("trades: ").split(" ")[:3]
    return int(files), int(in_all)


def test_a_condition_on_symbol_and_time_leaves_out_files(desk: LakeDesk) -> None:
    whole, in_all = read(explained(desk, "SELECT sum(price) FROM trades"))
    assert whole == in_all >= 2
    by_symbol, _ = read(explained(desk, "SELECT sum(price) FROM trades WHERE symbol = 'AAA'"))
    assert by_symbol == in_all // 2
    since = START_NS + 9 * DAY_NS
    sql = f"SELECT sum(price) FROM trades WHERE symbol = 'AAA' AND event_time_ns >= {since}"  # noqa: S608
    both, _ = read(explained(desk, sql))
    assert both == 1


def test_the_plan_and_the_condition_are_shown(desk: LakeDesk) -> None:
    text = explained(
        desk, "SELECT sum(price) FROM trades WHERE symbol = 'AAA' AND date_add('day', 1, timestamp) IS NOT NULL"
    )
    assert "INTERVAL 1 DAY" in text  # what was run
    assert "trades: 10 of 20 files, 10 of 10 row groups, 100 of 200 rows" in text
    assert "where (symbol = 'AAA')" in text
    assert "table scan (100 rows, " in text


def test_a_named_query_reads_only_its_days(desk: LakeDesk) -> None:
    question = SqlQuestion(named="daily_average", parameters={"days": "1", "symbol": "BBB"})
    files, in_all = read(desk.explain(question, threading.Event()))
    assert files == 1 < in_all


def test_a_query_that_reads_nothing_says_so(desk: LakeDesk) -> None:
    assert "no file was read" in explained(desk, "SELECT 1")
