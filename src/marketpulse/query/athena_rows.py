"""Athena's answer, which is text, as Arrow columns of the types that it names."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

import pyarrow as pa
import pyarrow.compute as pc

_PLAIN: dict[str, pa.DataType] = {
    "tinyint": pa.int8(), "smallint": pa.int16(), "integer": pa.int32(), "int": pa.int32(), "bigint": pa.int64(),
    "boolean": pa.bool_(), "date": pa.date32(),
}  # fmt: skip
_FLOATS = {"double": pa.float64(), "float": pa.float32(), "real": pa.float32()}


class AthenaRows:
    """Collects pages of one result."""

    def __init__(self) -> None:
        self._columns: list[dict[str, Any]] = []
        self._values: list[list[str | None]] = []
        self.nbytes = 0

    def __len__(self) -> int:
        return len(self._values[0]) if self._values else 0

    def add(self, page: dict[str, Any]) -> None:
        """A `ResultSet`. The first one's first row is the names again."""
        rows = page.get("Rows", [])
        if not self._columns:
            self._columns = page["ResultSetMetadata"]["ColumnInfo"]
            self._values = [[] for _ in self._columns]
            rows = rows[1:] if rows and self._is_header(rows[0]) else rows
        for row in rows:
            for column, cell in zip(self._values, row["Data"], strict=True):
                text = cell.get("VarCharValue")
                column.append(text)
                self.nbytes += 8 if text is None else len(text)

    def table(self) -> pa.Table:
        """All rows. Arrays, maps and rows stay the text that Athena makes of them."""
        arrays = [
            typed(values, str(about["Type"]), int(about.get("Precision", 38)), int(about.get("Scale", 0)))
            for values, about in zip(self._values, self._columns, strict=True)
        ]
        return pa.Table.from_arrays(arrays, names=[str(about["Name"]) for about in self._columns])

    def _is_header(self, row: dict[str, Any]) -> bool:
        return [cell.get("VarCharValue") for cell in row["Data"]] == [c["Name"] for c in self._columns]


def typed(values: list[str | None], kind: str, precision: int, scale: int) -> pa.Array:
    """A column of one of Athena's types."""
    kind = kind.lower()
    text = pa.array(values, pa.string())
    if kind in _PLAIN:
        return text.cast(_PLAIN[kind])
    if kind in _FLOATS:
        return pc.replace_substring(text, "Infinity", "inf").cast(_FLOATS[kind])
    if kind == "decimal":
        return text.cast(pa.decimal128(precision, scale))
    if kind == "varbinary":
        return pa.array([None if v is None else bytes.fromhex(v) for v in values], pa.binary())
    if kind == "timestamp":
        return text.cast(pa.timestamp(_unit(values)))
    if kind == "timestamp with time zone":
        unit = _unit([None if v is None else v.rsplit(" ", 1)[0] for v in values])
        return _each(values, lambda moment: _utc(moment, unit)).cast(pa.timestamp(unit, "UTC"))
    return text


def _unit(values: list[str | None]) -> str:
    digits = max((len(v.partition(".")[2]) for v in values if v is not None), default=0)
    return "us" if digits <= 6 else "ns"


def _each(values: list[str | None], change: Callable[[str], int]) -> pa.Array:
    return pa.array([None if v is None else change(v) for v in values], pa.int64())


def _utc(text: str, unit: str) -> int:
    """`2024-05-01 09:30:00.123 America/New_York` -> units since 1970."""
    local, _, zone = text.rpartition(" ")
    whole, _, fraction = local.partition(".")
    if zone[:1] in "+-":
        moment = datetime.fromisoformat(whole + zone)
    else:
        moment = datetime.fromisoformat(whole).replace(tzinfo=UTC if zone == "UTC" else ZoneInfo(zone))
    digits = 6 if unit == "us" else 9
    return int(moment.timestamp()) * int(10**digits) + int(fraction.ljust(digits, "0") or 0)
