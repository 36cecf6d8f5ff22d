"""Records of one partition of `market` as batches, with the way back from a row to its record."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from marketpulse.errors import Fatal
from marketpulse.kafka.codec import MarketDecoder, row_as_json
from marketpulse.kafka.dead_letter import encode_dead_letter
from marketpulse.kafka.records import Records
from marketpulse.model.market import ABSENT, REASONS, DeadLetter, MarketBatch


@dataclass(frozen=True, slots=True)
class Decoded:
    """One batch and what it came from. `next_offset` follows its last record."""

    batch: MarketBatch
    rejected: list[DeadLetter]
    records: Records
    next_offset: int

    def record_before(self, row: int) -> int | None:
        """The offset at which reading goes on when all rows before `row` are done; None inside a frame."""
        offsets = self.batch.offset
        if row == len(offsets):
            return self.next_offset
        return int(offsets[row]) if row == 0 or offsets[row - 1] != offsets[row] else None

    def dead_letter(self, row: int, reason: str, timeframes: tuple[str, ...], further: str = "") -> DeadLetter:
        """A row of the batch that the engine refuses, whole, with its place. `further` goes behind the reason's words."""
        batch, records = self.batch, self.records
        offset, in_frame = int(batch.offset[row]), int(batch.row[row])
        record = records.at(offset)
        symbol = int(batch.symbol[row])
        framed = records.is_frame(record)
        detail = REASONS[reason] + (f" in {', '.join(timeframes)}" if timeframes else "")
        detail += f": {further}" if further else ""
        return DeadLetter(
            reason=reason, detail=detail, topic=batch.topic, partition=batch.partition, offset=offset,
            row=in_frame if framed else ABSENT, key=records.key(record),
            value=row_as_json(batch, row) if framed else records.value(record),
            symbol=batch.strings[symbol] if symbol >= 0 else None, timeframes=timeframes,
        )  # fmt: skip


class MarketReader:
    """Decodes for one worker. One table of strings serves all partitions."""

    def __init__(self, topic: str) -> None:
        self._topic = topic
        self._decoder = MarketDecoder()

    def decode(self, records: Records, wanted: int, muted_until: int) -> Iterator[Decoded]:
        """Batches from the record `wanted` on, cut where muting ends. Raises Fatal when records went back."""
        if (first := int(records.offsets[0])) < wanted:
            raise Fatal(f"partition {records.partition}: offset {wanted} was expected, found {first}")
        cut = records.at(muted_until)
        for start, end in ((0, cut), (cut, len(records))):
            if start < end:
                yield self._decode(records.part(start, end))

    def _decode(self, records: Records) -> Decoded:
        batch, rejected = self._decoder.decode(self._topic, records)
        batch.append_time_of = lambda offset: int(records.appended_ms[records.at(offset)]) * 1_000_000
        return Decoded(batch, rejected, records, int(records.offsets[-1]) + 1)

    def encode_dead_letters(self, letters: Sequence[DeadLetter]) -> list[tuple[bytes | None, bytes]]:
        return [encode_dead_letter(letter) for letter in letters]
