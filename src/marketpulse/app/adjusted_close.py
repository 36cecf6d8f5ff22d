"""The column of adjusted closes that some files have: it must step where a dividend is paid, and nowhere else.

`market` has no such prices, so this is of files alone. Before a payment of d, with a close of c the day before, the
adjusted closes are the closes times 1 - d / c more than behind it.
"""

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from marketpulse.sources.dataset import read_blocks

_NAMES = {
    "close": ("close",),
    "adjusted": ("adjclose", "adjustedclose"),
    "dividend": ("dividends", "dividend", "dividendamount", "divcash"),
    "split": ("stocksplits", "splits", "split", "splitcoefficient", "splitfactor"),
    "time": ("date", "datetime", "time", "timestamp"),
    "symbol": ("symbol", "ticker"),
}
_SMALLEST, _ROUNDED, _PART = 0.003, 0.01, 0.5


@dataclass(frozen=True, slots=True)
class Step:
    """The adjusted close of a line steps by another factor than its payout says (1: by none)."""

    line: int
    time: str
    found: float
    expected: float

    @property
    def detail(self) -> str:
        return f"{self.time}: the adjusted close steps by {self.found:.4f} where its dividend says {self.expected:.4f}"


def wrong_steps(path: Path) -> Iterator[Step]:
    """Of a file of one symbol's bars that has both closes and dividends; of any other file, none."""
    frame = pl.concat([block.frame for block in read_blocks(path)], how="vertical_relaxed")
    columns = _columns(frame)
    if not {"close", "adjusted", "dividend"} <= columns.keys():
        return
    if "symbol" in columns and frame[columns["symbol"]].n_unique() > 1:
        return
    close, adjusted, paid, split = (
        _floats(frame, columns.get(n)) for n in ("close", "adjusted", "dividend", "split")
    )
    times = frame[columns["time"]].cast(pl.String).to_list() if "time" in columns else [""] * len(frame)
    order = range(len(frame)) if times[0] <= times[-1] else range(len(frame) - 1, -1, -1)
    before = -1
    for i in order:
        if min(close[i], adjusted[i]) > 0:
            if before >= 0:
                step = (adjusted[i] / close[i]) / (adjusted[before] / close[before])
                part = paid[i] / close[before]
                expected = 1 / (1 - part) if 0 <= part < 1 else math.inf
                ratio = split[i] if split[i] > 0 else 1.0  # closes that are not adjusted for it themselves
                off = min(abs(math.log(step / (expected * s))) for s in (1.0, ratio, 1 / ratio))
                if off > max(
                    _PART * math.log(expected), _SMALLEST + _ROUNDED / min(adjusted[i], adjusted[before])
                ):
                    yield Step(i + 2, str(times[i]), step, expected)
            before = i


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
