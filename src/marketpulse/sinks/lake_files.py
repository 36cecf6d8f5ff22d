"""Data files of the lake: rows, sorted, one file for each partition value, with the column ids that Iceberg wants.

A file has the columns that its rows have: what an older row lacks was not computed then, and stays told apart from
what was computed and is null.
"""

import contextlib
import uuid
from collections.abc import Iterable
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from marketpulse.catalog.faults import explained
from marketpulse.catalog.layout import PERIOD, ROW_GROUP_ROWS, TIMES, in_order, with_times
from marketpulse.catalog.visible import file_name
from marketpulse.sinks.lake_encoding import encoding_of, narrowed, with_names

if TYPE_CHECKING:
    from pyiceberg.manifest import DataFile
    from pyiceberg.schema import Schema
    from pyiceberg.table import Table
    from pyiceberg.types import IcebergType

Partition = tuple[int | None, ...]


def write_rows(table: "Table", name: str, rows: pa.Table, now_ms: int, where: str) -> "list[DataFile]":
    """Files of these rows (of the table's own columns), durable on return, to be committed. Raises as `explained` does."""
    rows = with_times(name, rows)
    return [
        write_file(table, name, part, partition, (now_ms, now_ms), where, merged=False)
        for partition, part in split(name, rows)
    ]


def split(name: str, rows: pa.Table) -> list[tuple[Partition, pa.Table]]:
    """The rows by partition value, which counts days or months since 1970."""
    if not rows.num_rows:
        return []
    if not TIMES[name]:
        return [((), rows)]
    times = rows[next(iter(TIMES[name]))]
    if not times.null_count and (only := _period(name, times)) is not None:
        return [((only,), rows)]
    unit = "datetime64[D]" if PERIOD[name] == "day" else "datetime64[M]"
    periods = times.to_numpy().astype(unit).astype(np.int64)  # NaT where there is no time
    there = np.asarray(pc.is_valid(times))
    found: list[tuple[Partition, pa.Table]] = []
    for period in np.unique(periods[there]).tolist():
        mask = there & (periods == period)
        found.append(((int(period),), rows if mask.all() else rows.filter(pa.array(mask))))
    if not there.all():
        found.append(((None,), rows.filter(pa.array(~there))))
    return found


def _period(name: str, times: pa.ChunkedArray) -> int | None:
    """The partition value of all of these times, when they have one."""
    ends = pc.min_max(times)
    unit = "datetime64[D]" if PERIOD[name] == "day" else "datetime64[M]"
    first, last = (int(np.datetime64(ends[end].value, "us").astype(unit).astype(np.int64)) for end in ("min", "max"))
    return first if first == last else None


def write_file(
    table: "Table",
    name: str,
    rows: pa.Table,
    partition: Partition,
    flushed_ms: tuple[int, int],
    where: str,
    *,
    merged: bool,
) -> "DataFile":
    """One file, sorted."""
    from pyiceberg.io.pyarrow import (
        compute_statistics_plan,
        data_file_statistics_from_parquet_metadata,
        parquet_path_to_id_mapping,
    )
    from pyiceberg.manifest import DataFile, DataFileContent, FileFormat
    from pyiceberg.typedef import Record

    schema, spec = table.schema(), table.spec()
    record = Record(*partition)
    directory = f"{spec.partition_to_path(record, schema)}/" if partition else ""
    called = file_name(*flushed_ms, uuid.uuid4().hex, merged=merged)
    path = f"{table.metadata.location}/data/{directory}{called}"
    rows = rows.select([f.name for f in schema.fields if f.name in rows.column_names])
    rows = in_order(name, with_names(rows))
    with explained(where):
        output = table.io.new_output(path)
        try:
            metadata = _write_parquet(output, rows, with_ids(rows.schema, schema))
        except BaseException:
            with contextlib.suppress(Exception):
                table.io.delete(path)
            raise
        statistics = data_file_statistics_from_parquet_metadata(
            metadata, compute_statistics_plan(schema, table.properties), parquet_path_to_id_mapping(schema)
        )
        return DataFile.from_args(
            content=DataFileContent.DATA, file_path=path, file_format=FileFormat.PARQUET, partition=record,
            file_size_in_bytes=len(output), sort_order_id=table.metadata.default_sort_order_id, spec_id=spec.spec_id,
            equality_ids=None, key_metadata=None, **statistics.to_serialized_dict(),
        )  # fmt: skip


def discard(table: "Table", files: "Iterable[DataFile]") -> None:
    """Delete files that were not committed. What cannot be deleted now is an orphan, and goes later."""
    for file in files:
        with contextlib.suppress(Exception):
            table.io.delete(file.file_path)


def with_ids(rows: pa.Schema, schema: "Schema") -> pa.Schema:
    """The columns with their ids, as the metadata of their fields."""
    return pa.schema([_with_id(f, schema.find_field(f.name)) for f in rows])


def _with_id(field: pa.Field, known: Any) -> pa.Field:
    kind = _typed(field.type, known.field_type)
    return pa.field(field.name, kind, metadata={b"PARQUET:field_id": str(known.field_id).encode()})


def _typed(kind: pa.DataType, known: "IcebergType") -> pa.DataType:
    from pyiceberg.types import ListType, StructType

    if isinstance(known, StructType):
        by_name = {field.name: field for field in known.fields}
        return pa.struct([_with_id(child, by_name[child.name]) for child in kind])
    if isinstance(known, ListType):
        element = known.element_field
        identity = {b"PARQUET:field_id": str(element.field_id).encode()}
        return pa.list_(pa.field("element", _typed(kind.value_type, element.field_type), metadata=identity))
    return kind


def _write_parquet(output: Any, rows: pa.Table, schema: pa.Schema) -> pq.FileMetaData:
    with output.create(overwrite=True) as stream:
        writer = pq.ParquetWriter(
            stream, schema, store_schema=False, write_page_index=True, **asdict(encoding_of(rows))
        )
        rows = rows.cast(schema)
        for begin in range(0, rows.num_rows, ROW_GROUP_ROWS):
            writer.write_table(narrowed(rows.slice(begin, ROW_GROUP_ROWS)), row_group_size=ROW_GROUP_ROWS)
        writer.close()
        return writer.writer.metadata
