"""The column of adjusted closes that some files have: it must step where a dividend is paid, and nowhere else.

`market` has no such prices, so this is of files alone. Before a payment of d, with a close of c the day before, the
adjusted closes are the closes times 1 - d / c more than behind it.
"""

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import polars as pl

from marketpulse.model.timeframe import DAY_NS
from marketpulse.sources.dataset import read_blocks
from marketpulse.sources.times import parse_times

_NAMES = {
    "close": ("close",),
    "adjusted": ("adjclose", "adjustedclose"),
    "dividend": ("dividends", "dividend", "dividendamount", "divcash"),
    "split": ("stocksplits", "splits", "split", "splitcoefficient", "splitfactor"),
    "time": ("date", "datetime", "time", "timestamp"),
    "symbol": ("symbol", "ticker"),
}
_SMALLEST, _ROUNDED, _PART = 0.003, 0.01, 0.5
_LONG_NS = 5 * DAY_NS
_LARGE_WEEK = 0.15
_LOG_MOST = 700.0  # what a float holds


@dataclass(frozen=True, slots=True)
class Step:
    """The adjusted close of a line steps by another factor than its payout says (1: by none)."""

    line: int
    time: str
    found: float
    expected: float

    @property
    def detail(self) -> str:
        expected = "is more than its price" if math.isinf(self.expected) else f"says {self.expected:.4f}"
        return f"{self.time}: the adjusted close steps by {self.found:.4f} where its dividend {expected}"


def wrong_steps(path: Path) -> Iterator[Step]:
    """Of a file of one symbol's bars that has both closes and dividends; of any other file, none."""
    frame = pl.concat([block.frame for block in read_blocks(path)], how="vertical_relaxed")
    columns = _columns(frame)
    if not {"close", "adjusted", "dividend"} <= columns.keys():
        return
    if "symbol" in columns and frame[columns["symbol"]].n_unique() > 1:
        return
    close, adjusted, paid, split = (_floats(frame, columns.get(n)) for n in ("close", "adjusted", "dividend", "split"))
    times = frame[columns["time"]] if "time" in columns else pl.Series([""] * len(frame))
    shown = times.cast(pl.String).to_list()
    rows = range(len(frame)) if shown[0] <= shown[-1] else range(len(frame) - 1, -1, -1)
    usable = [i for i in rows if min(close[i], adjusted[i]) > 0]
    moves = [
        _Move(
            i,
            math.log(adjusted[i]) - math.log(adjusted[before]) - math.log(close[i]) + math.log(close[before]),
            paid[i] / close[before],
            split[i] if split[i] > 0 else 1.0,
            _SMALLEST + _ROUNDED / min(adjusted[i], adjusted[before]),
            math.log(adjusted[i]) - math.log(adjusted[before]),
        )
        for before, i in pairwise(usable)
    ]
    dated = len(frame) < 2 or _spacing_ns(times) < _LONG_NS
    for k, move in enumerate(moves):
        # A week's row may hold the payment of the week that its adjusted close counts it to, or of the one beside it,
        # which for the last one nobody knows.
        if not move.fits and (dated or not (k == len(moves) - 1 or _fits_beside(moves[max(0, k - 1) : k + 2]))):
            yield Step(move.row + 2, str(shown[move.row]), math.exp(min(move.step, _LOG_MOST)), move.expected)


@dataclass(frozen=True, slots=True)
class _Move:
    """From one row to the next: the step of adjusted over plain closes, what part of the close before was paid, a split's
    ratio, how much of a step is none, and how far the adjusted close went (both as logarithms)."""

    row: int
    step: float
    part: float
    split: float
    nothing: float
    leap: float

    @property
    def expected(self) -> float:
        return 1 / (1 - self.part) if self.part < 1 else math.inf

    @property
    def fits(self) -> bool:
        """Closes may be adjusted for the split themselves, or not, or the other way round."""
        if self.part >= 1:
            return False
        off = min(abs(self.step - math.log(self.expected * s)) for s in (1.0, self.split, 1 / self.split))
        return off <= max(_PART * math.log(self.expected), self.nothing)


def _fits_beside(moves: list[_Move]) -> bool:
    """Whether the steps of neighbours fit their payments together, and the price fell where the adjusted close steps."""
    kept = math.prod(max(0.0, 1 - m.part) for m in moves)
    whole = _Move(
        moves[0].row, sum(m.step for m in moves), 1 - kept, math.prod(m.split for m in moves),
        max(m.nothing for m in moves), max(moves, key=lambda m: abs(m.step)).leap,
    )  # fmt: skip
    return whole.fits and abs(whole.leap) <= max(_LARGE_WEEK, _PART * math.log(whole.expected))


def _spacing_ns(times: pl.Series) -> float:
    """The median distance of two rows; 0 where the times cannot be read."""
    read = parse_times(times)
    between = np.abs(np.diff(read.local_ns[read.valid]))
    return float(np.median(between)) if between.size else 0.0


def _columns(frame: pl.DataFrame) -> dict[str, str]:
    known = {re.sub(r"[^a-z]", "", name.lower()): name for name in reversed(frame.columns)}
    found = {}
    for field, names in _NAMES.items():
        column = next((known[name] for name in names if name in known), None)
        if column is not None:
            found[field] = column
    return found


def _floats(frame: pl.DataFrame, column: str | None) -> list[float]:
    """Numbers, 0 where there is none."""
    if column is None:
        return [0.0] * len(frame)
    return frame[column].cast(pl.Float64, strict=False).fill_null(0.0).fill_nan(0.0).to_list()
