"""Records of one partition as columns: what every reading client hands to the decoder.

The values lie end to end in one piece of memory, so that nothing is made per record.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from confluent_kafka import Message
from numpy.typing import NDArray

from marketpulse.kafka.frame_writer import FRAME_CONTENT_TYPE
from marketpulse.kafka.words import PADDING
from marketpulse.model.market import Bytes, Ints

FRAME, NO_VALUE, NO_KEY = 1, 2, 4
"""Bits of `marks`: the record says that it is an Arrow frame; it has no value (a tombstone); it has no key."""


@dataclass(frozen=True, slots=True)
class Records:
    """n records of one partition, in order of their offsets.

    data: uint8, the values end to end and PADDING; ends: (n + 1,) int64, value i is `data[ends[i]:ends[i+1]]`;
    keys and key_ends: the same for the keys. offsets, appended_ms: (n,) int64; marks: (n,) int8.
    """

    partition: int
    data: Bytes
    ends: Ints
    keys: Bytes
    key_ends: Ints
    offsets: Ints
    appended_ms: Ints
    marks: NDArray[np.int8]

    def __len__(self) -> int:
        return len(self.offsets)

    def part(self, begin: int, end: int) -> "Records":
        """The records [begin, end), in the same memory."""
        return Records(
            self.partition, self.data, self.ends[begin : end + 1], self.keys, self.key_ends[begin : end + 1],
            self.offsets[begin:end], self.appended_ms[begin:end], self.marks[begin:end],
        )  # fmt: skip

    def value(self, index: int) -> bytes | None:
        if self.marks[index] & NO_VALUE:
            return None
        return self.data[self.ends[index] : self.ends[index + 1]].tobytes()

    def key(self, index: int) -> bytes | None:
        if self.marks[index] & NO_KEY:
            return None
        return self.keys[self.key_ends[index] : self.key_ends[index + 1]].tobytes()

    def is_frame(self, index: int) -> bool:
        """Whether the record's content-type header names an Arrow frame."""
        return bool(self.marks[index] & FRAME)

    def at(self, offset: int) -> int:
        """The index of the record at this offset, which is among them."""
        return int(np.searchsorted(self.offsets, offset))


def records_of(
    values: Sequence[bytes | None],
    partition: int = 0,
    offsets: Ints | None = None,
    *,
    keys: Sequence[bytes | None] | None = None,
    appended_ms: Ints | None = None,
    frames: Sequence[bool] | bool = False,
) -> Records:
    """Values from anywhere as records. Without offsets they count from 0; without times they are of time 0."""
    n = len(values)
    keys = [None] * n if keys is None else keys
    marks = np.zeros(n, np.int8)
    marks[np.broadcast_to(np.asarray(frames, np.bool_), n)] |= FRAME
    marks[[value is None for value in values]] |= NO_VALUE
    marks[[key is None for key in keys]] |= NO_KEY
    ends, data = _laid_out(values)
    key_ends, key_data = _laid_out(keys)
    return Records(
        partition, data, ends, key_data, key_ends, np.arange(n) if offsets is None else offsets,
        np.zeros(n, np.int64) if appended_ms is None else appended_ms, marks,
    )  # fmt: skip


def records_of_messages(partition: int, messages: Sequence[Message]) -> Records:
    """Messages of the client, none of which is an error."""
    values = [message.value() for message in messages]
    return records_of(
        values,
        partition,
        np.array([message.offset() for message in messages], np.int64),
        keys=[message.key() for message in messages],
        appended_ms=np.array([message.timestamp()[1] for message in messages], np.int64),
        # The headers are asked only where they matter: each list of them costs as much as all the rest.
        frames=[v is not None and v[:1] != b"{" and is_frame(m) for v, m in zip(values, messages, strict=True)],
    )


def is_frame(message: Message) -> bool:
    """Whether the message says that it is an Arrow frame."""
    return dict(message.headers() or {}).get("content-type") == FRAME_CONTENT_TYPE


def _laid_out(values: Sequence[bytes | None]) -> tuple[Ints, Bytes]:
    """Where each value ends in the joined bytes (behind a 0), and these with their padding."""
    there = [value or b"" for value in values]
    ends = np.zeros(len(there) + 1, np.int64)
    np.cumsum(np.fromiter(map(len, there), np.int64, len(there)), out=ends[1:])
    return ends, np.frombuffer(b"".join([*there, PADDING]), np.uint8)
