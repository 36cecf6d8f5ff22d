"""What a source has brought, as bytes that another process understands: a Polled, whole, for a spool.

length of the head (4 bytes) | head (JSON) | each batch as an Arrow IPC stream | each rejected row's bytes
"""

import json
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

import pyarrow as pa

from marketpulse.errors import ParameterError
from marketpulse.kafka.frame_writer import write_frame
from marketpulse.ports import Hello, Polled, RejectedInput


def to_bytes(polled: Polled) -> bytes:
    frames = [write_frame(batch) for batch in polled.batches]
    rejected = [[item.reason, item.detail, item.origin, item.row, len(item.value)] for item in polled.rejected]
    head: dict[str, Any] = {
        "position": polled.position, "hello": None if polled.hello is None else asdict(polled.hello),
        "goodbye": polled.goodbye_watermark_ns, "ended": polled.ended, "batches": [len(f) for f in frames],
        "rejected": rejected,
    }  # fmt: skip
    text = json.dumps(head).encode()
    return b"".join([len(text).to_bytes(4, "little"), text, *frames, *(item.value for item in polled.rejected)])


def from_bytes(body: bytes) -> Polled:
    """Raises ParameterError for what `to_bytes` has not made."""
    try:
        end = 4 + int.from_bytes(body[:4], "little")
        head = json.loads(body[4:end])
        parts = _parts(body, end, [*head["batches"], *(item[4] for item in head["rejected"])])
        batches = [_batch(next(parts)) for _ in head["batches"]]
        rejected = [
            RejectedInput(reason, detail, origin, row, next(parts))
            for reason, detail, origin, row, _ in head["rejected"]
        ]
        hello = None if head["hello"] is None else Hello(**head["hello"])
        return Polled(batches, head["position"], hello, head["goodbye"], head["ended"], rejected)
    except (ValueError, KeyError, TypeError, IndexError, pa.ArrowException) as error:
        raise ParameterError(f"these bytes are not what a source has brought ({error})") from None


def _parts(body: bytes, at: int, lengths: list[int]) -> Iterator[bytes]:
    if at + sum(lengths) != len(body):
        raise ValueError(f"{len(body)} bytes where {at + sum(lengths)} are said")
    for length in lengths:
        yield body[at : at + length]
        at += length


def _batch(frame: bytes) -> pa.RecordBatch:
    with pa.ipc.open_stream(frame) as stream:
        return stream.read_next_batch()
