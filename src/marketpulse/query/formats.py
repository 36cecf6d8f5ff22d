"""A query's rows as people and programs take them: a table for the eye, CSV, JSON, Parquet, Arrow."""

import csv
import io
import json
import math
import unicodedata
from collections import Counter
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from marketpulse.errors import ParameterError

CELL_WIDTH_MAX = 80  # of the `table` format; longer text ends in …, the other formats keep it whole


def render(rows: pa.Table, form: str) -> bytes:
    """The rows in one of FORMATS; text is UTF-8 and ends with a line break.

    Times are written as ISO text, UTC where they have no zone. Raises ParameterError for an unknown
    format, and for Parquet when a column's type has no place in it.
    """
    if form not in _RENDERERS:
        raise ParameterError(f"there is no format {form!r}: choose one of {', '.join(FORMATS)}")
    return _RENDERERS[form](rows.rename_columns(_distinct(rows.column_names)))


def form_of(out: Path) -> str:
    """The format that a file's name ends with. Raises ParameterError, with the endings that there are."""
    if out.suffix.lower() not in _ENDINGS:
        endings = ", ".join(_ENDINGS)
        raise ParameterError(
            f"--out {out}: end the name with one of {endings} (a spreadsheet opens .csv), or say which with --format"
        )
    return _ENDINGS[out.suffix.lower()]


def render_table(rows: pa.Table) -> bytes:
    """A box: numbers to the right, text to the left, nothing where a value is missing."""
    columns = [
        [name, *(_cell(value) for value in _plain_values(column))]
        for name, column in zip(rows.column_names, rows.columns, strict=True)
    ]
    widths = [max(map(_width, column)) for column in columns]
    to_right = [_is_number(column.type) for column in rows.columns]
    lines = [
        "│" + "│".join(f" {_padded(t, w, r)} " for t, w, r in zip(line, widths, to_right, strict=True)) + "│"
        for line in zip(*columns, strict=True)
    ]
    top, middle, bottom = (
        left + between.join("─" * (width + 2) for width in widths) + right
        for left, between, right in ("┌┬┐", "├┼┤", "└┴┘")
    )
    count = f"{rows.num_rows:,} row{'' if rows.num_rows == 1 else 's'}"
    return ("\n".join([top, *lines[:1], middle, *lines[1:], bottom, count]) + "\n").encode()


def render_csv(rows: pa.Table) -> bytes:
    """A header and a line per row (RFC 4180, but line breaks are `\\n`); a missing value is empty."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(rows.column_names)
    writer.writerows(zip(*([_csv_text(v) for v in _plain_values(column)] for column in rows.columns), strict=True))
    return text.getvalue().encode()


def render_json(rows: pa.Table) -> bytes:
    """One array with an object per row, each on its own line; integers keep every digit."""
    return ("[" + ",\n ".join(_objects(rows)) + "]\n").encode()


def render_json_lines(rows: pa.Table) -> bytes:
    """An object per row and line."""
    return "".join(f"{line}\n" for line in _objects(rows)).encode()


def _objects(rows: pa.Table) -> list[str]:
    columns = [_plain_values(column) for column in rows.columns]
    return [
        json.dumps(dict(zip(rows.column_names, line, strict=True)), ensure_ascii=False, allow_nan=False)
        for line in zip(*columns, strict=True)
    ]


def render_parquet(rows: pa.Table) -> bytes:
    """A Parquet file (zstd)."""
    buffer = io.BytesIO()
    try:
        pq.write_table(rows, buffer, compression="zstd")
    except (pa.ArrowNotImplementedError, pa.ArrowInvalid) as error:
        raise ParameterError(f"Parquet cannot hold this result ({error}): cast that column to VARCHAR") from None
    return buffer.getvalue()


def render_arrow(rows: pa.Table) -> bytes:
    """An Arrow stream (IPC)."""
    buffer = pa.BufferOutputStream()
    with pa.ipc.new_stream(buffer, rows.schema) as writer:
        writer.write_table(rows)
    return bytes(buffer.getvalue())


def render_rows(rows: pa.Table) -> bytes:
    """A JSON array of arrays, one per row, in the order of the columns."""
    columns = [_plain_values(column) for column in rows.columns]
    return json.dumps(list(zip(*columns, strict=True)), ensure_ascii=False, allow_nan=False).encode()


_RENDERERS: dict[str, Callable[[pa.Table], bytes]] = {
    "table": render_table,
    "csv": render_csv,
    "json": render_json,
    "jsonl": render_json_lines,
    "parquet": render_parquet,
    "arrow": render_arrow,
    "rows": render_rows,
}
FORMATS = tuple(_RENDERERS)
_ENDINGS = {".csv": "csv", ".json": "json", ".jsonl": "jsonl", ".ndjson": "jsonl", ".parquet": "parquet", ".arrow": "arrow", ".txt": "table"}  # fmt: skip


def _distinct(names: list[str]) -> list[str]:
    """The names, the second `a` as `a_1`: SQL may give two columns one name, files and objects not."""
    taken: Counter[str] = Counter()
    distinct: list[str] = []
    for name in names:
        candidate = name
        while candidate in distinct:
            taken[name] += 1
            candidate = f"{name}_{taken[name]}"
        distinct.append(candidate)
    return distinct


def _plain_values(column: pa.ChunkedArray) -> list[Any]:
    """The column as None, bool, int, float, str, list and dict: what JSON knows."""
    if pa.types.is_temporal(column.type) and not pa.types.is_interval(column.type):
        return [_short_time(text) for text in column.cast(pa.string()).to_pylist()]
    return [_plain(value) for value in column.to_pylist()]


def _plain(value: Any) -> Any:
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Decimal):
        return int(value) if value == value.to_integral_value() else float(value)
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, list) or type(value) is tuple:  # a map's entries are pairs
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    return str(value)


def _short_time(text: str | None) -> str | None:
    """Without a fraction that is zero: `2024-05-01 09:30:00.000000` -> `2024-05-01 09:30:00`."""
    if text is None or "." not in text:
        return text
    whole, _, rest = text.partition(".")
    digits = rest.rstrip("Z")
    fraction = digits.rstrip("0")
    return whole + (f".{fraction}" if fraction else "") + rest[len(digits) :]


def _csv_text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _cell(value: Any) -> str:
    """One line for a terminal: control characters are shown as codes, never sent to it."""
    text = _csv_text(value)
    if any(unicodedata.category(c) in ("Cc", "Cf", "Zl", "Zp") for c in text):
        text = "".join(f"\\u{ord(c):04x}" if unicodedata.category(c) in ("Cc", "Cf", "Zl", "Zp") else c for c in text)
    return text if len(text) <= CELL_WIDTH_MAX else text[: CELL_WIDTH_MAX - 1] + "…"


def _width(text: str) -> int:
    """Columns that the text takes on a terminal."""
    if text.isascii():
        return len(text)
    wide = sum(unicodedata.east_asian_width(c) in "WF" for c in text)
    return len(text) + wide - sum(unicodedata.combining(c) > 0 for c in text)


def _padded(text: str, width: int, to_right: bool) -> str:
    fill = " " * (width - _width(text))
    return fill + text if to_right else text + fill


def _is_number(kind: pa.DataType) -> bool:
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind))
