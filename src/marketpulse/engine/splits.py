"""Stock splits as the indicators know them, and the units that each series' state is in (docs/semantics.md, 21).

    (splits, basis, closed bars) -> (basis, the bars' factors)

A series' state stays in the units of its first bar. The factor of a bar is the product of the splits since then whose
ex time is not behind the bar's open time, multiplied in order of ex time: the same bits however the stream is cut.
"""

from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from marketpulse.engine.layout import NEVER
from marketpulse.indicators.declaration import Floats

SPLITS_MAX = 32
"""Of one symbol: no listed company has had so many."""

SPLIT = np.dtype([("symbol", "i4"), ("ex_ns", "i8"), ("ratio", "f8")])
"""One split: so many new shares for an old one; 1 for one that was withdrawn."""

BASIS = np.dtype([("first_ns", "i8"), ("newest_ns", "i8"), ("factor", "f8")])
"""Of a series: when its first and its newest bar opened (NEVER: there is none), and the newest one's factor."""

Bools = NDArray[np.bool_]


class Rebased(NamedTuple):
    """Of n bars: their factors (n,), and which of them are the first behind a change of their series' factor."""

    factor: Floats
    begins: Bools


@dataclass(slots=True)
class Splits:
    """`rows` (m,) SPLIT in order of (symbol, ex time), and `used` (m, timeframes): the ratio by which each timeframe went
    over it. That is another one where the record came too late for the window. `waiting` are those of symbols that
    nothing else has come of yet: name -> {ex time: ratio by timeframe}, the last one being the ratio itself."""

    rows: np.ndarray
    used: Floats
    waiting: dict[str, dict[int, list[float]]] = field(default_factory=dict)

    def of(self, symbol: int) -> slice:
        """The places of a symbol's splits."""
        start, end = np.searchsorted(self.rows["symbol"], [symbol, symbol + 1])
        return slice(int(start), int(end))

    def is_full(self, symbol: int, name: str, ex_ns: int) -> bool:
        """Whether the symbol has so many that another one cannot be kept; -1: it is not known yet."""
        own = self.waiting.get(name, {}) if symbol < 0 else self.rows["ex_ns"][self.of(symbol)].tolist()
        return len(own) >= SPLITS_MAX and ex_ns not in own

    def put(self, symbol: int, ex_ns: int, ratio: float, missed: Bools) -> None:
        """A new word on the split at this time; the timeframes (F,) that `missed` it keep what they went by."""
        own = self.of(symbol)
        at = own.start + int(np.searchsorted(self.rows["ex_ns"][own], ex_ns))
        if at == own.stop or self.rows["ex_ns"][at] != ex_ns:
            self.rows = np.insert(self.rows, at, np.array((symbol, ex_ns, 1.0), SPLIT))
            self.used = np.insert(self.used, at, 1.0, axis=0)
        self.rows["ratio"][at] = ratio
        self.used[at] = np.where(missed, self.used[at], ratio)

    def wait(self, name: str, ex_ns: int, used: list[float]) -> None:
        """The same of a symbol that is not known yet; `used` (F + 1): by timeframe, and the ratio."""
        self.waiting.setdefault(name, {})[ex_ns] = used

    def adopt(self, name: str, symbol: int) -> None:
        """The symbol is known now."""
        for ex_ns, (*used, ratio) in sorted(self.waiting.pop(name, {}).items()):
            self.put(symbol, ex_ns, ratio, np.zeros(self.used.shape[1], np.bool_))
            self.used[self.of(symbol)][-1] = used

    def believe(self, symbol: int, first_frame: int) -> None:
        """From this timeframe on, the symbol's series are built from nothing: by what is known now."""
        own = self.of(symbol)
        self.used[own, first_frame:] = self.rows["ratio"][own, np.newaxis]

    def size_bytes(self) -> int:
        return self.rows.nbytes + self.used.nbytes


def no_splits(frames: int) -> Splits:
    """Before the first record."""
    return Splits(np.empty(0, SPLIT), np.empty((0, frames)))


def fresh_basis(series: int) -> np.ndarray:
    """Of so many series, before their first bars."""
    basis = np.empty(series, BASIS)
    basis["first_ns"] = basis["newest_ns"] = NEVER
    basis["factor"] = 1.0
    return basis


def rebase(
    splits: Splits, basis: np.ndarray, bars: np.ndarray, series: NDArray[np.int64], places: NDArray[np.int64]
) -> Rebased | None:
    """The factors of n bars, which come in order of open time by series; None where all are 1 and none changes.

    `series` (n,): symbol * timeframes + timeframe; `places` (n,): where each one's row of `basis` is, which moves on.
    """
    opened = np.ascontiguousarray(bars["open_ns"])
    found = None
    if len(splits.rows) and len(bars):
        found = _factors(splits, basis, opened, series, places)
    first = np.flatnonzero(basis["first_ns"][places] == NEVER)[::-1]  # of several of a series, its first stays
    basis["first_ns"][places[first]] = opened[first]
    np.maximum.at(basis["newest_ns"], places, opened)
    return found


def frame_factors(splits: Splits, basis: np.ndarray, bars: np.ndarray) -> Floats:
    """(n, timeframes), or (1, timeframes) where all are 1: when each of n bars opened, how many shares one share of its
    symbol's first bar in each timeframe had become. `basis`: of all series, these bars among them."""
    frames = splits.used.shape[1]
    if not len(splits.rows):
        return np.ones((1, frames))
    found = np.ones((len(bars), frames))
    for symbol in np.unique(bars["symbol"][np.isin(bars["symbol"], splits.rows["symbol"])]).tolist():
        own, mine = splits.of(symbol), np.flatnonzero(bars["symbol"] == symbol)
        ex_ns, opened = splits.rows["ex_ns"][own], bars["open_ns"][mine]
        for frame in range(frames):
            first_ns = basis["first_ns"][symbol * frames + frame]
            if first_ns == NEVER or ex_ns[-1] <= min(first_ns, opened.min()):
                continue
            ratios, begin = splits.used[own, frame], int(np.searchsorted(ex_ns, first_ns, side="right"))
            up = np.multiply.accumulate([1.0, *ratios[begin:]])
            down = np.multiply.accumulate([1.0, *ratios[:begin][::-1]])[::-1]  # bars before this timeframe's first
            steps = np.concatenate([1.0 / down[:-1], up])
            found[mine, frame] = steps[np.searchsorted(ex_ns, opened, side="right")]
    return found if np.any(found != 1.0) else np.ones((1, frames))


def _factors(
    splits: Splits, basis: np.ndarray, opened: NDArray[np.int64], series: NDArray[np.int64], places: NDArray[np.int64]
) -> Rebased | None:
    frames = splits.used.shape[1]
    factor, begins = basis["factor"][places], np.zeros(len(series), np.bool_)
    for one in np.unique(series[_lies_before_a_split(splits, series // frames, basis["newest_ns"][places])]).tolist():
        mine = np.flatnonzero(series == one)
        place, own = places[mine[0]], splits.of(one // frames)
        newest = basis["newest_ns"][place]
        since = opened[mine[0]] if newest == NEVER else newest
        ahead = splits.rows["ex_ns"][own] > since
        if not ahead.any():
            continue
        before = basis["factor"][place]
        steps = np.multiply.accumulate([before, *splits.used[own, one % frames][ahead]])
        behind = np.searchsorted(splits.rows["ex_ns"][own][ahead], opened[mine], side="right")
        factor[mine] = steps[np.maximum.accumulate(behind)]
        begins[mine] = np.diff(factor[mine], prepend=before) != 0.0
        basis["factor"][place] = factor[mine[-1]]
    if not begins.any() and np.all(factor == 1.0):
        return None
    return Rebased(factor, begins)


def _lies_before_a_split(splits: Splits, symbols: NDArray[np.int64], newest_ns: NDArray[np.int64]) -> Bools:
    """Which symbols (n,) have a split behind these times (n,)."""
    last = np.searchsorted(splits.rows["symbol"], symbols, side="right") - 1
    found: Bools = splits.rows["symbol"][last] == symbols
    found &= splits.rows["ex_ns"][last] > newest_ns
    return found


def shown_splits(splits: Splits) -> dict[str, Any]:
    """Those that wait, for JSON."""
    return {name: [[ex_ns, *used] for ex_ns, used in known.items()] for name, known in splits.waiting.items()}


def read_splits(rows: np.ndarray, used: Floats, waiting: dict[str, Any]) -> Splits:
    """The inverse, with the arrays."""
    known = {name: {int(ex): used for ex, *used in entries} for name, entries in waiting.items()}
    return Splits(rows, used, known)
