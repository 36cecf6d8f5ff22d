"""Records of `control`: what people change while the pipeline runs, and where each change stands in `market`.

key    rule/oversold                  what it changes; compaction keeps the newest record of each
value  {"type": "control", "change": {"action": "put_rule", "rule": {…}}}       as in `market`
header market-offsets: [12, 7, …]     the change's offset in each partition of `market`
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import orjson
from confluent_kafka import Message

OFFSETS_HEADER = "market-offsets"


@dataclass(frozen=True, slots=True)
class ControlRecord:
    """One change. `market_offsets` by partition; none: whoever wrote it did not say."""

    key: str
    change: dict[str, Any]
    market_offsets: Sequence[int] = ()

    def is_behind(self, partition: int, offset: int) -> bool:
        """Whether it stands at or behind this offset of `market`, or may do so."""
        return len(self.market_offsets) <= partition or self.market_offsets[partition] >= offset


def control_value(change: dict[str, Any]) -> bytes:
    """The record's value, in `control` and in `market`."""
    return orjson.dumps({"type": "control", "change": change})


def offsets_header(offsets: Sequence[int]) -> tuple[str, bytes]:
    """Where the change stands in each partition of `market`, as the header says it."""
    return OFFSETS_HEADER, orjson.dumps(list(offsets))


def control_record(message: Message) -> ControlRecord | None:
    """The change that a record of `control` states; None: it states none."""
    try:
        record = orjson.loads(message.value() or b"")
        offsets = orjson.loads(dict(message.headers() or ()).get(OFFSETS_HEADER) or b"[]")
    except orjson.JSONDecodeError:
        return None
    match record, offsets:
        case {"type": "control", "change": dict(change)}, [*places] if all(type(p) is int for p in places):
            return ControlRecord((message.key() or b"").decode(errors="replace"), change, tuple(places))
    return None
