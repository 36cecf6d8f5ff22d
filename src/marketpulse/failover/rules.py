"""When another source takes over, and from which event time on. Nothing here knows the wall clock."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from marketpulse.failover.config import FailoverConfig
from marketpulse.failover.owners import NEVER, Owners
from marketpulse.model.timeframe import SECOND_NS

_WORST = 127

GOODBYE, LOST, QUIET, BACK, BY_HAND, DROPPED = ("goodbye", "lost", "quiet", "back", "by hand", "no candidate")
"""Of the old owner: it has ended, writes nothing at all, brings nothing of the symbol, or is no candidate any more; or
the new one is preferred and sound again, or a person has chosen it."""


class Switch(NamedTuple):
    """Of a partition's symbol to another source, by their places, and why."""

    symbol: int
    to: int
    reason: str


def move_time(owners: Owners, config: FailoverConfig, passed_ns: int) -> None:
    """The log's time has moved. A silence of everybody (the broker was away, or no source ran) is nobody's fault."""
    owners.now_ns[0] += min(max(passed_ns, 0), config.step_ns)


def is_live(owners: Owners, config: FailoverConfig) -> NDArray[np.bool_]:
    """(q,) which sources write anything."""
    live: NDArray[np.bool_] = (owners.gone == 0) & (owners.now_ns[0] - owners.heard_ns <= config.lost_after_ns)
    return live


def due_switches(owners: Owners, config: FailoverConfig) -> list[Switch]:
    """The switches that are due now, in the order of the symbols. Who is not sound must become so anew."""
    n = len(owners.owner)
    if not n:
        return []
    now, live = owners.now_ns[0], is_live(owners, config)
    candidate = owners.rank >= 0
    quiet = (owners.missed_ns != NEVER) & (now - owners.missed_ns >= config.after_ns)
    good = candidate & live & ~quiet
    owners.sound_ns[~good] = NEVER
    every = np.arange(n)
    rank = np.where(good & (owners.last_ns != NEVER), owners.rank, _WORST)
    holds = good[every, owners.owner]
    to = rank.argmin(axis=1)
    failed = ~holds & (rank[every, to] < _WORST)
    long_sound = (owners.sound_ns != NEVER) & (now - owners.sound_ns >= config.back_after_ns)
    back_rank = np.where(long_sound, rank, _WORST)
    back_to = back_rank.argmin(axis=1)
    back = holds & (back_rank[every, back_to] < owners.rank[every, owners.owner])
    found = []
    for symbol in np.flatnonzero((failed | back) & (owners.pinned == 0)).tolist():
        if back[symbol]:
            found.append(Switch(symbol, int(back_to[symbol]), BACK))
            continue
        owner = int(owners.owner[symbol])
        found.append(Switch(symbol, int(to[symbol]), _why(owners, symbol, owner, bool(live[owner]))))
    return found


def _why(owners: Owners, symbol: int, owner: int, live: bool) -> str:
    if owners.rank[symbol, owner] < 0:
        return DROPPED
    if owners.gone[owner]:
        return GOODBYE
    return QUIET if live else LOST


def unfed(owners: Owners, config: FailoverConfig) -> int:
    """How many symbols have an owner that writes nothing, and nobody who could take over, or may."""
    live = is_live(owners, config)
    able = (owners.rank >= 0) & live & (owners.last_ns != NEVER) & (owners.pinned == 0)[:, None]
    return int(np.count_nonzero(~live[owners.owner] & ~able.any(axis=1)))


def begins_at(owners: Owners, symbol: int, owner_works: bool) -> int:
    """From which event time on a new owner's rows count: behind the newest that was forwarded. From an owner that works
    on, the next whole second: two vendors' clocks agree on it however finely they tell the time of a trade."""
    reach = int(owners.reach_ns[symbol])
    if reach == NEVER:
        return NEVER
    return -(-(reach + 1) // SECOND_NS) * SECOND_NS if owner_works else reach + 1


def hand_over(owners: Owners, symbol: int, to: int, begins_ns: int) -> None:
    """The source owns the symbol from here on. A stretch in which nothing was forwarded makes way. Room for one more
    stretch must be free."""
    last = int(owners.stretches[symbol]) - 1
    if last >= 0 and owners.begins_ns[symbol, last] >= begins_ns:
        begins_ns = int(owners.begins_ns[symbol, last])
        last -= 1
    if last < 0 or owners.by[symbol, last] != to:
        last += 1
        owners.begins_ns[symbol, last], owners.by[symbol, last] = begins_ns, to
    owners.stretches[symbol] = last + 1
    owners.owner[symbol] = to
    owners.reach_ns[symbol] = begins_ns if begins_ns == NEVER else begins_ns - 1


def forget_old(owners: Owners, symbol: int, keep_ns: int) -> None:
    """Drop stretches that ended `keep_ns` before the newest one began."""
    count = int(owners.stretches[symbol])
    begins = owners.begins_ns[symbol]
    old = 0
    while old + 1 < count and begins[old + 1] < begins[count - 1] - keep_ns:
        old += 1
    if old:
        begins[: count - old] = begins[old:count].copy()
        owners.by[symbol, : count - old] = owners.by[symbol, old:count].copy()
        owners.stretches[symbol] = count - old
