"""Opening an Arrow frame that anybody may have written: bounded first, validated before use.

A compressed buffer of some bytes may unfold to gigabytes, and a batch without buffers may claim any
number of rows, so the messages' headers are read before any of their content is.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass

import pyarrow as pa

from marketpulse.kafka.market_contract import Refused

FRAME_BYTES_MAX = 16_000_000
FRAME_ROWS_MAX = 1_000_000
_UNREADABLE = (pa.ArrowException, OSError, ValueError, KeyError, TypeError, MemoryError, struct.error)
_DICTIONARY_BATCH, _RECORD_BATCH = 2, 3  # the Arrow format's MessageHeader


def bounded_table(value: bytes) -> pa.Table:
    """The frame's rows, fully validated. Raises Refused when it cannot be read or is out of bounds."""
    if len(value) > FRAME_BYTES_MAX:
        raise Refused("too_large", f"a frame of {len(value):,} bytes; frames have at most {FRAME_BYTES_MAX:,}")
    try:
        rows = 0
        for header in _batch_headers(value):
            if header.compressed:
                raise Refused("unreadable_frame", "the frame's buffers are compressed: let Kafka compress instead")
            rows += header.rows
            if not 0 <= header.rows <= rows <= FRAME_ROWS_MAX:
                raise Refused("too_large", f"the frame claims {rows:,} rows; frames have at most {FRAME_ROWS_MAX:,}")
        table = pa.ipc.open_stream(value).read_all()
        table.validate(full=True)
        table = table.unify_dictionaries()
    except _UNREADABLE as error:
        text = " ".join(str(error).split())[:200]
        raise Refused("unreadable_frame", f"the Arrow stream cannot be read: {text or type(error).__name__}") from None
    names = table.column_names
    if len(set(names)) != len(names):
        raise Refused("unreadable_frame", "two columns of the frame have the same name")
    return table


@dataclass(frozen=True, slots=True)
class _BatchHeader:
    rows: int
    compressed: bool


def _batch_headers(value: bytes) -> Iterator[_BatchHeader]:
    reader = pa.ipc.MessageReader.open_stream(value)
    while True:
        try:
            message = reader.read_next_message()
        except StopIteration:
            return
        metadata = message.metadata.to_pybytes()
        root = struct.unpack_from("<I", metadata, 0)[0]
        kind_at = _field_at(metadata, root, 1)
        kind = metadata[kind_at] if kind_at else 0
        if kind not in (_DICTIONARY_BATCH, _RECORD_BATCH):
            continue
        batch = _table_at(metadata, root, 2)
        if kind == _DICTIONARY_BATCH:
            batch = _table_at(metadata, batch, 1)
        length_at = _field_at(metadata, batch, 0)
        rows = struct.unpack_from("<q", metadata, length_at)[0] if length_at else 0
        yield _BatchHeader(rows, _field_at(metadata, batch, 3) != 0)


def _field_at(data: bytes, table: int, number: int) -> int:
    """Where the field of a flatbuffers table lies; 0 when it is absent."""
    fields = table - struct.unpack_from("<i", data, table)[0]
    size = struct.unpack_from("<H", data, fields)[0]
    entry = 4 + 2 * number
    if entry >= size:
        return 0
    place = struct.unpack_from("<H", data, fields + entry)[0]
    return table + place if place else 0


def _table_at(data: bytes, table: int, number: int) -> int:
    """Where the table that a field points to begins."""
    place = _field_at(data, table, number)
    if not place:
        raise ValueError("a message without its header")
    return int(place + struct.unpack_from("<I", data, place)[0])
