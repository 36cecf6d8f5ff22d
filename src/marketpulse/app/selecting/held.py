"""Rows of candidates that nobody needs yet: they lie behind all that their symbol's owner has brought."""

from dataclasses import dataclass

import numpy as np

from marketpulse.failover.config import FailoverConfig
from marketpulse.failover.owners import Owners
from marketpulse.kafka.codec import RowRecords
from marketpulse.kafka.passing import chosen_rows, joined_rows, no_rows
from marketpulse.model.market import Ids, Ints

_PARTS_MAX = 64


@dataclass(frozen=True, slots=True)
class HeldRows:
    """n rows in the order of the log, with what decides on them: symbol and source by their places, event time, the
    record's offset, and the attended time at which they came."""

    symbol: Ids
    source: Ids
    event_time_ns: Ints
    offset: Ints
    came_ns: Ints
    rows: RowRecords

    def __len__(self) -> int:
        return len(self.symbol)

    def chosen(self, chosen: Ints) -> "HeldRows":
        return HeldRows(
            self.symbol[chosen], self.source[chosen], self.event_time_ns[chosen], self.offset[chosen],
            self.came_ns[chosen], chosen_rows(self.rows, chosen),
        )  # fmt: skip


def _nothing() -> HeldRows:
    i4, i8 = np.empty(0, np.int32), np.empty(0, np.int64)
    return HeldRows(i4, i4, i8, i8, i8, no_rows())


class Held:
    """One partition's held rows, bounded by number and by age."""

    def __init__(self) -> None:
        self._parts: list[HeldRows] = []
        self._count = 0
        self._taken = np.zeros(0, np.bool_)  # of the first rows: those that a switch has taken out
        self._looked_at = 0  # how many there were when they were last looked through

    def __len__(self) -> int:
        return self._count - int(np.count_nonzero(self._taken))

    def add(self, rows: HeldRows) -> None:
        if len(rows):
            self._parts.append(rows)
            self._count += len(rows)
        if len(self._parts) > _PARTS_MAX:
            self._whole()

    def oldest(self) -> int:
        """The offset of the oldest row; -1 when there is none."""
        return int(self._parts[0].offset[0]) if self._parts else -1

    def take(self, symbol: int, source: int, behind_ns: int) -> HeldRows:
        """Take out the rows of this symbol and source whose event time is behind `behind_ns`, in order."""
        whole = self._whole()
        wanted = (whole.symbol == symbol) & (whole.source == source) & (whole.event_time_ns > behind_ns)
        wanted &= ~self._taken
        if not wanted.any():
            return _nothing()
        self._taken |= wanted  # many symbols switch at once: what is left is copied once, when it is looked through
        return whole.chosen(np.flatnonzero(wanted))

    def wants_a_look(self, config: FailoverConfig, now_ns: int) -> bool:
        """Whether many have come since the last look, or some are too many or too old."""
        aged = bool(self._parts) and now_ns - int(self._parts[0].came_ns[0]) > config.hold_ns
        return aged or self._count > min(config.hold_rows, 2 * self._looked_at + 1_000)

    def look_through(self, owners: Owners, config: FailoverConfig) -> tuple[int, int]:
        """Drop what an owner has brought meanwhile, then what is too old and too much. Returns how many of each; of the
        latter the tables remember up to which event time they are gone."""
        whole = self._whole()
        needed = (whole.event_time_ns > owners.reach_ns[whole.symbol]) & (owners.owner[whole.symbol] != whole.source)
        needed &= ~self._taken
        kept = needed & (owners.now_ns[0] - whole.came_ns <= config.hold_ns)
        if (over := int(np.count_nonzero(kept)) - config.hold_rows) > 0:
            kept[np.flatnonzero(kept)[:over]] = False
        gone = np.flatnonzero(needed & ~kept)
        np.maximum.at(owners.forgotten_ns, (whole.symbol[gone], whole.source[gone]), whole.event_time_ns[gone])
        left_out = len(whole) - int(np.count_nonzero(needed | self._taken))
        if not kept.all():
            self._put(whole.chosen(np.flatnonzero(kept)))
        self._looked_at = self._count
        return left_out, len(gone)

    def _whole(self) -> HeldRows:
        """All of it in one part."""
        parts = self._parts
        if len(self._taken) != self._count:
            taken = np.concatenate([self._taken, np.zeros(self._count - len(self._taken), np.bool_)])
            parts = [_nothing(), *parts]
            self._put(
                HeldRows(
                    np.concatenate([p.symbol for p in parts]),
                    np.concatenate([p.source for p in parts]),
                    np.concatenate([p.event_time_ns for p in parts]),
                    np.concatenate([p.offset for p in parts]),
                    np.concatenate([p.came_ns for p in parts]),
                    joined_rows([p.rows for p in parts]),
                )
            )
            self._taken = taken
        return self._parts[0] if self._parts else _nothing()

    def _put(self, whole: HeldRows) -> None:
        self._parts, self._count = ([whole] if len(whole) else []), len(whole)
        self._taken = np.zeros(len(whole), np.bool_)
