"""Whether the prices of a file are adjusted already for the splits that stand in its rows: the prices themselves say it.

Some vendors give raw prices beside a split's ratio, others adjusted ones. Behind a split of 4:1 the raw open lies near a
quarter of the close before; an adjusted one near that close itself.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import polars as pl
from numpy.typing import NDArray

Floats = NDArray[np.float64]


@dataclass(slots=True)
class LastCloses:
    """Of each symbol, the newest bar that was read: its time and close."""

    known: dict[str, tuple[int, float]] = field(default_factory=dict)

    def adjusted(self, bars: pl.DataFrame, time_ns: NDArray[np.int64]) -> NDArray[np.bool_]:
        """(n,) which of the block's bars (symbol, open, close, split) have a split that the prices before it are adjusted
        for. Of a split without a bar before it nothing can be said, and nothing hangs on it."""
        found = np.zeros(len(bars), np.bool_)
        rows = pl.DataFrame(
            {
                "symbol": bars["symbol"],
                "time_ns": time_ns,
                "close": bars["close"].fill_null(math.nan),
                "row": np.arange(len(bars)),
            }
        )
        if (np.diff(time_ns) < 0).any():
            rows = rows.sort("time_ns", maintain_order=True)
        for row, ratio, opened, before in self._splits(bars, rows):
            leap = np.log(np.divide(before, opened))
            found[row] = abs(leap) <= abs(leap - np.log(ratio))
        for symbol, at, close in rows.group_by("symbol").agg(pl.col("time_ns", "close").last()).iter_rows():
            self.known[symbol] = at, close
        return found

    def _splits(self, bars: pl.DataFrame, rows: pl.DataFrame) -> Iterator[tuple[int, float, float, float]]:
        """Each bar with a split and an older bar before it: its row, ratio and open, and the close before."""
        given = (
            bars.select(pl.col("open").fill_null(math.nan), ratio="split")
            .with_row_index("row")
            .filter(pl.col("ratio").is_not_nan())
        )
        if given.is_empty():
            return
        before = pl.col("time_ns", "close").shift(1).over("symbol").name.suffix("_before")
        for row, ratio, opened, symbol, time_ns, at, close in (
            rows.with_columns(before)
            .join(given.cast({"row": pl.Int64}), on="row", maintain_order="left")
            .select("row", "ratio", "open", "symbol", "time_ns", "time_ns_before", "close_before")
            .iter_rows()
        ):
            at, close = (at, close) if at is not None else self.known.get(symbol, (time_ns, 0.0))
            if at < time_ns:
                yield row, ratio, opened, close
