"""Records of one partition of `market` as batches, with the way back from a row to its record."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from confluent_kafka import Message
from numpy.typing import NDArray

from marketpulse.errors import Fatal, Retryable
from marketpulse.kafka.codec import FRAME_CONTENT_TYPE, MarketDecoder, row_as_json
from marketpulse.kafka.dead_letter import encode_dead_letter
from marketpulse.kafka.transaction import PartitionRecords
from marketpulse.model.market import ABSENT, REASONS, DeadLetter, MarketBatch


@dataclass(frozen=True, slots=True)
class Decoded:
    """One batch and what it came from. `next_offset` follows its last record."""

    batch: MarketBatch
    rejected: list[DeadLetter]
    messages: Sequence[Message]
    offsets: NDArray[np.int64]
    records: int
    next_offset: int

    def record_before(self, row: int) -> int | None:
        """The offset at which reading goes on when all rows before `row` are done; None inside a frame."""
        offsets = self.batch.offset
        if row == len(offsets):
            return self.next_offset
        return int(offsets[row]) if row == 0 or offsets[row - 1] != offsets[row] else None

    def dead_letter(self, row: int, reason: str, timeframes: tuple[str, ...]) -> DeadLetter:
        """A row of the batch that the engine refuses, whole, with its place."""
        batch = self.batch
        offset, in_frame = int(batch.offset[row]), int(batch.row[row])
        message = self.messages[int(np.searchsorted(self.offsets, offset))]
        symbol = int(batch.symbol[row])
        framed = is_frame(message)
        detail = REASONS[reason] + (f" in {', '.join(timeframes)}" if timeframes else "")
        return DeadLetter(
            reason=reason, detail=detail, topic=batch.topic, partition=batch.partition, offset=offset,
            row=in_frame if framed else ABSENT, key=message.key(),
            value=row_as_json(batch, row) if framed else message.value(),
            symbol=batch.strings[symbol] if symbol >= 0 else None, timeframes=timeframes,
        )  # fmt: skip


def is_frame(message: Message) -> bool:
    """Whether the record says that it is an Arrow frame."""
    return dict(message.headers() or {}).get("content-type") == FRAME_CONTENT_TYPE


class MarketReader:
    """Decodes for one worker. One table of strings serves all partitions."""

    def __init__(self, topic: str) -> None:
        self._topic = topic
        self._decoder = MarketDecoder()

    def decode(self, records: PartitionRecords, wanted: int, muted_until: int) -> Iterator[Decoded]:
        """Batches from the record `wanted` on, cut where muting ends. Raises Fatal when records went back."""
        messages = records.messages
        offsets = offsets_of(messages)
        if offsets[0] < wanted:
            raise Fatal(f"partition {records.partition}: offset {wanted} was expected, found {offsets[0]}")
        cut = int(np.searchsorted(offsets, muted_until))
        for start, end in ((0, cut), (cut, len(messages))):
            if start < end:
                yield self._decode(records.partition, messages[start:end], offsets[start:end])

    def _decode(self, partition: int, messages: list[Message], offsets: NDArray[np.int64]) -> Decoded:
        batch, rejected = self._decoder.decode(
            self._topic,
            partition,
            list(map(Message.value, messages)),
            offsets,
            lambda i: messages[i].timestamp()[1] * 1_000_000,
            lambda i: messages[i].key(),
            lambda i: is_frame(messages[i]),
        )
        if rejected:
            raise_client_errors(messages)
        batch.append_time_of = lambda offset: (
            messages[int(np.searchsorted(offsets, offset))].timestamp()[1] * 1_000_000
        )
        return Decoded(batch, rejected, messages, offsets, len(messages), int(offsets[-1]) + 1)

    def encode_dead_letters(self, letters: Sequence[DeadLetter]) -> list[tuple[bytes | None, bytes]]:
        return [encode_dead_letter(letter) for letter in letters]


def offsets_of(messages: list[Message]) -> NDArray[np.int64]:
    """Each record's offset. One accessor call costs 50 ns, so a gapless run is counted from its ends."""
    first, last = messages[0].offset(), messages[-1].offset()
    if first is not None and last is not None and first >= 0 and last - first == len(messages) - 1:
        return np.arange(first, last + 1)
    raise_client_errors(messages)
    return np.array([m.offset() for m in messages], np.int64)


def raise_client_errors(messages: list[Message]) -> None:
    """The client reports errors as messages; asking every message would cost 30 ns each, so only
    odd runs are asked."""
    for message in messages:
        if (error := message.error()) is not None:
            raise Retryable(f"the log could not be read: {error.str()}")
