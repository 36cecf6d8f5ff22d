"""Who owns which event time of a symbol, as tables, and the kernel that judges rows by them."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from marketpulse.compiled import bare_kernel, inlined
from marketpulse.model.market import Ids, Ints, Kind
from marketpulse.model.timeframe import SECOND_NS

NEVER = -(2**63)
NOBODY = -1
UNMAPPED, STRANGER = -3, -4
"""A decoder's id that has no place here yet; a source that is in no group, or a symbol beyond the cap."""

FORWARD, HOLD, LEFT_OUT = range(3)
"""What becomes of a row: into `market`; kept until it is clear that nobody else brings its time; neither."""

STEERS, NEW, FINISHED = range(3)

_BAR = int(Kind.BAR)


class Owners(NamedTuple):
    """One partition's tables of n symbols, q sources and k stretches for each symbol at most.

    Times of rows are event times; `last_ns`, `missed_ns`, `sound_ns` and `heard_ns` are attended time, NEVER for none.
    """

    rank: NDArray[np.int8]  # (n, q) place in the order of preference; -1: no candidate
    last_ns: Ints  # (n, q) when it brought something of the symbol last
    newest_ns: Ints  # (n, q) the newest event time that it has brought of it
    missed_ns: Ints  # (n, q) since when others bring something of it, and it does not
    sound_ns: Ints  # (n, q) since when it has been sound without a break
    forgotten_ns: Ints  # (n, q) the newest event time of its held rows that were let go
    owner: Ids  # (n,) who owns the newest stretch
    reach_ns: Ints  # (n,) the newest event time that was forwarded of it
    pinned: NDArray[np.int8]  # (n,) 1: a person has chosen
    stretches: Ids  # (n,) how many stretches
    begins_ns: Ints  # (n, k) where each begins
    by: Ids  # (n, k) whose it is
    heard_ns: Ints  # (q,) when it wrote its last record of any kind
    gone: NDArray[np.int8]  # (q,) 1: it has said goodbye
    now_ns: Ints  # (1,) attended time


@bare_kernel
def owner_at(owners: Owners, symbol: int, time_ns: int) -> int:
    """Who owns this event time of the symbol; NOBODY: it lies before all that is remembered."""
    for i in range(owners.stretches[symbol] - 1, -1, -1):
        if owners.begins_ns[symbol, i] <= time_ns:
            return int(owners.by[symbol, i])
    return NOBODY


@inlined
def note_row(owners: Owners, symbol: int, source: int, time_ns: int) -> None:
    """The source has brought something of the symbol. Those whose newest is older by more than a second miss it from
    here on, until they bring something too; what is nearer may be the same trade by another clock."""
    now = owners.now_ns[0]
    owners.last_ns[symbol, source] = now
    owners.missed_ns[symbol, source] = NEVER
    owners.newest_ns[symbol, source] = max(owners.newest_ns[symbol, source], time_ns)
    if owners.sound_ns[symbol, source] == NEVER:
        owners.sound_ns[symbol, source] = now
    for other in range(owners.rank.shape[1]):
        newest = owners.newest_ns[symbol, other]
        behind = newest == NEVER or time_ns - newest > SECOND_NS
        if behind and owners.missed_ns[symbol, other] == NEVER:
            owners.missed_ns[symbol, other] = now


@bare_kernel
def judge_row(owners: Owners, symbol: int, source: int, time_ns: int) -> int:
    """What becomes of a row of a candidate. One that may be wanted after a switch is held: it lies behind all that
    the owner has brought."""
    if owner_at(owners, symbol, time_ns) == source:
        if owners.owner[symbol] == source and time_ns > owners.reach_ns[symbol]:
            owners.reach_ns[symbol] = time_ns
        return FORWARD
    if owners.owner[symbol] != source and time_ns > owners.reach_ns[symbol]:
        return HOLD
    return LEFT_OUT


@bare_kernel
def judge_rows(
    owners: Owners, kind: NDArray[np.int8], symbol: Ids, source: Ids, event_time_ns: Ints, symbol_of: Ids,
    source_of: Ids, again: bool, start: int, fates: NDArray[np.int8],
) -> tuple[int, int]:  # fmt: skip
    """Judge trades, quotes and bars from row `start` on. Returns (why it stopped, at which row).

    It stops before a record that steers, and before a symbol or source without a place. `again`: rows that were judged
    before the state was saved: only what is to be held is found, and nothing changes.
    """
    for i in range(start, kind.size):
        if kind[i] > _BAR:
            return STEERS, i
        s, q = symbol_of[symbol[i]], source_of[source[i]]
        if s == UNMAPPED or q == UNMAPPED:
            return NEW, i
        if q == STRANGER or s == STRANGER or owners.rank[s, q] < 0:
            fates[i] = LEFT_OUT if again else FORWARD
            continue
        if again:
            fates[i] = LEFT_OUT
            if owner_at(owners, s, event_time_ns[i]) != q:
                fates[i] = judge_row(owners, s, q, event_time_ns[i])
            continue
        owners.heard_ns[q] = owners.now_ns[0]
        owners.gone[q] = 0
        note_row(owners, s, q, event_time_ns[i])
        fates[i] = judge_row(owners, s, q, event_time_ns[i])
    return FINISHED, kind.size
