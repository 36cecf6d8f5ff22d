"""How rows stand in a file: flat JSON lines in gzip, or Parquet.

JSON numbers keep every bit: floats are written as the shortest text that reads back the same, integers
whole. A missing value is null. Gzip, because a line of JSON repeats its field names: about a tenth
of the size, and `zcat` and DuckDB read it as it is.
"""

import gzip
import io
from typing import Any, Protocol

import orjson
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq


class FileFormat(Protocol):
    """How rows stand in a file."""

    suffix: str

    def encode(self, rows: pa.Table) -> bytes: ...

    def merge(self, files: list[bytes]) -> tuple[bytes, int]:
        """One file with the rows of all, in this order, and how many they are."""
        ...


class JsonLinesFormat:
    """One flat JSON object a row, gzip around them: what reads such lines sees a column for each field.

    The fields of a receipt are `receipt_topic`, `receipt_first_offset` …; an event's own fields stand beside the others.
    """

    suffix = ".jsonl.gz"

    def encode(self, rows: pa.Table) -> bytes:
        if "body" in rows.column_names:
            return gzip.compress(_event_lines(rows), compresslevel=6, mtime=0)
        lines = io.BytesIO()
        flat = rows.flatten()  # a struct's fields are `receipt.topic` now
        frame = pl.from_arrow(
            flat.rename_columns([name.replace("receipt.", "receipt_", 1) for name in flat.column_names])
        )
        assert isinstance(frame, pl.DataFrame)  # a pa.Table never gives a Series  # noqa: S101
        frame.write_ndjson(lines)
        return gzip.compress(lines.getvalue(), compresslevel=6, mtime=0)

    def merge(self, files: list[bytes]) -> tuple[bytes, int]:
        lines = b"".join(gzip.decompress(data) for data in files)
        return gzip.compress(lines, compresslevel=6, mtime=0), lines.count(b"\n")


class ParquetFormat:
    """zstd, with statistics, so that readers skip what a filter excludes."""

    suffix = ".parquet"

    def encode(self, rows: pa.Table) -> bytes:
        buffer = io.BytesIO()
        pq.write_table(rows, buffer, compression="zstd")
        return buffer.getvalue()

    def merge(self, files: list[bytes]) -> tuple[bytes, int]:
        """A column that only some files have is null in the others' rows, as readers by name see it."""
        tables = [pq.read_table(pa.BufferReader(data)) for data in files]
        rows = pa.concat_tables(tables, promote_options="default")
        return self.encode(_receipt_last(rows)), rows.num_rows


FORMATS: dict[str, FileFormat] = {"json-lines": JsonLinesFormat(), "parquet": ParquetFormat()}
"""By the name in the settings."""


def _event_lines(rows: pa.Table) -> bytes:
    """Rows of `events`: the fields of the record in `body`, then those of the table. Of what both have, the table's counts;
    where it is another value, such as the `offset` that a quality mark is about, the record's is `quality_offset`. A source's
    columns beside a bar's own stand under their names."""
    lines = []
    for row in rows.to_pylist():
        fields: dict[str, Any] = orjson.loads(row.pop("body"))
        if row["type"] == "bar":
            fields = {**fields.pop("extra", {}), **fields}
        if "symbol" not in row:  # the path says it
            fields.pop("symbol", None)
        others = {f"{row['type']}_{name}": fields[name] for name in row if name in fields and fields[name] != row[name]}
        lines.append(orjson.dumps({**fields, **row, **others}, option=orjson.OPT_APPEND_NEWLINE))
    return b"".join(lines)


def _receipt_last(rows: pa.Table) -> pa.Table:
    """New indicators come behind the receipt when schemas are joined; the contract has it last."""
    names = rows.column_names
    if "receipt" not in names or names[-1] == "receipt":
        return rows
    return rows.select([*(n for n in names if n != "receipt"), "receipt"])
