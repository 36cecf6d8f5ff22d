"""The part `market`: what each symbol traded in its session so far, and how much it moves."""

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import pyarrow as pa

from marketpulse.model.timeframe import Cut, Timeframe
from marketpulse.ports import FeedBatch
from marketpulse.web import columns
from marketpulse.web.quote import DAY_NS

SYMBOLS_MAX = 2_000
BARS_MAX = 1_500  # of a session that is added up from shorter bars; older ones are one sum
RETURNS = 20
_RETURNS_MIN = 5
_HOUR_NS = 3_600 * 10**9
_PREFERENCE = ("1m", "5m", "1s", "1h", "1d")  # whose returns tell the volatility, where there are enough
FORMING = -1

COLUMNS = ("symbol", "date", "open", "high", "low", "volume", "value", "trades", "volatility", "volatility_of")


class Totals(NamedTuple):
    """What traded in one bar, or in several: `value` is the sum of price × size, in quote currency. NaN: a source gives
    no volume."""

    open: float
    high: float
    low: float
    volume: float
    value: float
    trades: float

    def then(self, later: "Totals") -> "Totals":
        return Totals(
            self.open, max(self.high, later.high), min(self.low, later.low), self.volume + later.volume,
            self.value + later.value, self.trades + later.trades,
        )  # fmt: skip


@dataclass(slots=True)
class _Closes:
    """The newest closes of closed bars of one timeframe, by open time, and how long one of them lasts."""

    of: dict[int, tuple[int, float]] = field(default_factory=dict)  # open time -> revision, close
    length_ns: int = 0
    volatility: float | None = None

    def take(self, open_ns: int, length_ns: int, revision: int, close: float) -> bool:
        known = self.of.get(open_ns)
        if known is not None and known[0] >= revision:
            return False
        if len(self.of) > RETURNS and open_ns < min(self.of):
            return False
        self.of[open_ns] = (revision, close)  # NaN: withdrawn, and no older row brings it back
        self.length_ns = length_ns
        if len(self.of) > RETURNS + 1:
            del self.of[min(self.of)]
        self.volatility = self._volatility()
        return True

    def _volatility(self) -> float | None:
        """The standard deviation of the newest returns (of logarithms), scaled to an hour by the root of time, in
        percent. None with fewer than five."""
        closes = [close for _, (_, close) in sorted(self.of.items()) if close > 0]
        returns = [math.log(b / a) for a, b in itertools.pairwise(closes)]
        if len(returns) < _RETURNS_MIN or self.length_ns <= 0:
            return None
        mean = sum(returns) / len(returns)
        variance = sum((r - mean) ** 2 for r in returns) / (len(returns) - 1)
        return 100 * math.sqrt(variance * _HOUR_NS / self.length_ns)


@dataclass(slots=True)
class _Traded:
    """One symbol: its newest session, told by its longest bars, and its newest closes."""

    date: int = -1  # days since 1970-01-01
    length: int = 0  # of the bars that tell the session, in ns
    bars: dict[int, tuple[int, Totals]] = field(default_factory=dict)  # open time -> revision, what traded
    older: Totals | None = None
    closes: dict[str, _Closes] = field(default_factory=dict)
    seq: int = 0

    def wants(self, date: int, length: int) -> bool:
        return date > self.date or (date == self.date and length >= self.length)

    def take(self, date: int, length: int, open_ns: int, revision: int, totals: Totals | None) -> bool:
        """A bar, closed or forming; None for one that is withdrawn. False when it is known already."""
        if not self.wants(date, length):
            return False
        if date > self.date or length > self.length:
            self.date, self.length, self.older = date, length, None
            self.bars.clear()
        known = self.bars.get(open_ns)
        if known is not None and (known[0] >= revision if revision != FORMING else known[0] > FORMING):
            return False
        if self.older is not None and open_ns < min(self.bars, default=0):
            return False
        if totals is None:
            return self.bars.pop(open_ns, None) is not None
        self.bars[open_ns] = (revision, totals)
        if len(self.bars) > BARS_MAX:
            _, oldest = self.bars.pop(min(self.bars))
            self.older = oldest if self.older is None else self.older.then(oldest)
        return True

    def session(self) -> Totals | None:
        parts = [totals for _, (_, totals) in sorted(self.bars.items())]
        if self.older is not None:
            parts.insert(0, self.older)
        if not parts:
            return None
        whole = parts[0]
        for part in parts[1:]:
            whole = whole.then(part)
        return whole

    def volatility(self) -> tuple[float | None, str | None]:
        """And the timeframe that tells it: the first preferred one with all its returns, else what has most."""
        known = self.closes
        full = [name for name in _PREFERENCE if name in known and len(known[name].of) > RETURNS]
        name = full[0] if full else max(known, key=lambda name: len(known[name].of), default=None)
        found = known[name].volatility if name is not None else None
        return found, None if found is None else name


class MarketPart:
    """Implements board.Part. A session's sums come from its longest bars (`1d`, where they are built), so that
    they are the engine's own; of shorter ones as far as they were seen here."""

    def __init__(self, symbols_max: int = SYMBOLS_MAX) -> None:
        self._symbols: dict[str, _Traded] = {}  # least recently fed first
        self._symbols_max = symbols_max
        self._lengths: dict[str, int] = {}  # of timeframes that cut time, in ns; 0: cuts something else

    def take(self, batch: FeedBatch, seq: int) -> bool:
        if batch.topic == "bars":
            return self._take_bars(batch.rows, seq)
        return batch.topic == "live" and self._take_live(batch.rows, seq)

    def changes(self, since: int) -> dict[str, Any] | None:
        """`whole`, and lists as COLUMNS names them, of one length: values to six digits; volatility in percent."""
        found = [(name, of) for name, of in self._symbols.items() if of.seq > max(since, 0)]
        rows = [row for name, of in found if (row := _row(name, of)) is not None]
        if not rows and since >= 0:
            return None
        lists = zip(*rows, strict=True) if rows else ((),) * len(COLUMNS)
        return {"whole": since < 0, **dict(zip(COLUMNS, map(list, lists), strict=True))}

    def _take_bars(self, rows: pa.RecordBatch, seq: int) -> bool:
        changed = False
        revisions = rows.column("revision").to_pylist()
        for i, (symbol, timeframe, open_ns, close_ns, date, prices, _) in enumerate(columns.bars(rows)):
            if (length := self._length(timeframe)) == 0:
                continue
            of, day = self._of(symbol), open_ns // DAY_NS if date is None else date
            totals = None if math.isnan(prices[3]) else _totals(prices)
            taken = of.take(day, length, open_ns, revisions[i], totals)
            closes = of.closes.setdefault(timeframe, _Closes())
            taken |= closes.take(open_ns, close_ns - open_ns, revisions[i], prices[3])
            if taken:
                of.seq, changed = seq, True
        return changed

    def _take_live(self, rows: pa.RecordBatch, seq: int) -> bool:
        changed = False
        for symbol, length, day, open_ns, prices in self._telling(rows):
            totals = None if math.isnan(prices[3]) else _totals(prices)
            of = self._of(symbol)
            if of.take(day, length, open_ns, FORMING, totals):
                of.seq, changed = seq, True
        return changed

    def _telling(self, rows: pa.RecordBatch) -> Iterator[tuple[str, int, int, int, Sequence[float]]]:
        """Only the rows of the timeframes that tell a session, and of these only the newest: one in five."""
        symbols, timeframes = columns.values(rows, "symbol"), columns.values(rows, "timeframe")
        opens: list[int] = columns.values(rows, "open_time_ns")
        days = [
            opened // DAY_NS if date is None else date for opened, date in zip(opens, columns.dates(rows), strict=True)
        ]
        newest: dict[tuple[str, int], int] = {}
        longest: dict[str, int] = {}
        for i, symbol in enumerate(symbols):
            length = self._length(timeframes[i])
            if length and self._of(symbol).wants(days[i], length) and length >= longest.get(symbol, 0):
                longest[symbol] = length
                newest[symbol, opens[i]] = i
        picked = rows.take(pa.array(newest.values(), pa.int64()))
        prices = zip(*(columns.floats(picked, name) for name in columns.PRICES), strict=True)
        for i, numbers in zip(newest.values(), prices, strict=True):
            yield symbols[i], self._length(timeframes[i]), days[i], opens[i], numbers

    def _of(self, symbol: str) -> _Traded:
        of = self._symbols.pop(symbol, None)
        if of is None:
            of = _Traded()
            if len(self._symbols) >= self._symbols_max:
                del self._symbols[next(iter(self._symbols))]
        self._symbols[symbol] = of
        return of

    def _length(self, timeframe: str) -> int:
        length = self._lengths.get(timeframe)
        if length is None:
            frame = Timeframe.parse(timeframe)
            length = self._lengths[timeframe] = 0 if frame.cut is Cut.TICKS else frame.length
        return length


def _totals(prices: Sequence[float]) -> Totals:
    open_, high, low, close, volume, vwap, trades = prices
    typical = vwap if vwap == vwap else close  # at a volume of 0 there is no vwap
    return Totals(open_, high, low, volume, volume * typical, trades if trades == trades else 0.0)


def _row(name: str, of: _Traded) -> tuple[Any, ...] | None:
    session = of.session()
    if session is None:
        return None
    volatility, told_by = of.volatility()
    return (
        name, of.date, session.open, session.high, session.low, _short(session.volume), _short(session.value),
        round(session.trades), None if volatility is None else _short(volatility), told_by,
    )  # fmt: skip


def _short(number: float) -> float:
    return float(f"{number:.6g}")
