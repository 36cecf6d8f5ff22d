"""Minute by minute, what each symbol of each source had: whether there were rows, and the last price."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from marketpulse.model.market import ABSENT, Floats, Ids, Ints, StringTable

MINUTE_NS = 60_000_000_000
_NEVER = -(2**62)
_UNKNOWN, _LEFT_OUT = -2, -1
_FIRST_CAPACITY = 64


class SeriesKey(NamedTuple):
    """One symbol of one source in one topic."""

    topic: str
    source: str
    symbol: str


class Heard(NamedTuple):
    """n rows: their series, the minutes [begin, end] since 1970 that they speak of, and a price (NaN: none) with its time."""

    series: Ints
    begin: Ints
    end: Ints
    price: Floats
    price_ns: Ints

    def of(self, rows: Ints | NDArray[np.bool_]) -> "Heard":
        """Some of the rows."""
        return Heard(self.series[rows], self.begin[rows], self.end[rows], self.price[rows], self.price_ns[rows])


class SeriesTable:
    """Columns with a row for each series, and rings of `minutes` minutes; at most `most` series.

    first, newest_ns, rows, head: (s,) the first minute, the newest event time, the rows, the newest minute.
    covered, price, price_ns: (s, minutes), minute m at m % minutes.
    """

    def __init__(self, minutes: int, most: int) -> None:
        self.minutes, self.most = minutes, most
        self.keys: list[SeriesKey] = []
        self.venues: list[str | None] = []
        self.left_out_rows = 0
        self._index: dict[SeriesKey, int] = {}
        self._found: dict[tuple[str, int], Ids] = {}  # by topic and the source's id: symbol id -> series
        self._strings: StringTable | None = None
        self._grow(_FIRST_CAPACITY)

    def __len__(self) -> int:
        return len(self.keys)

    def places(self, topic: str, source: int, symbols: Ids, venues: Ids, strings: StringTable) -> Ints:
        """(n,) the series of rows of one source, by the ids of their symbols; ABSENT for those beyond the cap."""
        if strings is not self._strings:
            self._strings, self._found = strings, {}
        known = self._found.get((topic, source))
        if known is None or len(known) < len(strings):
            longer = np.full(max(len(strings) * 2, 64), _UNKNOWN, np.int32)
            if known is not None:
                longer[: len(known)] = known
            known = self._found[topic, source] = longer
        found = known[symbols]
        if (found == _UNKNOWN).any():
            for symbol in np.unique(symbols[found == _UNKNOWN]).tolist():
                known[symbol] = self._place(SeriesKey(topic, strings[source], strings[symbol]))
            found = known[symbols]
        self._learn_venues(found, venues, strings)
        return found.astype(np.int64)

    def take(self, heard: Heard) -> None:
        """Rows in the order of the log. Minutes that are no more among the newest of their series are left out."""
        series, n = heard.series, len(self.keys)
        touched = np.unique(series)
        before = self.head[touched]
        np.maximum.at(self.head, series, heard.end)
        np.minimum.at(self.first, series, heard.begin)
        np.maximum.at(self.newest_ns, series, heard.price_ns)
        self.rows[:n] += np.bincount(series, minlength=n)
        self._clear(touched, before)
        self._cover(heard)
        self._price(heard)

    def _place(self, key: SeriesKey) -> int:
        place = self._index.get(key)
        if place is None:
            if len(self.keys) >= self.most:
                return _LEFT_OUT
            place = self._index[key] = len(self.keys)
            self.keys.append(key)
            self.venues.append(None)
            if len(self.keys) > len(self.head):
                self._grow(min(self.most, 2 * len(self.head)))
        return place

    def _learn_venues(self, found: Ids, venues: Ids, strings: StringTable) -> None:
        """A series' venue is that of its first row that names one."""
        named = np.flatnonzero((venues != ABSENT) & (found >= 0))
        if not len(named):
            return
        series, first = np.unique(found[named], return_index=True)
        for place, row in zip(series.tolist(), named[first].tolist(), strict=True):
            if self.venues[place] is None:
                self.venues[place] = strings[int(venues[row])]

    def _clear(self, touched: Ints, before: Ints) -> None:
        """Empty the minutes that the heads have moved over."""
        steps = np.minimum(self.head[touched] - before, self.minutes)
        series = np.repeat(touched, steps)
        back = np.arange(len(series)) - np.repeat(np.cumsum(steps) - steps, steps)
        slots = (self.head[series] - back) % self.minutes
        self.covered[series, slots] = False
        self.price[series, slots] = np.nan
        self.price_ns[series, slots] = _NEVER

    def _cover(self, heard: Heard) -> None:
        oldest = self.head[heard.series] - self.minutes + 1
        lengths = np.maximum(heard.end - np.maximum(heard.begin, oldest) + 1, 0)
        series, end = np.repeat(heard.series, lengths), np.repeat(heard.end, lengths)
        back = np.arange(len(series)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
        self.covered[series, (end - back) % self.minutes] = True

    def _price(self, heard: Heard) -> None:
        """The last price of a minute is that of the newest event time; of one time, the last in the log."""
        minute = heard.price_ns // MINUTE_NS
        head = self.head[heard.series]
        there = np.flatnonzero(~np.isnan(heard.price) & (minute > head - self.minutes) & (minute <= head))
        if not len(there):
            return
        cells = heard.series[there] * self.minutes + minute[there] % self.minutes
        order = np.lexsort((heard.price_ns[there], cells))  # stable: of one time, in the log's order
        cells, there = cells[order], there[order]
        last = np.append(cells[1:] != cells[:-1], True)
        cells, there = cells[last], there[last]
        prices, times = self.price.reshape(-1), self.price_ns.reshape(-1)
        newer = heard.price_ns[there] >= times[cells]
        prices[cells[newer]] = heard.price[there[newer]]
        times[cells[newer]] = heard.price_ns[there[newer]]

    def _grow(self, capacity: int) -> None:
        old = len(self.keys) - 1 if self.keys else 0
        columns = (
            ("head", (capacity,), np.int64, _NEVER), ("first", (capacity,), np.int64, -_NEVER),
            ("newest_ns", (capacity,), np.int64, _NEVER), ("rows", (capacity,), np.int64, 0),
            ("covered", (capacity, self.minutes), np.bool_, False), ("price", (capacity, self.minutes), np.float64, np.nan),
            ("price_ns", (capacity, self.minutes), np.int64, _NEVER),
        )  # fmt: skip
        for name, shape, kind, empty in columns:
            column = np.full(shape, empty, kind)
            if old:
                column[:old] = getattr(self, name)[:old]
            setattr(self, name, column)

    head: Ints
    first: Ints
    newest_ns: Ints
    rows: Ints
    covered: NDArray[np.bool_]
    price: Floats
    price_ns: Ints
