"""Snapshots of the engine's state in the compacted `state` topic: chunks, and the pointer to the first."""

import struct
from dataclasses import dataclass

from confluent_kafka import TopicPartition

from marketpulse.errors import MarketPulseError, Retryable
from marketpulse.kafka.client import client_config
from marketpulse.kafka.log_consumer import LogConsumer
from marketpulse.settings import Settings

CHUNK_BYTES = 900_000  # below every broker's default record limit
_CHUNK = struct.Struct("<IIq")  # index, count, covered offset
_LOADED = "loaded"
_CALL_S = 30.0


class SnapshotGone(MarketPulseError):
    """The state that a commit pointed at is not in the log any more: rebuild it from `market`."""


@dataclass(frozen=True, slots=True)
class Pointer:
    """Where a partition's newest snapshot lies in `state`, and the `market` offset that it covers."""

    state_offset: int
    covered: int

    def __str__(self) -> str:
        return f"{self.state_offset}:{self.covered}"

    @classmethod
    def parse(cls, metadata: str | None) -> "Pointer | None":
        """The pointer in a commit's metadata."""
        pointer, _ = split_metadata(metadata)
        if not pointer:
            return None
        state_offset, covered = pointer.split(":")
        return cls(int(state_offset), int(covered))


def split_metadata(metadata: str | None) -> tuple[str, str]:
    """(pointer, note) of a commit's metadata; either may be empty."""
    pointer, _, note = (metadata or "").partition(" ")
    return pointer, note


def join_metadata(pointer: Pointer | None, note: str) -> str:
    """What a commit carries; the inverse of split_metadata."""
    return f"{pointer or ''} {note}".rstrip()


def chunks_of(
    group: str, partition: int, covered: int, data: bytes, load: str | None = None
) -> list[tuple[bytes, bytes]]:
    """A state as (key, value) records; a newer snapshot of the same partition compacts them away, but for the one that
    the load of this name ended with: what the log goes on from there cannot be computed without it."""
    count = max(1, -(-len(data) // CHUNK_BYTES))
    beginning = f"{group}/{partition}/" + (f"{_LOADED}/{load}/" if load else "")
    return [
        (
            f"{beginning}{index}".encode(),
            _CHUNK.pack(index, count, covered) + data[index * CHUNK_BYTES : (index + 1) * CHUNK_BYTES],
        )
        for index in range(count)
    ]


def load_of(key: bytes, group: str, partition: int) -> str | None:
    """Of the key of a chunk: the load that it is the end of, "" for a common snapshot of this partition, None for
    another's."""
    beginning = f"{group}/{partition}/"
    text = key.decode(errors="replace")
    if not text.startswith(beginning):
        return None
    kind, _, rest = text.removeprefix(beginning).partition("/")
    return rest.rpartition("/")[0] if kind == _LOADED else ""


@dataclass(frozen=True, slots=True)
class Chunk:
    """A part of a snapshot: number `index` of `count`, of the state that covers `covered` offsets."""

    index: int
    count: int
    covered: int
    content: bytes


def chunk_of(value: bytes) -> Chunk:
    """A record of `state`. Raises struct.error for bytes that are none."""
    index, count, covered = _CHUNK.unpack_from(value)
    return Chunk(index, count, covered, value[_CHUNK.size :])


class SnapshotReader:
    """Reads single snapshots out of the `state` topic, by place."""

    def __init__(self, settings: Settings) -> None:
        self._topic = settings.topic("state")
        self._consumer = LogConsumer(
            settings,
            client_config(
                settings, "consumer", group_id=settings.group(f"{settings.process.group}-state"), isolation_level="read_committed",
                auto_offset_reset="error", enable_partition_eof=True, fetch_wait_max_ms=5,
            )
        )  # fmt: skip

    def read(self, partition: int, pointer: Pointer) -> bytes:
        self._consumer.assign([TopicPartition(self._topic, partition, pointer.state_offset)])
        chunks: dict[int, bytes] = {}
        try:
            while True:
                message = self._consumer.poll(_CALL_S)
                if message is None:
                    raise Retryable(f"the state of partition {partition} could not be read in {_CALL_S:.0f} s")
                if (error := message.error()) is not None:
                    raise SnapshotGone(f"the state of partition {partition} at {pointer} is gone: {error.str()}")
                chunk = chunk_of(message.value() or b"")
                if chunk.covered == pointer.covered:
                    chunks[chunk.index] = chunk.content
                    if len(chunks) == chunk.count:
                        return b"".join(chunks[i] for i in range(chunk.count))
        finally:
            self._consumer.unassign()

    def close(self) -> None:
        self._consumer.close()
