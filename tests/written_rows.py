"""Rows that lie as records in memory, as the records that leave for their topic."""

from collections.abc import Sequence
from itertools import pairwise

from marketpulse.kafka.row_writer import RowWriter
from marketpulse.model.market import Bytes, Ints
from marketpulse.model.record_rows import RecordRows, RowField


def written(fields: Sequence[RowField], rows: RecordRows) -> list[tuple[bytes, bytes]]:
    """(key, value) of each, the value without its line feed."""
    writer, done = RowWriter(fields), 0
    found: list[tuple[bytes, bytes]] = []
    while done < len(rows):
        records, done = writer.lay_out(rows, done)
        keys = _parts(records.keys, records.key_ends)
        values = _parts(records.values, records.value_ends)
        assert all(value.endswith(b"}\n") for value in values)
        found += [(key, value[:-1]) for key, value in zip(keys, values, strict=True)]
    return found


def _parts(data: Bytes, ends: Ints) -> list[bytes]:
    return [data[begin:end].tobytes() for begin, end in pairwise(ends.tolist())]
