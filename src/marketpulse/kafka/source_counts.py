"""What became of each source's rows, as the engine counts them: carried by its commits, read by who has sent them.

The note of a commit's metadata (kafka.snapshot) are these counts as JSON. They are committed together with
the rows that they count, so they are exact over kills and rebalances.
"""

from dataclasses import astuple, dataclass
from typing import Literal

import orjson

from marketpulse.kafka.snapshot import split_metadata

_BYTES_MAX = 3_000  # brokers keep 4,096 bytes of metadata (offset.metadata.max.bytes); the pointer takes up to 40
Fate = Literal["rows", "duplicates", "late", "refused", "behind"]
SHARED = ""
"""Of this source are duplicates and late rows that came together with those of others and cannot be told apart."""


@dataclass(slots=True)
class SourceCount:
    """Of what the process `sender` wrote under a source's name, the rows that the engine has read. Of these: `duplicates`
    are ignored, `late` ones revise their bars, `refused` ones are dead letters (a row counts once, whatever refused it), and
    `behind` the correction window are those of history that a rebuild brings in."""

    sender: str = ""
    rows: int = 0
    duplicates: int = 0
    late: int = 0
    refused: int = 0
    behind: int = 0

    def __add__(self, other: "SourceCount") -> "SourceCount":
        sums = (mine + theirs for mine, theirs in zip(astuple(self)[1:], astuple(other)[1:], strict=True))
        return SourceCount(self.sender, *sums)


class SourceCounts:
    """Of one partition, by source; the source that counted last is the last."""

    def __init__(self, by_source: dict[str, SourceCount] | None = None) -> None:
        self.by_source = by_source or {}

    @classmethod
    def parse(cls, metadata: str | None) -> "SourceCounts":
        """The counts in a commit's metadata; none in one of an older engine."""
        _, note = split_metadata(metadata)
        return cls({source: SourceCount(*count) for source, count in orjson.loads(note or "{}").items()})

    def text(self) -> str:
        """What a commit carries. Of too many sources those that counted long ago are left out."""
        while len(text := orjson.dumps({s: astuple(c) for s, c in self.by_source.items()})) > _BYTES_MAX:
            del self.by_source[next(iter(self.by_source))]
        return text.decode() if self.by_source else ""

    def begin(self, source: str, sender: str) -> None:
        """A source says hello: its counts begin anew, unless this process has said so before."""
        if self.of(source).sender != sender:
            self.by_source[source] = SourceCount(sender)

    def add(self, source: str, fate: Fate, count: int) -> None:
        counted = self.by_source.pop(source, SourceCount())
        setattr(counted, fate, getattr(counted, fate) + count)
        self.by_source[source] = counted

    def of(self, source: str) -> SourceCount:
        return self.by_source.get(source, SourceCount())
