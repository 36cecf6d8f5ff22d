"""One partition's state: everything that the engine remembers between two batches.

It is handed from step to step; whoever passes it in has spent it. It grows with what it meets, and
never holds a clock, a socket or a file.
"""

from dataclasses import dataclass, field

import numpy as np

from marketpulse.engine.alerting import RETOLD, Alerting, new_alerting
from marketpulse.engine.config import EngineConfig
from marketpulse.engine.exact_sum import DIGITS
from marketpulse.engine.layout import (
    BAR,
    CLOSED,
    FREE_BAR,
    FREE_BARS,
    FREE_QUOTES,
    GROUP,
    KEPT,
    KEPT_BAR,
    LOG_TIME,
    MODE_HISTORICAL,
    N_KEPT,
    N_REGISTERS,
    N_SOURCES,
    NEVER,
    QUALITY,
    QUOTE,
    SOURCE,
    SOURCES_MAX,
    SYMBOL,
    Sessions,
    Tables,
)
from marketpulse.engine.prevailing import blank_quotes
from marketpulse.engine.records import joined
from marketpulse.engine.sessions import join_sessions
from marketpulse.engine.splits import Splits, fresh_basis, no_splits
from marketpulse.engine.trade_ids import no_ids
from marketpulse.indicators.declaration import Floats
from marketpulse.model.history import Part
from marketpulse.model.market import StringTable
from marketpulse.model.session import around_the_clock

_REBUILD_WITHIN_NS = 600_000_000_000
_FIRST_SYMBOLS, _FIRST_BARS, _FIRST_GROUPS, _FIRST_KEPT, _FIRST_KEPT_BARS, _FIRST_QUOTES = 16, 256, 4, 1_024, 64, 1_024


@dataclass(slots=True)
class Anchor:
    """Where a symbol's time bars are built again from: what they were before the trades of the window.

    The arrays of the same names in `Tables`, and the indicators' state, without the window's part.
    """

    registers: np.ndarray
    bars: np.ndarray
    volume: np.ndarray
    notional: np.ndarray
    heads: np.ndarray
    closed_until: np.ndarray
    last_close: np.ndarray
    indicators: list[Floats]
    basis: np.ndarray  # (S × F,) BASIS: the units of the indicators' state

    def tables(self, live: Tables) -> Tables:
        """As the kernels read it: with the symbols and the window of the live tables."""
        return live._replace(**{name: getattr(self, name) for name in ANCHORED})


ANCHORED = ("registers", "bars", "volume", "notional", "heads", "closed_until", "last_close")


@dataclass(slots=True)
class Told:
    """The rows of time bars made from trades that have left since the anchor, as their readers know them.

    n bars of CLOSED with their revisions, their indicator values (n, columns), and the revisions of those.
    Rows come in chunks and are joined when they are asked for. `passed` are rows, as they should be, that
    the anchor has gone past while their readers were still to be told of a change.
    """

    chunks: list[tuple[np.ndarray, Floats, np.ndarray]] = field(default_factory=list)
    passed: list[tuple[np.ndarray, Floats]] = field(default_factory=list)

    def add(self, bars: np.ndarray, values: Floats) -> None:
        """Rows that have left for the first time."""
        if len(bars):
            self.chunks.append((bars, values, np.zeros(len(bars), np.int64)))

    def know(self, bars: np.ndarray, values: Floats, revisions: np.ndarray, withdrawn: np.ndarray) -> None:
        """Rows with their revisions, and the m `withdrawn` ones (REVISED), of which place and revisions are all that matters."""
        gone = np.zeros(len(withdrawn), CLOSED)
        for name in ("symbol", "frame", "open_ns"):
            gone[name] = withdrawn[name]
        gone["close_ns"], gone["revision"], gone["factor"] = gone["open_ns"], withdrawn["bar"], 1.0
        for name in ("open", "high", "low", "close", "vwap"):
            gone[name] = np.nan
        gone["source"] = gone["venue"] = gone["first_offset"] = gone["last_offset"] = -1
        blank_quotes(gone)
        nothing = np.full((len(gone), values.shape[1]), np.nan)
        revisions = np.concatenate([revisions, withdrawn["row"]])
        self.chunks.append((joined([bars, gone], CLOSED), np.concatenate([values, nothing]), revisions))

    def rows(self, columns: int) -> tuple[np.ndarray, Floats, np.ndarray]:
        if len(self.chunks) != 1:
            empty = (np.empty(0, CLOSED), np.empty((0, columns)), np.empty(0, np.int64))
            parts = self.chunks or [empty]
            self.chunks = [
                (
                    joined([bars for bars, _, _ in parts], CLOSED),
                    np.concatenate([values for _, values, _ in parts]),
                    np.concatenate([revisions for _, _, revisions in parts]),
                )
            ]
        return self.chunks[0]

    def passed_rows(self, columns: int) -> tuple[np.ndarray, Floats]:
        """The rows that the anchor has gone past."""
        parts = [(np.empty(0, CLOSED), np.empty((0, columns))), *self.passed]
        return joined([bars for bars, _ in parts], CLOSED), np.concatenate([values for _, values in parts])

    def replace(self, bars: np.ndarray, values: Floats, revisions: np.ndarray) -> None:
        self.chunks = [(bars, values, revisions)]

    def size_bytes(self) -> int:
        return sum(array.nbytes for chunk in (*self.chunks, *self.passed) for array in chunk)


REVISED = np.dtype([("symbol", "i4"), ("frame", "i4"), ("open_ns", "i8"), ("bar", "i8"), ("row", "i8")])
"""A row by its place: the revision of its bar, and that of its indicator row. One is not 0."""


@dataclass(slots=True)
class Revised:
    """Of symbols whose sources only have bars: how often rows (REVISED) and events of alerts (RETOLD) were emitted again."""

    rows: np.ndarray = field(default_factory=lambda: np.empty(0, REVISED))
    events: np.ndarray = field(default_factory=lambda: np.empty(0, RETOLD))

    def size_bytes(self) -> int:
        return int(self.rows.nbytes + self.events.nbytes)


@dataclass(slots=True)
class WaitingRebuild:
    """A rebuild of a symbol that has begun: by which record, and when by log time; and the parts that have come."""

    symbol: int
    id: str
    offset: int
    log_ns: int
    parts: list[Part] = field(default_factory=list)

    def is_over(self, log_ns: int) -> bool:
        """Whether it is given up by then: its symbol's trades are not kept for ever. One that began before the log's
        time was known waits for its parts."""
        return self.log_ns != NEVER and log_ns > self.log_ns + _REBUILD_WITHIN_NS


@dataclass(slots=True)
class PartitionState:
    """The arrays of engine.layout, the names behind their ids, and the indicators' state.

    `indicators[j]` is (S × F, width of the j-th indicator): row `symbol · F + frame`.
    """

    tables: Tables
    symbols: StringTable
    sources: StringTable
    venues: StringTable
    calendars: list[str]
    sessions: Sessions
    indicators: list[Floats]
    basis: np.ndarray  # (S × F,) BASIS: the units of the indicators' state
    splits: Splits
    anchor: Anchor
    alerts: Alerting
    told: Told = field(default_factory=Told)
    alphabet: list[str] = field(default_factory=list)  # the symbols, sorted
    rebuilds: dict[str, WaitingRebuild] = field(default_factory=dict)
    """By symbol, what has begun and is not whole yet (engine.rebuild)."""
    revised: Revised = field(default_factory=Revised)

    def size_bytes(self) -> int:
        """All of it, the correction window included."""
        live = sum(a.nbytes for a in self.tables) + sum(a.nbytes for a in self.indicators)
        anchor = sum(getattr(self.anchor, name).nbytes for name in ANCHORED)
        beside = self.told.size_bytes() + self.alerts.size_bytes()
        beside += self.basis.nbytes + self.anchor.basis.nbytes + self.splits.size_bytes() + self.revised.size_bytes()
        beside += sum(part.size_bytes() for waiting in self.rebuilds.values() for part in waiting.parts)
        return live + anchor + sum(a.nbytes for a in self.anchor.indicators) + beside


def new_state(config: EngineConfig) -> PartitionState:
    """The state before the first record."""
    frames = len(config.frames)
    registers, bars = _fresh_bars()
    registers[LOG_TIME] = NEVER
    tables = Tables(
        registers=registers,
        sources=np.zeros(SOURCES_MAX, SOURCE),
        symbols=np.zeros(_FIRST_SYMBOLS, SYMBOL),
        groups=np.zeros(_FIRST_GROUPS, GROUP),
        heaps=np.zeros((_FIRST_GROUPS, _FIRST_BARS), np.int32),
        bars=bars,
        volume=np.zeros((_FIRST_BARS, DIGITS), np.int64),
        notional=np.zeros((_FIRST_BARS, DIGITS), np.int64),
        heads=np.full((_FIRST_SYMBOLS, frames), -1, np.int32),
        closed_until=np.full((_FIRST_SYMBOLS, frames), NEVER, np.int64),
        last_close=np.full((_FIRST_SYMBOLS, frames), np.nan),
        window=np.zeros(_FIRST_KEPT, KEPT),
        ids=no_ids(2 * _FIRST_KEPT),
        kept_bars=np.zeros(_FIRST_KEPT_BARS, KEPT_BAR),
        quotes=_chained(np.zeros(_FIRST_QUOTES, QUOTE)),
        last_quotes=np.zeros(2 * _FIRST_SYMBOLS, QUOTE),
        quality=np.zeros(2 * _FIRST_SYMBOLS, QUALITY),
    )
    registers[FREE_QUOTES] = _FIRST_QUOTES
    anchor = Anchor(
        *_fresh_bars(), tables.volume.copy(), tables.notional.copy(), tables.heads.copy(),
        tables.closed_until.copy(), tables.last_close.copy(),
        [spec.fresh_state(_FIRST_SYMBOLS * frames) for spec in config.indicators],
        fresh_basis(_FIRST_SYMBOLS * frames),
    )  # fmt: skip
    return PartitionState(
        tables=tables,
        symbols=StringTable(),
        sources=StringTable(),
        venues=StringTable(),
        calendars=["24x7"],
        sessions=join_sessions([around_the_clock()]),
        indicators=[spec.fresh_state(_FIRST_SYMBOLS * frames) for spec in config.indicators],
        basis=fresh_basis(_FIRST_SYMBOLS * frames),
        splits=no_splits(frames),
        anchor=anchor,
        alerts=new_alerting(config.alert_rules()),
    )


def _fresh_bars() -> tuple[np.ndarray, np.ndarray]:
    """Registers, and slots for open bars that are all free."""
    registers, bars = np.zeros(N_REGISTERS, np.int64), _chained(np.zeros(_FIRST_BARS, BAR))
    registers[FREE_BAR], registers[FREE_BARS] = 0, _FIRST_BARS
    return registers, bars


def _chained(places: np.ndarray) -> np.ndarray:
    """All free: each names the next."""
    places["next"] = np.append(np.arange(1, places.size), -1)
    return places


def watermark_delays(state: PartitionState) -> dict[str, int]:
    """By live source that lives by the log's clock: how far its watermark is behind log time, nanoseconds. A historical
    source is not behind: its only clock is its own event time."""
    now = int(state.tables.registers[LOG_TIME])
    found: dict[str, int] = {}
    for number in range(int(state.tables.registers[N_SOURCES])):
        source = state.tables.sources[number]
        if now != NEVER and source["live"] and source["mode"] != MODE_HISTORICAL and source["watermark_ns"] != NEVER:
            found[state.sources[number]] = max(0, now - int(source["watermark_ns"]))
    return found


def kept_trades(state: PartitionState) -> np.ndarray:
    """The trades of the correction window, in order of the log."""
    kept: np.ndarray = state.tables.window[: state.tables.registers[N_KEPT]]
    return kept


def kept_quotes(state: PartitionState) -> int:
    """How many quotes are kept for the bars of the correction window, and as the last one before it."""
    return int(state.tables.quotes.size - state.tables.registers[FREE_QUOTES])
