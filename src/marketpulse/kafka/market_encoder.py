"""From rows of sources to records of `market`, in both wires."""

from typing import Literal, NamedTuple

import pyarrow as pa

from marketpulse.kafka.frame_writer import FRAME_HEADERS, frames_by_partition
from marketpulse.kafka.json_lines import json_rows


class Encoded(NamedTuple):
    """One record to be produced. Partition None: the client chooses it by the key (murmur2)."""

    partition: int | None
    key: bytes | None
    value: bytes
    headers: list[tuple[str, bytes]] | None


def encode_market(batch: pa.RecordBatch, *, wire: Literal["json", "arrow"], partitions: int) -> list[Encoded]:
    """Records for rows of the schemas TRADE, QUOTE, BAR_IN or EVENT, in order.

    JSON: one object per row without its nulls, keyed by the symbol. Arrow: one frame per partition,
    or more above ~900 kB. Events are JSON in either wire (their `body`); one without a symbol goes
    into every partition. Floats survive to the bit; what is not finite is left out, as a null is.
    """
    if "body" in batch.schema.names:
        return _events(batch, partitions)
    if wire == "arrow":
        return [
            Encoded(partition, None, frame, FRAME_HEADERS)
            for partition, _, frame in frames_by_partition(batch, partitions)
        ]
    keys = batch.column("symbol").cast(pa.binary()).to_pylist()
    return [Encoded(None, key, value, None) for key, value in zip(keys, json_rows(batch, nulls=False), strict=True)]


def _events(batch: pa.RecordBatch, partitions: int) -> list[Encoded]:
    keys = batch.column("symbol").cast(pa.binary()).to_pylist()
    bodies = batch.column("body").cast(pa.binary()).to_pylist()
    records: list[Encoded] = []
    for key, body in zip(keys, bodies, strict=True):
        if key is None:
            records += [Encoded(partition, None, body, None) for partition in range(partitions)]
        else:
            records.append(Encoded(None, key, body, None))
    return records
