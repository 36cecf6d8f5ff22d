from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest

from marketpulse.query.athena_rows import AthenaRows, typed


@pytest.mark.parametrize(
    ("kind", "texts", "values", "arrow"),
    [
        ("bigint", ["9223372036854775807", None], [2**63 - 1, None], pa.int64()),
        ("integer", ["-5"], [-5], pa.int32()),
        ("double", ["1.5", "1.0E-5", "Infinity", "-Infinity"], [1.5, 1e-5, float("inf"), float("-inf")], pa.float64()),
        ("float", ["0.5"], [0.5], pa.float32()),
        ("boolean", ["true", "false", None], [True, False, None], pa.bool_()),
        ("varchar", ["a", "", None], ["a", "", None], pa.string()),
        ("date", ["2024-05-01"], [date(2024, 5, 1)], pa.date32()),
        ("timestamp", ["2024-05-01 09:30:00.123"], [datetime(2024, 5, 1, 9, 30, 0, 123_000)], pa.timestamp("us")),
        ("timestamp with time zone", ["2024-05-01 09:30:00.123456 UTC"], [datetime(2024, 5, 1, 9, 30, 0, 123_456, UTC)], pa.timestamp("us", "UTC")),
        ("timestamp with time zone", ["2024-05-01 09:30:00.000 America/New_York"], [datetime(2024, 5, 1, 13, 30, tzinfo=UTC)], pa.timestamp("us", "UTC")),
        ("timestamp with time zone", ["1969-12-31 23:59:59.500 +00:00"], [datetime(1969, 12, 31, 23, 59, 59, 500_000, UTC)], pa.timestamp("us", "UTC")),
        ("varbinary", ["48 65 6c", None], [b"Hel", None], pa.binary()),
        ("array", ["[1, 2]"], ["[1, 2]"], pa.string()),
    ],
)  # fmt: skip
def test_a_column_has_the_type_that_athena_names(
    kind: str, texts: list[str | None], values: list[Any], arrow: pa.DataType
) -> None:
    column = typed(texts, kind, 38, 0)
    assert (column.to_pylist(), column.type) == (values, arrow)


def test_decimals_keep_every_digit() -> None:
    assert typed(["1.23"], "decimal", 10, 2).to_pylist() == [Decimal("1.23")]


def test_nanoseconds_are_kept() -> None:
    column = typed(["2024-05-01 00:00:00.000000001 UTC"], "timestamp with time zone", 38, 0)
    assert column.cast(pa.int64()).to_pylist() == [1_714_521_600_000_000_001]


def page(*rows: list[str]) -> dict[str, Any]:
    columns = [{"Name": "a", "Type": "varchar"}]
    data = [{"Data": [{"VarCharValue": v} for v in row]} for row in rows]
    return {"Rows": data, "ResultSetMetadata": {"ColumnInfo": columns}}


def test_only_the_first_pages_first_row_is_the_header() -> None:
    rows = AthenaRows()
    rows.add(page(["a"], ["x"]))
    rows.add(page(["a"], ["y"]))
    assert rows.table()["a"].to_pylist() == ["x", "a", "y"]
    bare = AthenaRows()
    bare.add(page(["x"]))
    assert len(bare) == 1
