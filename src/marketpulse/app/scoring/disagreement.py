"""How far two sources of one instrument are apart: the last prices of each minute that both have."""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from marketpulse.app.scoring.series import SeriesTable
from marketpulse.model.market import Floats, Ints


@dataclass(frozen=True, slots=True)
class Disagreement:
    """Two series of one instrument. bps: (m,) (a - b) / their mean in basis points by minute, NaN where one has no price."""

    instrument: str
    a: int
    b: int
    bps: Floats

    @property
    def sizes(self) -> Floats:
        """(k,) how far apart they were in each minute that both have."""
        return np.abs(self.bps[~np.isnan(self.bps)])


def instrument_of(symbol: str, venue: str | None) -> str:
    """The symbol without the venue that it carries: `BTC-USD.COINBASE` and `BTC-USD.BINANCE` are one instrument."""
    return symbol.removesuffix(f".{venue}") if venue else symbol


def disagreements(series: SeriesTable, places: Ints, first: int, end: int) -> Iterator[Disagreement]:
    """Of these series, each two of one instrument and two sources with a minute of [first, end) in common."""
    of: dict[str, list[int]] = defaultdict(list)
    for place in places.tolist():
        of[instrument_of(series.keys[place].symbol, series.venues[place])].append(place)
    minutes = np.arange(first, end)
    for instrument, alike in of.items():
        for a, b in combinations(alike, 2):
            if series.keys[a].source == series.keys[b].source:
                continue
            one, other = (prices(series, place, minutes) for place in (a, b))
            bps = 2e4 * (one - other) / (one + other)
            if not np.isnan(bps).all():
                yield Disagreement(instrument, a, b, bps)


def prices(series: SeriesTable, place: int, minutes: Ints) -> Floats:
    """(m,) the last price of each minute; NaN where there is none."""
    head = series.head[place]
    there = (minutes <= head) & (minutes > head - series.minutes)
    return np.where(there, series.price[place, minutes % series.minutes], np.nan)


def percentiles(sizes: Floats) -> tuple[float | None, float | None]:
    """(median, 99th percentile), between two values by their distance; None without any."""
    if not len(sizes):
        return None, None
    median, most = np.percentile(sizes, [50, 99])
    return float(median), float(most)
