"""What is read of files: by names with what the manifests know of them, or by ids."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import duckdb
import pyarrow.parquet as pq
import pytest

from lake_rows import LakeRows
from marketpulse.catalog import Picture, open_visible
from marketpulse.query.duck import LakeQuery
from marketpulse.query.scan import no_rows, rows_of
from marketpulse.settings import Settings

MAY_1_NS = 1_714_521_600 * 10**9
KEY = {"symbol": "AAA", "timeframe": "1m", "close_time_ns": MAY_1_NS + 60 * 10**9}


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(data_dir=tmp_path)


@pytest.fixture
def connection() -> Iterator[Any]:
    with duckdb.connect() as opened:
        opened.execute("SET TimeZone = 'America/New_York'")
        yield opened


def stored(settings: Settings, table: str) -> Picture:
    return open_visible(settings).read([table])[table]


def indicators(settings: Settings, count: int) -> Picture:
    """Files of a row each, with one indicator each: another one in each file."""
    lake = LakeRows(settings)
    for number in range(count):
        row = {**KEY, "open_time_ns": MAY_1_NS + number, "close": float(number), f"sma_{number}": 7.0}
        lake.add("indicators", [row], columns=(f"sma_{number}",))
    return stored(settings, "indicators")


@pytest.mark.parametrize("shapes", [1, 3, 12])
def test_rows_are_the_same_by_names_and_by_ids(settings: Settings, connection: Any, shapes: int) -> None:
    picture = indicators(settings, shapes)
    by_names, by_ids = (
        connection.sql(rows_of(picture, picture.files, by_id=by_id)).order("open_time_ns").to_arrow_table()
        for by_id in (False, True)
    )
    assert by_names.equals(by_ids)
    assert by_names.column_names[:3] == ["open_time", "close_time", "symbol"]
    assert by_names["sma_0"].to_pylist() == [7.0] + [None] * (shapes - 1)
    assert by_names["open_time"][0].as_py() == datetime(2024, 5, 1)  # UTC, whatever the session's zone


def test_no_files_give_no_rows_of_the_same_columns(settings: Settings, connection: Any) -> None:
    picture = indicators(settings, 1)
    none = connection.sql(no_rows(picture)).to_arrow_table()
    assert none.num_rows == 0
    assert none.schema.equals(connection.sql(rows_of(picture, picture.files)).to_arrow_table().schema)


def test_what_all_rows_meet_is_not_asked_of_them(settings: Settings, connection: Any) -> None:
    row = {"symbol": "AAA", "price": 1.0, "size": 1.0}
    lake = LakeRows(settings)
    for number in range(3):
        lake.add("trades", [{**row, "event_time_ns": MAY_1_NS + number}])
    picture = stored(settings, "trades")

    def plan(where: str) -> str:
        rows = rows_of(picture, picture.files)
        asked = f"EXPLAIN SELECT price FROM ({rows}) WHERE {where}"  # noqa: S608
        return str(connection.execute(asked).fetchall()[0][1])

    assert "event_time_ns" not in plan(f"event_time_ns >= {MAY_1_NS}")
    assert "event_time_ns" in plan(f"event_time_ns > {MAY_1_NS}")
    assert "empty result" in plan(f"event_time_ns > {MAY_1_NS + 2}").lower()


def test_what_is_unknown_of_one_file_is_told_of_none(settings: Settings) -> None:
    lake = LakeRows(settings)
    for number in range(2):
        lake.add("trades", [{"symbol": "AAA", "price": 1.0, "size": 1.0, "event_time_ns": MAY_1_NS + number}])
    picture = stored(settings, "trades")
    assert f"'min': '{MAY_1_NS}', 'max': '{MAY_1_NS + 1}'" in rows_of(picture, picture.files)
    blind = replace(picture.files[0], bounds={}, nulls={})
    assert "column_statistics" not in rows_of(picture, [blind, picture.files[1]])


def test_a_file_that_lacks_what_its_manifest_tells_of_is_read_all_the_same(settings: Settings) -> None:
    rows = LakeRows(settings)
    [path] = rows.add("trades", [{"symbol": "AAA", "event_time_ns": MAY_1_NS, "price": 5.0, "size": 1.0}])
    table = pq.read_table(path)
    pq.write_table(table.drop_columns(["venue"]), path)
    query = LakeQuery(settings)
    assert query.run("SELECT price, venue FROM trades").to_pylist() == [{"price": 5.0, "venue": None}]
    query.close()
