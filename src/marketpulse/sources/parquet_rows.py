"""Parquet -> raw rows, one block per group of rows in the file."""

from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path

import numpy as np
import orjson
import polars as pl
import pyarrow as pa
from pyarrow import parquet

from marketpulse.errors import Fatal
from marketpulse.model.market import Ints
from marketpulse.sources.raw import GUESSED_FROM_ROWS, Block, RawRows

_ROWS = 1 << 19
_NAME_BYTES = 3  # a row, at most, of a column of texts that is read as a dictionary


def read_parquet(path: Path) -> Iterator[RawRows]:
    """The file's rows in blocks; a row's number counts from 1. Raises Fatal when it is no Parquet."""
    return (block.rows() for block in parquet_blocks(path))


def parquet_blocks(path: Path) -> Iterator[Block]:
    """The same, each block understood when it is asked for."""
    try:
        with parquet.ParquetFile(path) as file:
            names = _few_texts(file.metadata, file.schema_arrow)
        with parquet.ParquetFile(path, read_dictionary=names) as file:
            before = 0
            for batch in file.iter_batches(batch_size=_ROWS):
                yield Block(
                    partial(_rows, batch, path, before),
                    partial(_rows, batch.slice(0, GUESSED_FROM_ROWS), path, before),
                    partial(_plain, batch, before),
                )
                before += batch.num_rows
    except (pa.ArrowInvalid, OSError) as error:
        raise Fatal(f"{path} is not a readable Parquet file: {error}") from None


def _few_texts(metadata: parquet.FileMetaData, schema: pa.Schema) -> list[str]:
    """Columns of texts of which there are few: they come as dictionaries, as they stand in the file."""
    if not metadata.num_row_groups:
        return []
    texts = {f.name for f in schema if pa.types.is_string(f.type)}
    group = metadata.row_group(0)
    chunks = [group.column(i) for i in range(group.num_columns)]
    return [
        c.path_in_schema for c in chunks
        if c.path_in_schema in texts and c.has_dictionary_page and c.total_uncompressed_size <= _NAME_BYTES * c.num_values
    ]  # fmt: skip


def _rows(batch: pa.RecordBatch, path: Path, before: int) -> RawRows:
    columns = [c.dictionary_decode() if pa.types.is_dictionary(c.type) else c for c in batch.columns]
    frame = pl.from_arrow(pa.RecordBatch.from_arrays(columns, batch.schema.names))
    assert isinstance(frame, pl.DataFrame)  # noqa: S101  a batch gives a frame
    return RawRows(
        frame, str(path), partial(_locate, frame, before),
        all_numbers=partial(np.arange, before + 1, before + len(frame) + 1),
    )  # fmt: skip


def _plain(batch: pa.RecordBatch, before: int, kinds: Mapping[str, pa.DataType]) -> tuple[pa.Table, Ints]:
    return pa.Table.from_batches([batch.select(list(kinds))]), np.arange(before + 1, before + batch.num_rows + 1)


def _locate(frame: pl.DataFrame, before: int, index: int) -> tuple[int, bytes]:
    return before + index + 1, orjson.dumps(frame.row(index, named=True), default=str)
