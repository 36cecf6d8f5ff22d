"""What shall stand in AWS, from the settings alone."""

from typing import Any

import pyarrow as pa
import pytest

from marketpulse.aws.costs import cost_drivers
from marketpulse.aws.wanted import glue_type, left_out, output_url, wanted_objects
from marketpulse.errors import SettingsError
from marketpulse.model.rows import RECEIPT
from marketpulse.model.tables import TABLES
from marketpulse.settings import Settings

ON_S3 = {"enabled": True, "format": "parquet", "url": "s3://desk/a"}


def kinds(settings: Settings) -> set[str]:
    return {one.kind for one in wanted_objects(settings, (), ())}


@pytest.mark.parametrize(
    ("archive", "wanted"),
    [
        (ON_S3, {"glue database", "glue table", "athena workgroup"}),
        ({**ON_S3, "format": "json-lines"}, {"glue database", "athena workgroup"}),
        ({**ON_S3, "enabled": False}, {"glue database", "athena workgroup"}),
        ({**ON_S3, "url": "/srv/archive"}, {"glue database"}),
    ],
)
def test_tables_are_of_an_archive_in_parquet_on_s3(archive: dict[str, Any], wanted: set[str]) -> None:
    assert kinds(Settings(sinks={"archive": archive})) == wanted


def test_what_is_left_out_names_the_setting() -> None:
    assert [line.split(":")[0] for line in left_out(Settings())] == [
        "no tables of the archive", "no workgroup and no queries",
    ]  # fmt: skip
    (line,) = left_out(Settings(sinks={"archive": ON_S3}))
    assert "aws.crawler_role" in line
    assert left_out(Settings(sinks={"archive": ON_S3}, aws={"crawler_role": "r"})) == []


def test_every_stored_table_has_types_that_athena_knows() -> None:
    found = wanted_objects(Settings(sinks={"archive": ON_S3}), ("sma_20",), ())
    tables = {one.name: one.fields for one in found if one.kind == "glue table"}
    assert set(tables) == set(TABLES)
    assert tables["bars"]["columns"]["session_date"] == "date"
    assert tables["dead_letters"]["columns"]["timeframes"] == "array<string>"
    assert tables["indicators"]["columns"]["sma_20"] == "double"
    assert all(table["partition_keys"] == {"date": "string"} for table in tables.values())


def test_a_struct_is_written_as_athena_reads_it() -> None:
    assert glue_type(RECEIPT) == (
        "struct<topic:string,partition:int,first_offset:bigint,first_row:int,last_offset:bigint,last_row:int,"
        "late_count:bigint,engine_version:string>"
    )
    assert glue_type(pa.list_(pa.int64())) == "array<bigint>"


@pytest.mark.parametrize(
    ("sinks", "aws", "expected"),
    [
        ({"archive": ON_S3}, {"output_url": "s3://other/results"}, "s3://other/results/"),
        ({"archive": {"url": "s3://desk/deep/er/archive"}}, {}, "s3://desk/deep/er/athena/"),
        ({"lake": {"url": "s3://desk"}}, {}, "s3://desk/marketpulse/athena/"),
        ({}, {}, None),
    ],
)
def test_results_go_where_the_settings_say_or_beside_what_is_stored(
    sinks: dict[str, Any], aws: dict[str, Any], expected: str | None
) -> None:
    assert output_url(Settings(sinks=sinks, aws=aws)) == expected


def test_a_url_without_a_bucket_is_refused() -> None:
    with pytest.raises(SettingsError, match="names no bucket"):
        wanted_objects(Settings(sinks={"archive": {**ON_S3, "url": "s3://"}}), (), ())


def test_what_is_billed_names_limits_and_no_price() -> None:
    settings = Settings(sinks={"archive": ON_S3}, aws={"crawler_role": "r", "crawler_schedule": "cron(0 1 * * ? *)"})
    said = "\n".join(cost_drivers(wanted_objects(settings, (), ())))
    assert "at most 10,737,418,240 a query" in said
    assert "cron(0 1 * * ? *)" in said
    assert "$" not in said
    assert "€" not in said
