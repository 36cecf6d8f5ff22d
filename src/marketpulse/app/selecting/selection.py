"""One partition of `feeds`: its records in, what `market` gets of them out.

    judge each row by its event time -> forward | hold | leave out
    at a record that steers (heartbeat, clock, hello, goodbye) -> switches: the new owner's held rows, then the `switch`
    record, then the record itself

The rows before their switch: the engine then takes them in before the symbol's watermark leaves that of the old owner,
and none of them is late.
"""

import itertools
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import orjson
from numpy.typing import NDArray

from marketpulse.app.selecting.held import Held, HeldRows
from marketpulse.failover.config import FailoverConfig
from marketpulse.failover.owners import (
    FINISHED,
    FORWARD,
    HOLD,
    LEFT_OUT,
    NEVER,
    NEW,
    STRANGER,
    judge_row,
    judge_rows,
    owner_at,
)
from marketpulse.failover.rules import (
    BACK,
    BY_HAND,
    Switch,
    begins_at,
    due_switches,
    forget_old,
    hand_over,
    is_live,
    move_time,
)
from marketpulse.failover.state import Places, SelectionState, known_symbols, make_room
from marketpulse.kafka.codec import RowRecords, row_as_json
from marketpulse.kafka.market_reader import Decoded
from marketpulse.kafka.passing import records_as_rows, rows_as_text
from marketpulse.kafka.records import FRAME, NO_KEY
from marketpulse.model.market import ABSENT, OF_ENGINE, Ints, Kind, StringTable


class Rows(NamedTuple):
    """Rows of candidates, keyed by their symbols."""

    rows: RowRecords


class Frame(NamedTuple):
    """An Arrow frame as it came."""

    key: bytes | None
    value: bytes


class Passed(NamedTuple):
    """A record of no symbol, for the same partition."""

    value: bytes


class Switched(NamedTuple):
    """A `switch` record."""

    record: dict[str, Any]


Piece = Rows | Frame | Passed | Switched


@dataclass(slots=True)
class Counts:
    """What became of rows, and how many switches there were, by reason, since it was last asked."""

    fates: Counter[str]
    switches: Counter[str]

    def clear(self) -> None:
        self.fates.clear()
        self.switches.clear()


class Selection:
    """Drives one partition's state. The same records give the same pieces, however they are cut."""

    def __init__(self, state: SelectionState, config: FailoverConfig, symbols_max: int) -> None:
        self.state, self.held = state, Held()
        self.counts = Counts(Counter(), Counter())
        self.changed = False  # who owns what, or who may, since it was last asked
        self._config, self._symbols_max = config, symbols_max
        self._places = Places(StringTable())

    def take(self, decoded: Decoded, *, again: bool = False) -> list[Piece]:
        """What goes on into `market`, in order. `again`: records that the state has taken before; of them only what is
        to be held is found again."""
        batch = decoded.batch
        if self._places.strings is not batch.strings:
            self._places = Places(batch.strings)
        places, known = self._places, len(self.state.symbols)
        fates = np.empty(len(batch), np.int8)
        pieces: list[Piece] = []
        start = done = 0
        why = NEW
        while why != FINISHED:
            places.pull()
            why, row = judge_rows(
                self.state.owners, batch.kind, batch.symbol, batch.source, batch.event_time_ns, places.symbol_of,
                places.source_of, again, start, fates,
            )  # fmt: skip
            if why == NEW:
                self._learn(decoded, row)
                start = row
                continue
            pieces += self._judged(decoded, fates, done, row)
            if why != FINISHED:
                pieces += self._steered(decoded, row, again)
            start = done = row + 1
        self.changed |= len(self.state.symbols) > known
        return pieces

    def _learn(self, decoded: Decoded, row: int) -> tuple[int, int]:
        self._places.pull()
        batch = decoded.batch
        return self._places.learn(
            self.state, self._config, int(batch.symbol[row]), int(batch.source[row]), self._symbols_max
        )

    # --- rows ---

    def _judged(self, decoded: Decoded, fates: NDArray[np.int8], begin: int, end: int) -> Iterator[Piece]:
        """The pieces of trades, quotes and bars [begin, end); what is to be held goes there."""
        if begin == end:
            return
        for fate, count in enumerate(np.bincount(fates[begin:end], minlength=3).tolist()):
            self.counts.fates[("forwarded", "held", "left out")[fate]] += count
        for first, last, framed in _stretches(decoded, begin, end):
            part = fates[first:last]
            forward = first + np.flatnonzero(part == FORWARD)
            if framed and len(forward) == last - first and _is_whole(decoded, first, last):
                record = decoded.records.at(int(decoded.batch.offset[first]))
                yield Frame(decoded.records.key(record), decoded.records.value(record) or b"")
            elif len(forward):
                yield Rows(_texts(decoded, forward, framed))
            if len(hold := first + np.flatnonzero(part == HOLD)):
                self._hold(decoded, hold, _texts(decoded, hold, framed))

    def _hold(self, decoded: Decoded, rows: Ints, texts: RowRecords, time_ns: int | None = None) -> None:
        batch, now = decoded.batch, int(self.state.owners.now_ns[0])
        times = batch.event_time_ns[rows] if time_ns is None else np.full(len(rows), time_ns)
        self.held.add(
            HeldRows(
                self._places.symbol_of[batch.symbol[rows]], self._places.source_of[batch.source[rows]], times,
                batch.offset[rows], np.full(len(rows), now), texts,
            )
        )  # fmt: skip

    # --- records that steer ---

    def _steered(self, decoded: Decoded, row: int, again: bool) -> Iterator[Piece]:
        kind = Kind(int(decoded.batch.kind[row]))
        if kind in OF_ENGINE:
            return  # the pipeline itself writes them, into `market`
        if kind == Kind.CONTROL:
            if not again:
                yield from self._controlled(decoded.batch.rare[row].get("change"))
        elif decoded.batch.symbol[row] != ABSENT:
            yield from self._rare(decoded, row, kind, again)
        elif not again:
            yield from self._heard(decoded, row, kind)
            yield Passed(_value(decoded, row))

    def _rare(self, decoded: Decoded, row: int, kind: Kind, again: bool) -> Iterator[Piece]:
        """A correction, a gap, a split …: by its event time as a row; but what changes a trade goes on whenever its
        source has fed the symbol, as its trade may be among those."""
        symbol, source = self._learn(decoded, row)
        owners, batch = self.state.owners, decoded.batch  # the tables may have grown
        time_ns = int(batch.event_time_ns[row])
        changes = kind in (Kind.CORRECTION, Kind.CANCEL)
        if (
            STRANGER in (symbol, source)
            or owners.rank[symbol, source] < 0
            or (changes and source in owners.by[symbol, : owners.stretches[symbol]].tolist())
        ):
            fate = LEFT_OUT if again else FORWARD
        elif again and owner_at(owners, symbol, time_ns) == source:
            fate = LEFT_OUT
        else:
            reach = int(owners.reach_ns[symbol])
            fate = judge_row(owners, symbol, source, time_ns)
            owners.reach_ns[symbol] = reach  # only market data moves the seam
        if not again and source != STRANGER:
            owners.heard_ns[source], owners.gone[source] = owners.now_ns[0], 0
        if not again:
            self.counts.fates[("forwarded", "held", "left out")[fate]] += 1
        if fate == LEFT_OUT:
            return
        text = _one_row(batch.strings[int(batch.symbol[row])].encode(), _value(decoded, row))
        if fate == FORWARD:
            yield Rows(text)
        else:
            self._hold(decoded, np.array([row]), text)

    def _heard(self, decoded: Decoded, row: int, kind: Kind) -> Iterator[Piece]:
        """Time moves, a source has spoken, and what is due is done."""
        state, owners, batch = self.state, self.state.owners, decoded.batch
        timed = kind in (Kind.HEARTBEAT, Kind.CLOCK)
        log_ns = int(batch.log_time_ns[row]) if timed else batch.append_time_of(int(batch.offset[row]))
        if state.log_ns != NEVER:
            move_time(owners, self._config, log_ns - state.log_ns)
        state.log_ns = max(state.log_ns, log_ns)
        name = batch.strings[int(batch.source[row])] if batch.source[row] != ABSENT else None
        if name in state.sources:
            source = state.sources.index(name)
            owners.heard_ns[source], owners.gone[source] = owners.now_ns[0], kind == Kind.GOODBYE
        for switch in due_switches(known_symbols(state), self._config):
            yield from self._switched(switch)
        if self.held.wants_a_look(self._config, int(owners.now_ns[0])):
            left_out, let_go = self.held.look_through(state.owners, self._config)
            self.counts.fates["left out"] += left_out
            self.counts.fates["let go"] += let_go

    def _controlled(self, change: Any) -> Iterator[Piece]:
        """A person has chosen a symbol's source, or leaves it to the rules again."""
        match change:
            case {"action": "switch", "symbol": str(name), "to": to}:
                symbol = self.state.symbols.find(name)
                if symbol == ABSENT:
                    return
                owners, self.changed = self.state.owners, True
                if to is None:
                    owners.pinned[symbol] = 0
                elif to in self.state.sources and owners.rank[symbol, self.state.sources.index(to)] >= 0:
                    owners.pinned[symbol] = 1
                    if owners.owner[symbol] != (source := self.state.sources.index(to)):
                        yield from self._switched(Switch(symbol, source, BY_HAND))

    def _switched(self, switch: Switch) -> Iterator[Piece]:
        make_room(self.state)
        self.changed = True
        owners, sources = self.state.owners, self.state.sources
        symbol, old = switch.symbol, int(owners.owner[switch.symbol])
        works = switch.reason == BACK or (switch.reason == BY_HAND and bool(is_live(owners, self._config)[old]))
        hand_over(owners, symbol, switch.to, begins_at(owners, symbol, works))
        reach = int(owners.reach_ns[symbol])
        released = self.held.take(symbol, switch.to, reach)
        if len(released):
            owners.reach_ns[symbol] = max(reach, int(released.event_time_ns.max()))
            yield Rows(released.rows)
        forget_old(owners, symbol, self._config.keep_ns)
        self.counts.switches[switch.reason] += 1
        self.counts.fates["released"] += len(released)
        begins_ns = reach + 1 if reach != NEVER else self._first_time(released)
        record = {
            "type": "switch", "symbol": self.state.symbols[symbol], "source": sources[switch.to], "from": sources[old],
            "event_time_ns": begins_ns, "reason": switch.reason, "rows": len(released),
        }  # fmt: skip
        if (gone := int(owners.forgotten_ns[symbol, switch.to])) > reach:
            record |= {"missing_from_ns": begins_ns, "missing_to_ns": max(gone, begins_ns)}
        yield Switched(record)

    def _first_time(self, released: HeldRows) -> int:
        return int(released.event_time_ns.min()) if len(released) else self.state.log_ns


def _stretches(decoded: Decoded, begin: int, end: int) -> Iterator[tuple[int, int, bool]]:
    """The rows [begin, end) as stretches of JSON records, and single frames: (first, end, whether it is a frame)."""
    records, offsets = decoded.records, decoded.batch.offset
    if not (records.marks & FRAME).any():
        yield begin, end, False
        return
    framed = records.marks[np.searchsorted(records.offsets, offsets[begin:end])] & FRAME != 0
    changes = framed[1:] != framed[:-1]
    changes |= framed[1:] & (np.diff(offsets[begin:end]) != 0)
    edges = [begin, *(begin + 1 + np.flatnonzero(changes)).tolist(), end]
    for first, last in itertools.pairwise(edges):
        yield first, last, bool(framed[first - begin])


def _is_whole(decoded: Decoded, first: int, end: int) -> bool:
    """Whether these are all rows of their frame, and none was refused."""
    offsets, offset = decoded.batch.offset, int(decoded.batch.offset[first])
    alone = (first == 0 or offsets[first - 1] != offset) and (end == len(offsets) or offsets[end] != offset)
    return bool(alone) and all(letter.offset != offset for letter in decoded.rejected)


def _texts(decoded: Decoded, rows: Ints, framed: bool) -> RowRecords:
    """These rows as JSON records: the record itself, where a row is one and has its key."""
    records = decoded.records
    if framed:
        return rows_as_text(decoded.batch, rows)
    places = np.searchsorted(records.offsets, decoded.batch.offset[rows])
    if (records.marks[places] & NO_KEY).any():
        return rows_as_text(decoded.batch, rows)
    return records_as_rows(records, places)


def _value(decoded: Decoded, row: int) -> bytes:
    """A single row as its JSON object."""
    records = decoded.records
    record = records.at(int(decoded.batch.offset[row]))
    if records.is_frame(record):
        rare = decoded.batch.rare.get(row)
        return row_as_json(decoded.batch, row) if rare is None else orjson.dumps(rare)
    return records.value(record) or b""


def _one_row(key: bytes, value: bytes) -> RowRecords:
    return RowRecords(
        np.frombuffer(value + b"\n", np.uint8), np.array([0, len(value) + 1]), np.frombuffer(key, np.uint8),
        np.array([0, len(key)]),
    )  # fmt: skip
