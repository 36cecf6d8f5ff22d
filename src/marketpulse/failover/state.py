"""What a partition's selection remembers between batches, and how it is kept: no row, but whose each stretch is."""

import json
import struct
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from marketpulse.failover.config import FailoverConfig
from marketpulse.failover.owners import NEVER, NOBODY, STRANGER, UNMAPPED, Owners
from marketpulse.model.market import Ids, StringTable

_MAGIC = b"MPF1"
_LENGTH = struct.Struct("<I")
_DTYPES = {
    "rank": "i1", "last_ns": "i8", "newest_ns": "i8", "missed_ns": "i8", "sound_ns": "i8", "forgotten_ns": "i8", "owner": "i4",
    "reach_ns": "i8", "pinned": "i1", "stretches": "i4", "begins_ns": "i8", "by": "i4", "heard_ns": "i8", "gone": "i1",
    "now_ns": "i8",
}  # fmt: skip
_EMPTY = {"rank": NOBODY, "last_ns": NEVER, "newest_ns": NEVER, "missed_ns": NEVER, "sound_ns": NEVER, "forgotten_ns": NEVER,
          "owner": NOBODY, "reach_ns": NEVER, "begins_ns": NEVER, "by": NOBODY}  # fmt: skip
_BY_SOURCE = ("rank", "last_ns", "newest_ns", "missed_ns", "sound_ns", "forgotten_ns")
_STRETCHES = 4


class ForeignSelection(Exception):
    """The bytes are no state of a selection: it begins anew."""


@dataclass(slots=True)
class SelectionState:
    """One partition. `log_ns`: the newest append time of a record that steers; `hold_from`: the offset of the oldest
    row that was held when this was saved (-1: none was)."""

    owners: Owners
    symbols: StringTable
    sources: list[str]
    log_ns: int = NEVER
    hold_from: int = -1


def new_state(config: FailoverConfig) -> SelectionState:
    """Nothing has come yet: each symbol will be the preferred source's."""
    sources = config.sources()
    sizes = (0, len(sources), _STRETCHES)
    return SelectionState(Owners(**{n: _fresh(n, *sizes) for n in _DTYPES}), StringTable(), sources)


def _fresh(name: str, symbols: int, sources: int, stretches: int) -> np.ndarray:
    shape: dict[str, tuple[int, ...]] = {
        **dict.fromkeys(_BY_SOURCE, (symbols, sources)), "begins_ns": (symbols, stretches), "by": (symbols, stretches),
        "heard_ns": (sources,), "gone": (sources,), "now_ns": (1,),
    }  # fmt: skip
    return np.full(shape.get(name, (symbols,)), _EMPTY.get(name, 0), _DTYPES[name])


def _resized(owners: Owners, symbols: int, stretches: int) -> Owners:
    """The same content with room for so many."""
    made = {}
    for name, old in owners._asdict().items():
        made[name] = new = _fresh(name, symbols, owners.rank.shape[1], stretches)
        new[tuple(slice(0, size) for size in old.shape)] = old
    return Owners(**made)


def add_symbol(state: SelectionState, config: FailoverConfig, name: str, source: str) -> int:
    """The symbol's place. At first it is the preferred candidate's, whoever brought it."""
    known = len(state.symbols)
    index = state.symbols.intern(name)
    if index < known:
        return index
    if index == len(state.owners.owner):
        state.owners = _resized(state.owners, max(64, 2 * index), state.owners.by.shape[1])
    owners = state.owners
    _rank(state, config, index, source)
    first = int(np.argmax(owners.rank[index] == 0))
    owners.owner[index], owners.stretches[index] = first, 1
    owners.begins_ns[index, 0], owners.by[index, 0] = NEVER, first
    return index


def _rank(state: SelectionState, config: FailoverConfig, symbol: int, source: str) -> None:
    """Who may feed the symbol, in which order."""
    group = config.group_of(state.symbols[symbol], source)
    state.owners.rank[symbol] = NOBODY
    for place, candidate in enumerate(group.sources if group is not None else ()):
        state.owners.rank[symbol, state.sources.index(candidate)] = place


def make_room(state: SelectionState) -> None:
    """Room for one more stretch of each symbol."""
    owners = state.owners
    if len(owners.stretches) and int(owners.stretches.max()) >= owners.by.shape[1]:
        state.owners = _resized(owners, len(owners.owner), 2 * owners.by.shape[1])


def known_symbols(state: SelectionState) -> Owners:
    """The tables without the places that are still free: views of the same memory."""
    n = len(state.symbols)
    return Owners(
        **{
            name: table if name in ("heard_ns", "gone", "now_ns") else table[:n]
            for name, table in state.owners._asdict().items()
        }
    )


def state_to_bytes(state: SelectionState) -> bytes:
    owners = known_symbols(state)
    head = json.dumps({
        "symbols": state.symbols.texts(), "sources": state.sources, "log_ns": state.log_ns,
        "hold_from": state.hold_from, "shapes": [table.shape for table in owners],
    }).encode()  # fmt: skip
    return b"".join([_MAGIC, _LENGTH.pack(len(head)), head, *(np.ascontiguousarray(t).tobytes() for t in owners)])


def state_from_bytes(data: bytes, config: FailoverConfig) -> SelectionState:
    """The state that was saved, under the groups of today: a source that is no candidate any more owns what it owned.

    Raises ForeignSelection.
    """
    start = len(_MAGIC) + _LENGTH.size
    if data[: len(_MAGIC)] != _MAGIC:
        raise ForeignSelection("not a state of a selection")
    (length,) = _LENGTH.unpack(data[len(_MAGIC) : start])
    head = json.loads(data[start : start + length])
    at, tables = start + length, {}
    for (name, dtype), shape in zip(_DTYPES.items(), head["shapes"], strict=True):
        count = int(np.prod(shape))
        tables[name] = np.frombuffer(data, dtype, count, at).reshape(shape).copy()
        at += tables[name].nbytes
    saved = Owners(**tables)
    sources = [*head["sources"], *(name for name in config.sources() if name not in head["sources"])]
    state = SelectionState(
        _with_sources(saved, len(sources)), StringTable(head["symbols"]), sources, head["log_ns"], head["hold_from"]
    )
    for symbol in range(len(state.symbols)):
        _rank(state, config, symbol, sources[int(saved.owner[symbol])])
    return state


def _with_sources(owners: Owners, sources: int) -> Owners:
    made = {}
    for name, old in owners._asdict().items():
        made[name] = new = _fresh(name, len(owners.owner), sources, owners.by.shape[1])
        new[tuple(slice(0, size) for size in old.shape)] = old
    if (more := sources - len(owners.heard_ns)) > 0:
        made["heard_ns"][-more:] = owners.now_ns[0]  # a new one has not been silent yet
    return Owners(**made)


def _none() -> Ids:
    return np.empty(0, np.int32)


@dataclass(slots=True)
class Places:
    """What a decoder's ids mean in this state: `symbol_of` and `source_of`, UNMAPPED where not met yet."""

    strings: StringTable
    symbol_of: Ids = field(default_factory=_none)
    source_of: Ids = field(default_factory=_none)

    def pull(self) -> None:
        """Make room for the strings that were met since."""
        missing = len(self.strings) - len(self.symbol_of)
        if missing > 0:
            more = np.full(max(missing, 64), UNMAPPED, np.int32)
            self.symbol_of = np.concatenate([self.symbol_of, more])
            self.source_of = np.concatenate([self.source_of, more])

    def learn(
        self, state: SelectionState, config: FailoverConfig, symbol: int, source: int, symbols_max: int
    ) -> tuple[int, int]:
        """The places of a decoder's symbol and source, given to them if they have none."""
        name = self.strings[source]
        if self.source_of[source] == UNMAPPED:
            self.source_of[source] = state.sources.index(name) if name in state.sources else STRANGER
        if self.symbol_of[symbol] == UNMAPPED:
            full = len(state.symbols) >= symbols_max and state.symbols.find(self.strings[symbol]) < 0
            self.symbol_of[symbol] = STRANGER if full else add_symbol(state, config, self.strings[symbol], name)
        return int(self.symbol_of[symbol]), int(self.source_of[source])


def stretches_of(owners: Owners, symbol: int, sources: Sequence[str]) -> list[tuple[int, str]]:
    """(begins_ns, source) of each stretch of the symbol, oldest first."""
    count = int(owners.stretches[symbol])
    pairs = zip(owners.begins_ns[symbol, :count].tolist(), owners.by[symbol, :count].tolist(), strict=True)
    return [(begins, sources[by]) for begins, by in pairs]
