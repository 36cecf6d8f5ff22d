"""What a verification has found: rows counted by table, and the first differences."""

from dataclasses import dataclass, field
from typing import get_args

from marketpulse.app.receipts.compare import Difference, Table

DIFFERENCES_KEPT = 1_000
TABLES: tuple[Table, ...] = get_args(Table)


@dataclass(slots=True)
class Tally:
    """Rows of one table. `same` + `differing` + `extra` + `unchecked` are the stored ones; `missing` are not
    stored although later ones are; of the same ones, `from_lake` were recomputed from the lake's trades."""

    stored: int = 0
    same: int = 0
    differing: int = 0
    missing: int = 0
    extra: int = 0
    unchecked: int = 0
    from_lake: int = 0

    @property
    def drift(self) -> int:
        return self.differing + self.missing + self.extra


@dataclass(slots=True)
class Report:
    """What a verification found; at most DIFFERENCES_KEPT of the differences stand in it."""

    tallies: dict[Table, Tally] = field(default_factory=lambda: {table: Tally() for table in TABLES})
    differences: list[Difference] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    not_computed: set[str] = field(default_factory=set)  # stored columns that this configuration does not compute
    mixed: set[Table] = field(default_factory=set)  # tables that hold rows of other engine versions

    @property
    def drift(self) -> int:
        return sum(tally.drift for tally in self.tallies.values())

    def note(self, text: str) -> None:
        if text not in self.notes:
            self.notes.append(text)

    def add(self, differences: list[Difference]) -> None:
        self.differences += differences[: max(0, DIFFERENCES_KEPT - len(self.differences))]


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a verification is: rows are checked in shares; of the one at hand, records of the log that were replayed (of 0:
    the lake's trades serve)."""

    share: int
    shares: int
    records: int
    of_records: int
    same: int
