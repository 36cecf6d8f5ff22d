"""The closed bars of one series from its first on, out of two places: what is stored, and what the board has already.

The board is ahead of the store by what is not flushed yet, the store goes further back. Where both have a bar, the
higher revision is the truth.
"""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from marketpulse.indicators.declaration import Floats
from marketpulse.model.timeframe import Cut, Timeframe
from marketpulse.ports import LiveBars
from marketpulse.query.duck import LakeQuery

PRICES = ("open", "high", "low", "close", "volume")
REVISION = 9
"""Its place in a row of the board (web.series.BAR_COLUMNS)."""

_FIRST = 2  # and that of the first of PRICES
_TIE_STEP_NS = 1_000  # as the board tells tick bars apart that open at one time
_QUERY = """
    SELECT open_time_ns, open, high, low, close, volume, revision FROM bars
    WHERE symbol = {symbol} AND timeframe = {timeframe}
    ORDER BY open_time_ns, receipt.last_offset, receipt.last_row"""


@dataclass(frozen=True, slots=True)
class ClosedBars:
    """n bars in order: `open_ms` (n,), `prices` (n, 5) as PRICES, `revision` (n,)."""

    open_ms: Floats
    prices: Floats
    revision: Floats

    @classmethod
    def none(cls) -> "ClosedBars":
        return cls(np.empty(0), np.empty((0, len(PRICES))), np.empty(0))

    def __len__(self) -> int:
        return len(self.open_ms)

    def before(self, time_ms: float) -> "ClosedBars":
        """Those that open before a time."""
        end = int(np.searchsorted(self.open_ms, time_ms))
        return ClosedBars(self.open_ms[:end], self.prices[:end], self.revision[:end])

    def since(self, time_ms: float) -> "ClosedBars":
        """The others."""
        begin = int(np.searchsorted(self.open_ms, time_ms))
        return ClosedBars(self.open_ms[begin:], self.prices[begin:], self.revision[begin:])

    def and_then(self, others: "ClosedBars") -> "ClosedBars":
        """These, and the later ones behind them."""
        return ClosedBars(
            np.concatenate([self.open_ms, others.open_ms]),
            np.concatenate([self.prices, others.prices]),
            np.concatenate([self.revision, others.revision]),
        )


def stored_bars(query: LakeQuery, symbol: str, timeframe: str) -> ClosedBars:
    """All that the lake has of a series. Raises what LakeQuery.run does."""
    rows = query.run(_QUERY.format(symbol=_text(symbol), timeframe=_text(timeframe)))
    opens = _apart(rows["open_time_ns"].to_numpy(), ticks=Timeframe.parse(timeframe).cut is Cut.TICKS)
    prices = np.empty((len(opens), len(PRICES)))
    for place, name in enumerate(PRICES):
        prices[:, place] = rows[name].to_numpy()
    return ClosedBars(opens / 1e6, prices, rows["revision"].cast(pa.float64()).to_numpy())


def merged(stored: ClosedBars, live: LiveBars) -> ClosedBars:
    """Stored and live bars as one series, without those that are forming or were withdrawn."""
    if not live.rows and not live.gone:
        return stored
    begin = min([*live.rows, *live.gone])
    tail = stored.since(begin)
    known = {
        time: (prices, revision)
        for time, prices, revision in zip(
            tail.open_ms.tolist(), tail.prices.tolist(), tail.revision.tolist(), strict=True
        )
        if live.gone.get(time, -1.0) < revision
    }
    for time, row in live.rows.items():
        if row[REVISION] >= 0 and (time not in known or row[REVISION] > known[time][1]):
            known[time] = (list(row[_FIRST : _FIRST + len(PRICES)]), row[REVISION])
    times = sorted(known)
    newer = ClosedBars(
        np.array(times, np.float64),
        np.array([known[time][0] for time in times], np.float64).reshape(-1, len(PRICES)),
        np.array([known[time][1] for time in times], np.float64),
    )
    return stored.before(begin).and_then(newer)


def forming(live: LiveBars) -> ClosedBars:
    """The bars that may still change, as they are now."""
    rows = [row for _, row in sorted(live.rows.items()) if row[REVISION] < 0]
    if not rows:
        return ClosedBars.none()
    table = np.array([list(row[: REVISION + 1]) for row in rows], np.float64)
    return ClosedBars(table[:, 0], table[:, _FIRST : _FIRST + len(PRICES)], table[:, REVISION])


def _apart(opens: np.ndarray, *, ticks: bool) -> np.ndarray:
    """Open times in ns, those of tick bars that are the same a microsecond apart."""
    if not ticks or not len(opens):
        return opens
    new = np.concatenate([[True], opens[1:] != opens[:-1]])
    place = np.arange(len(opens))
    return opens + _TIE_STEP_NS * (place - np.maximum.accumulate(np.where(new, place, 0)))


def _text(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
