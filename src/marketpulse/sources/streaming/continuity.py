"""Trade ids of one symbol, which count up by 1: what is new, what came before, what is missing.

    trade id -> new, or fills a gap, or came before
             \\-> a gap, first suspected (order may be restored by the next message), then declared

Of a declared gap the log hears; it is healed when its last id has come, and given up when nobody has it.
"""

from dataclasses import dataclass, field
from enum import Enum
from typing import Any

GRACE_NS = 1_000_000_000
"""A gap is suspected this long, by receive times, before it is declared."""

JUMP_MAX = 10_000_000
"""Ids further apart than this are one spoilt message, unless the next trade follows it."""

GAPS_MAX = 20


class Came(Enum):
    NEW = "new"  # none like it before
    AGAIN = "again"
    STRANGE = "strange"  # its id is far from all others


@dataclass(slots=True)
class Gap:
    """Ids `[first, last]` that did not come in their turn; `missing` are those that still have not."""

    first: int
    last: int
    found_ns: int  # by receive time
    from_ns: int  # event times between which they lie
    to_ns: int
    missing: list[tuple[int, int]] = field(default_factory=list)
    declared: bool = False
    lost: int = 0  # ids that were given up

    @property
    def count(self) -> int:
        """How many ids it has in all."""
        return self.last - self.first + 1

    def left(self) -> int:
        return sum(last - first + 1 for first, last in self.missing)

    def fill(self, number: int) -> bool:
        """Take an id out of what is missing; False: it is not in it."""
        for i, (first, last) in enumerate(self.missing):
            if first <= number <= last:
                parts = [(first, number - 1), (number + 1, last)]
                self.missing[i : i + 1] = [(a, b) for a, b in parts if a <= b]
                return True
        return False

    def drop(self, first: int, last: int) -> int:
        """Give ids up; how many that were."""
        before = self.left()
        kept = []
        for a, b in self.missing:
            kept += [(x, y) for x, y in ((a, min(b, first - 1)), (max(a, last + 1), b)) if x <= y]
        self.missing = kept
        self.lost += before - self.left()
        return before - self.left()


@dataclass(slots=True)
class Series:
    """One symbol. `last` is the newest id that is accounted for: it came, or lies in a gap."""

    last: int | None = None
    newest_ns: int = 0  # event time of the newest trade
    gaps: list[Gap] = field(default_factory=list)
    begins: int | None = None  # the first id of this run; None: what is before `last` has come or is missing
    claimed: tuple[int, int] | None = None  # (id that the vendor says is the newest, receive time)
    strange: int | None = None

    def take(self, number: int, time_ns: int, received_ns: int) -> Came:
        """Account for a trade that came."""
        if self.last is None:
            self.last = self.begins = number
        elif abs(number - self.last) > JUMP_MAX and not self._in_a_gap(number):
            if self.strange is None or abs(number - self.strange) > 1_000:
                self.strange = number
                return Came.STRANGE
            self.last, self.begins = number, None  # it goes on there: ids have begun anew
        elif number > self.last:
            if number > self.last + 1:
                self._miss(self.last + 1, number - 1, time_ns, received_ns)
            self.last = number
        elif not any(gap.fill(number) for gap in self.gaps):
            if self.begins is None or number >= self.begins:
                return Came.AGAIN
            if number < self.begins - 1:
                self._miss(number + 1, self.begins - 1, time_ns, received_ns)
            self.begins = number
        self.strange = None
        self.newest_ns = max(self.newest_ns, time_ns)
        return Came.NEW

    def claim(self, number: int, received_ns: int) -> None:
        """The vendor says that trade `number` has been; it may still be on its way."""
        known = self.claimed[0] if self.claimed else (self.last if self.last is not None else -1)
        if number > known and (self.last is None or number - self.last <= JUMP_MAX):
            self.claimed = (number, received_ns) if self.claimed is None else (number, self.claimed[1])

    def settle(self, now_ns: int) -> tuple[list[Gap], list[Gap]]:
        """(gaps that are declared now, declared gaps that are healed now). Call it with every receive time."""
        self._settle_claim(now_ns)
        due = [gap for gap in self.gaps if not gap.declared and now_ns - gap.found_ns >= GRACE_NS]
        declared = [gap for gap in due if gap.missing]
        for gap in declared:
            gap.declared = True
        healed = [gap for gap in self.gaps if gap.declared and not gap.missing and not gap.lost]
        self.gaps = [gap for gap in self.gaps if gap.missing]
        return declared, healed

    def _settle_claim(self, now_ns: int) -> None:
        if self.claimed is None:
            return
        number, since_ns = self.claimed
        if self.last is not None and number <= self.last:
            self.claimed = None
        elif now_ns - since_ns >= GRACE_NS:
            if self.last is not None:
                self._miss(self.last + 1, number, self.newest_ns, since_ns)
            else:
                self.begins = number + 1
            self.last, self.claimed = number, None

    def _in_a_gap(self, number: int) -> bool:
        return any(first <= number <= last for gap in self.gaps for first, last in gap.missing)

    def _miss(self, first: int, last: int, time_ns: int, received_ns: int) -> None:
        begin = min(self.newest_ns or time_ns, time_ns)
        self.gaps.append(Gap(first, last, received_ns, begin, max(time_ns, begin), [(first, last)]))

    # --- positions ---

    def kept(self) -> list[Any]:
        """[last, newest event time, [a gap's fields and what is missing of it, flat], …] for a position."""
        gaps = [
            [g.first, g.last, g.from_ns, g.to_ns, int(g.declared), g.lost, *(n for pair in g.missing for n in pair)]
            for g in self.gaps
        ]
        return [self.last, self.newest_ns, *gaps]

    @classmethod
    def restored(cls, kept: list[Any]) -> "Series":
        """As it was when its rows were committed; gaps are due at once."""
        last, newest_ns, *gaps = kept
        found = [
            Gap(g[0], g[1], 0, g[2], g[3], list(zip(g[6::2], g[7::2], strict=True)), bool(g[4]), g[5]) for g in gaps
        ]
        return cls(last, newest_ns, found)
