"""Arrow frames: rows of one partition as the bytes of an Arrow IPC stream, whole columns at a time."""

from collections.abc import Iterator

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from marketpulse.errors import ParameterError
from marketpulse.kafka.partitioner import partitions_of

FRAME_CONTENT_TYPE = b"application/vnd.apache.arrow.stream"
FRAME_HEADERS: list[tuple[str, bytes]] = [("content-type", FRAME_CONTENT_TYPE)]
FRAME_TARGET_BYTES = 900_000  # below the 1 MB that brokers take by default

_REPEATED = ("type", "symbol", "source", "venue", "timeframe")  # names: a dictionary holds each once


def write_frame(batch: pa.RecordBatch) -> bytes:
    """The batch as one Arrow IPC stream, uncompressed: Kafka compresses."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batch.schema) as stream:
        stream.write_batch(batch)
    return bytes(sink.getvalue().to_pybytes())


def frames_by_partition(batch: pa.RecordBatch, partitions: int) -> Iterator[tuple[int, pa.RecordBatch, bytes]]:
    """(partition, rows, frame) of each frame: rows keep their order within their partition.

    Raises ParameterError when a row has no symbol: its partition cannot be known.
    """
    symbols = batch.column("symbol")
    if symbols.null_count:
        raise ParameterError("a row without a symbol cannot be written: every trade, quote and bar needs one")
    encoded = pc.dictionary_encode(symbols.cast(pa.string()))
    keys = [text.encode() for text in encoded.dictionary.to_pylist()]
    partition = partitions_of(keys, partitions)[encoded.indices.to_numpy()]
    for number in np.unique(partition).tolist():
        rows = batch.take(pa.array(np.flatnonzero(partition == number)))
        for part, frame in _split(_with_dictionaries(rows)):
            yield number, part, frame


def _with_dictionaries(batch: pa.RecordBatch) -> pa.RecordBatch:
    columns = [
        column.dictionary_encode() if name in _REPEATED and column.type == pa.string() else column
        for name, column in zip(batch.schema.names, batch.columns, strict=True)
    ]
    return pa.RecordBatch.from_arrays(columns, names=batch.schema.names)


def _split(batch: pa.RecordBatch) -> Iterator[tuple[pa.RecordBatch, bytes]]:
    """The batch in as many frames as its size asks for; a single row is never split."""
    frame = write_frame(batch)
    if len(frame) <= FRAME_TARGET_BYTES or batch.num_rows == 1:
        yield batch, frame
        return
    half = batch.num_rows // 2
    yield from _split(batch.slice(0, half))
    yield from _split(batch.slice(half))
