"""The pieces of time that large tables are cut into; TimescaleDB against the answers that its catalogue gives."""

import datetime as dt
from typing import Any

import pyarrow as pa
import pytest

from marketpulse.sinks.postgres_client import Parameters
from marketpulse.sinks.postgres_periods import (
    Hypertables,
    Length,
    NativePartitions,
    Period,
    choose_layout,
    following,
    period_of,
    wanted,
)
from marketpulse.sinks.postgres_tables import ALL


def utc(*parts: int) -> dt.datetime:
    return dt.datetime(*parts, tzinfo=dt.UTC)  # type: ignore[misc, arg-type]


NOW = utc(2024, 12, 31, 23, 59)


@pytest.mark.parametrize(
    ("length", "start", "end"),
    [("day", utc(2024, 12, 31), utc(2025, 1, 1)), ("week", utc(2024, 12, 30), utc(2025, 1, 6)), ("month", utc(2024, 12, 1), utc(2025, 1, 1))],
)  # fmt: skip
def test_a_time_lies_in_one_period(length: Length, start: dt.datetime, end: dt.datetime) -> None:
    assert period_of(NOW, length) == Period(start, end)
    assert period_of(start, length) == Period(start, end)
    assert period_of(end, length).start == end


@pytest.mark.parametrize("length", ["day", "week", "month"])
def test_periods_follow_each_other_without_a_gap(length: Length) -> None:
    periods = following(period_of(utc(2023, 11, 20), length), length)
    before = next(periods)
    for _ in range(40):
        after = next(periods)
        assert after.start == before.end
        assert not after.overlaps(before)
        before = after


def test_periods_are_made_ahead_and_for_rows_that_are_not_too_old() -> None:
    times = [utc(2024, 12, 3), utc(2024, 12, 4), utc(2020, 1, 1), utc(2031, 1, 1)]
    forever = dt.timedelta(days=10_000)
    assert [p.start for p in wanted(times, NOW, "week", forever)] == [
        utc(2024, 12, 2), utc(2024, 12, 30), utc(2025, 1, 6), utc(2025, 1, 13),
    ]  # fmt: skip
    assert utc(2024, 12, 2) not in [p.start for p in wanted(times, NOW, "week", dt.timedelta(days=20))]


class Catalogue:
    """A server that says this of its extensions and tables, and remembers what it was told."""

    def __init__(self, extension: list[tuple[Any, ...]], tables: list[tuple[Any, ...]] | None = None) -> None:
        self._extension, self._tables = extension, tables or []
        self.told: list[str] = []

    def rows(self, sql: str, parameters: Parameters = ()) -> list[tuple[Any, ...]]:  # noqa: ARG002
        self.told.append(sql)
        if "pg_available_extensions" in sql:
            return self._extension
        return self._tables if "pg_class" in sql else []

    def run(self, sql: str) -> None:
        self.told.append(sql)

    def copy(self, table: str, rows: pa.Table, schema: str | None) -> None:  # noqa: ARG002
        raise AssertionError("no rows here")


def test_timescaledb_is_used_where_it_is_installed_or_may_be() -> None:
    for installed, may in ((True, False), (False, True)):
        server = Catalogue([(installed, may)])
        layout = choose_layout(server, "marketpulse", "week")
        assert isinstance(layout, Hypertables)
        assert server.told[-1] == "CREATE EXTENSION IF NOT EXISTS timescaledb"
        layout.created(server, '"marketpulse"', ALL["bars"])
        assert (
            "create_hypertable('\"marketpulse\".bars', 'open_time', chunk_time_interval => INTERVAL '1 week'"
            in server.told[-1]
        )
        layout.drop_old(server, '"marketpulse"', ALL["bars"], NOW)
        assert "drop_chunks('\"marketpulse\".bars', TIMESTAMPTZ '2024-12-31T23:59:00+00:00')" in server.told[-1]
        assert layout.clause(ALL["bars"]) == ""


def test_without_it_or_the_right_to_make_it_the_partitions_are_native() -> None:
    for extension in ([], [(False, False)]):
        layout = choose_layout(Catalogue(extension), "marketpulse", "week")
        assert isinstance(layout, NativePartitions)
        assert layout.clause(ALL["trades"]) == ' PARTITION BY RANGE ("timestamp")'


def test_tables_that_are_there_stay_what_they_are() -> None:
    assert isinstance(choose_layout(Catalogue([(True, True)], [("p",)]), "s", "week"), NativePartitions)
    assert isinstance(choose_layout(Catalogue([], [("r",)]), "s", "week"), Hypertables)
