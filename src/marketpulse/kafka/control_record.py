"""Records of `control`: what people change while the pipeline runs, and where each change stands in `market`.

key    rule/oversold                  what it changes; compaction keeps the newest record of each
value  {"type": "control", "change": {"action": "put_rule", "rule": {…}}}       as in `market`
header market-offsets: [12, 7, …]     the change's offset in each partition of `market`
header begins-offsets: [3, 1, …]      where what it changes began, for a rule that goes on with another message
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import orjson
from confluent_kafka import Message

OFFSETS_HEADER, BEGINS_HEADER = "market-offsets", "begins-offsets"


@dataclass(frozen=True, slots=True)
class ControlRecord:
    """One change, made at `time_ms`. `market_offsets` by partition; none: whoever wrote it did not say.
    `begins_offsets` the same, where what it puts has begun before it."""

    key: str
    change: dict[str, Any]
    market_offsets: Sequence[int] = ()
    begins_offsets: Sequence[int] = ()
    time_ms: int = 0

    def is_behind(self, partition: int, offset: int) -> bool:
        """Whether it stands at or behind this offset of `market`, or may do so."""
        return len(self.market_offsets) <= partition or self.market_offsets[partition] >= offset


def control_value(change: dict[str, Any]) -> bytes:
    """The record's value, in `control` and in `market`."""
    return orjson.dumps({"type": "control", "change": change})


def offsets_headers(offsets: Sequence[int], begins: Sequence[int] = ()) -> list[tuple[str, str | bytes | None]]:
    """Where the change stands in each partition of `market`, and where what it changes began, as headers say it."""
    headers: list[tuple[str, str | bytes | None]] = [(OFFSETS_HEADER, orjson.dumps(list(offsets)))]
    return [*headers, (BEGINS_HEADER, orjson.dumps(list(begins)))] if begins else headers


def control_record(message: Message) -> ControlRecord | None:
    """The change that a record of `control` states; None: it states none."""
    headers = dict(message.headers() or ())
    try:
        record = orjson.loads(message.value() or b"")
        offsets = [orjson.loads(headers.get(name) or b"[]") for name in (OFFSETS_HEADER, BEGINS_HEADER)]
    except orjson.JSONDecodeError:
        return None
    match record:
        case {"type": "control", "change": dict(change)} if all(map(_are_offsets, offsets)):
            key = (message.key() or b"").decode(errors="replace")
            stands, begins = map(tuple, offsets)
            return ControlRecord(key, change, stands, begins, message.timestamp()[1])
    return None


def _are_offsets(found: object) -> bool:
    return isinstance(found, list) and all(type(place) is int for place in found)
