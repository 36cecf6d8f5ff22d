import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pytest

from marketpulse.errors import QueryCancelled, QueryLimit
from marketpulse.query.duck import LakeQuery
from marketpulse.query.how import How
from marketpulse.settings import Settings

ENDLESS = "SELECT sum(a.i * b.i) FROM range(10000000) a(i), range(10000000) b(i)"
STREAMING = "SELECT i, i * 2 FROM range(10000000000) t(i)"


@pytest.fixture
def query(tmp_path: Path) -> Iterator[LakeQuery]:
    opened = LakeQuery(Settings(data_dir=tmp_path, sql={"memory_limit_mb": 256, "timeout_s": 60}))
    yield opened
    opened.close()


@pytest.mark.parametrize("sql", [ENDLESS, STREAMING + " ORDER BY 2 DESC", STREAMING])
@pytest.mark.parametrize("after_s", [0, 0.3])
def test_a_query_that_is_cancelled_stops(query: LakeQuery, sql: str, after_s: float) -> None:
    cancelled = threading.Event()
    timer = threading.Timer(after_s, cancelled.set)
    begun = time.monotonic()
    timer.start()
    with pytest.raises((QueryCancelled, QueryLimit)) as stopped:
        query.run(sql, How(cancelled))
    timer.cancel()
    if isinstance(stopped.value, QueryLimit):
        assert "larger than" in str(stopped.value)  # the streaming one may have filled its memory first
    assert time.monotonic() - begun < 60


def test_after_it_the_next_one_runs(query: LakeQuery) -> None:
    cancelled = threading.Event()
    cancelled.set()
    with pytest.raises(QueryCancelled):
        query.run("SELECT 1", How(cancelled))
    assert query.run("SELECT 1 AS x").to_pylist() == [{"x": 1}]


def test_a_query_that_takes_too_long_says_which_setting(tmp_path: Path) -> None:
    query = LakeQuery(Settings(data_dir=tmp_path, sql={"timeout_s": 0.2}))
    with pytest.raises(QueryLimit, match=r"longer than 0.2 s: narrow it, or raise sql.timeout_s"):
        query.run(ENDLESS)
    query.close()


@pytest.mark.parametrize(("skip", "limit"), [(0, 0), (0, 5), (3, 4), (9, 5), (20, 5), (0, None), (4, None), (20, None)])
@pytest.mark.parametrize("size", [1, 3, 10, 50])
def test_wanted_rows_are_a_slice_however_the_rows_come(skip: int, limit: int | None, size: int) -> None:
    rows = list(range(10))
    batches = [pa.record_batch({"i": rows[at : at + size]}) for at in range(0, 10, size)]
    found = [i for batch in How(skip=skip, limit=limit).wanted(iter(batches)) for i in batch["i"].to_pylist()]
    assert found == rows[skip:][:limit]


def test_a_limit_ends_a_query_that_would_not(query: LakeQuery) -> None:
    assert query.run(STREAMING, How(limit=7)).num_rows == 7
