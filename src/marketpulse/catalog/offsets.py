"""How far a table holds the topics: the next offset of every (topic, partition), in its snapshot's summary.

    snapshot summary  marketpulse.offsets = {"next": {"market": {"0": 120}}, "held": {"market": {"0": 118}}}

`next` is the table's own: it stands there when the table has rows, and moves with them in one commit. `held` speaks
for all tables that the same topic feeds: every row of theirs before it is stored. So a table without new rows needs no
commit of its own: the others say how far it stands.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from marketpulse.errors import Fatal
from marketpulse.model.tables import TABLES

if TYPE_CHECKING:
    from pyiceberg.table.metadata import TableMetadata

PROPERTY = "marketpulse.offsets"

Key = tuple[str, int]  # topic (or the name of a loaded file), partition


@dataclass(frozen=True, slots=True)
class Offsets:
    """What one table's newest snapshot says."""

    next: Mapping[Key, int] = field(default_factory=dict)
    held: Mapping[Key, int] = field(default_factory=dict)

    def moved(self, next_offsets: Mapping[Key, int], held: Mapping[Key, int]) -> "Offsets":
        """With these in place of its own; what belongs to others stays."""
        return Offsets({**self.next, **next_offsets}, {**self.held, **held})

    def encode(self) -> str:
        return json.dumps({"next": _nested(self.next), "held": _nested(self.held)}, separators=(",", ":"))

    @staticmethod
    def decode(text: str, where: str) -> "Offsets":
        """The inverse. Raises Fatal for what is no such text."""
        try:
            body = json.loads(text)
            return Offsets(_flat(body["next"]), _flat(body["held"]))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise Fatal(
                f"{where}: the property {PROPERTY} is damaged ({error!r}): roll the table back to a snapshot before"
            ) from None

    @staticmethod
    def of(metadata: "TableMetadata", where: str) -> "Offsets":
        """As the table stands now. Where its newest snapshots are another program's, ours before them says it; where
        those have been expired, the table's own property does."""
        snapshot = metadata.current_snapshot()
        while snapshot is not None:
            text = snapshot.summary.get(PROPERTY) if snapshot.summary is not None else None
            if text is not None:
                return Offsets.decode(text, where)
            parent = snapshot.parent_snapshot_id
            snapshot = None if parent is None else metadata.snapshot_by_id(parent)
            if parent is not None and snapshot is None:
                return Offsets.decode(metadata.properties.get(PROPERTY, '{"next":{},"held":{}}'), where)
        return Offsets()


def group_of(table: str) -> list[str]:
    """The tables that are fed by the same topic, this one among them."""
    return [other for other, (topic, _) in TABLES.items() if topic == TABLES[table][0]]


def positions(tables: Mapping[str, Offsets]) -> dict[Key, dict[str, int]]:
    """By partition, the next offset of each table, as all tables together tell it."""
    found: dict[Key, dict[str, int]] = {}
    for table in TABLES:
        own = tables.get(table, Offsets())
        for key, offset in own.next.items():
            _raise_to(found, key, table, offset)
        for key, offset in own.held.items():
            for other in group_of(table):
                _raise_to(found, key, other, offset)
    return found


def held_up_to(by_table: Mapping[str, int]) -> int:
    """Before which offset of one partition every row of every table that it feeds is stored."""
    complete = [
        min(by_table[other] for other in group)
        for group in {tuple(group_of(table)) for table in by_table}
        if all(other in by_table for other in group)
    ]
    return min(complete, default=0)


def _raise_to(found: dict[Key, dict[str, int]], key: Key, table: str, offset: int) -> None:
    by_table = found.setdefault(key, {})
    by_table[table] = max(offset, by_table.get(table, offset))


def _nested(offsets: Mapping[Key, int]) -> dict[str, dict[str, int]]:
    nested: dict[str, dict[str, int]] = {}
    for (topic, partition), offset in sorted(offsets.items()):
        nested.setdefault(topic, {})[str(partition)] = offset
    return nested


def _flat(nested: Mapping[str, Mapping[str, int]]) -> dict[Key, int]:
    return {(topic, int(p)): int(offset) for topic, own in nested.items() for p, offset in own.items()}
