"""Whether the prices of a file are adjusted already for the splits that stand in its rows: the prices themselves say it.

Some vendors give raw prices beside a split's ratio, others adjusted ones. Behind a split of 4:1 the raw open lies near a
quarter of the close before; an adjusted one near that close itself.
"""

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
        opened, closed = bars["open"].to_numpy(), bars["close"].to_numpy()
        ratio = bars["split"].to_numpy()
        order = np.argsort(time_ns, kind="stable")
        symbols = bars["symbol"].to_list()
        with_split = ~np.isnan(ratio)
        named = {symbols[i] for i in np.flatnonzero(with_split)}
        for i in order.tolist() if named else []:
            symbol = symbols[i]
            if symbol not in named:
                continue
            if with_split[i] and (before := self._before(symbol, int(time_ns[i]))) is not None:
                leap = np.log(before / opened[i])
                found[i] = abs(leap) <= abs(leap - np.log(ratio[i]))
            self.known[symbol] = int(time_ns[i]), float(closed[i])
        newest = dict(zip(bars["symbol"].gather(order).to_list(), order.tolist(), strict=True))
        for symbol, i in newest.items():
            self.known[symbol] = int(time_ns[i]), float(closed[i])
        return found

    def _before(self, symbol: str, time_ns: int) -> float | None:
        at, close = self.known.get(symbol, (time_ns, 0.0))
        return close if at < time_ns else None
