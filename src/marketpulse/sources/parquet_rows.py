"""Parquet -> raw rows, one block per group of rows in the file."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
import orjson
import polars as pl
import pyarrow as pa
from pyarrow import parquet

from marketpulse.errors import Fatal
from marketpulse.sources.raw import RawRows

_ROWS = 1 << 19


def read_parquet(path: Path) -> Iterator[RawRows]:
    """The file's rows in blocks; a row's number counts from 1. Raises Fatal when it is no Parquet."""
    try:
        with parquet.ParquetFile(path) as file:
            before = 0
            for batch in file.iter_batches(batch_size=_ROWS):
                frame = pl.from_arrow(batch)
                assert isinstance(frame, pl.DataFrame)  # noqa: S101  a batch gives a frame
                yield RawRows(
                    frame, str(path), partial(_locate, frame, before),
                    all_numbers=partial(np.arange, before + 1, before + len(frame) + 1),
                )  # fmt: skip
                before += len(frame)
    except (pa.ArrowInvalid, OSError) as error:
        raise Fatal(f"{path} is not a readable Parquet file: {error}") from None


def _locate(frame: pl.DataFrame, before: int, index: int) -> tuple[int, bytes]:
    return before + index + 1, orjson.dumps(frame.row(index, named=True), default=str)
