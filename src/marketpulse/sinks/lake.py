"""The lake: Parquet files by table and date, on any store, each row exactly once."""

import io
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from marketpulse.clock import Clock
from marketpulse.sinks.files import FileSink
from marketpulse.sinks.storage import open_storage


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


def open_lake(url: str | Path, clock: Clock) -> FileSink:
    """The lake at this directory or URL."""
    return FileSink("lake", open_storage(url), ParquetFormat(), clock)


def _receipt_last(rows: pa.Table) -> pa.Table:
    """New indicators come behind the receipt when schemas are joined; the contract has it last."""
    names = rows.column_names
    if "receipt" not in names or names[-1] == "receipt":
        return rows
    return rows.select([*(n for n in names if n != "receipt"), "receipt"])
