"""Everything a page may ask for, in memory: fed with rows of the log, bounded, read under a lock."""

import math
import threading
import uuid
from array import array
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import pyarrow as pa

from marketpulse.clock import Clock, SystemClock
from marketpulse.model.rows import BAR, INDICATORS_HEAD, LIVE_HEAD, LIVE_NAME
from marketpulse.model.timeframe import Cut, Timeframe
from marketpulse.ports import FeedBatch, LogView, PipelineStats
from marketpulse.web import columns
from marketpulse.web.corrections import correct
from marketpulse.web.figures import Figures
from marketpulse.web.quote import DAY_NS, Quote, Seen
from marketpulse.web.quote_wire import described_row, quote_columns
from marketpulse.web.series import BAR_COLUMNS, CLOSE, Held, Series
from marketpulse.web.symbol_state import SymbolState

SYMBOLS_MAX = 2_000
ROWS_MAX = 500_000  # about 300 bytes each
_ROWS_MIN = 60  # even with very many series, a page has this many bars
_TRIM_BELOW = 0.8  # series are cut in steps of a fifth, not by one bar at each new series
SPARK_POINTS = 60
_SPARK_EVERY_NS = 5 * 10**9  # a spark-line of 1s bars is renewed this often
_SPARK_PREFERENCE = ("1m", "5m", "1s", "1h", "1d")
_HEADS = {"bars": set(BAR.names), "indicators": set(INDICATORS_HEAD.names), "live": set(LIVE_HEAD.names)}


class Part(Protocol):
    """Something beside quotes and charts that pages may ask for by its name. Called under the board's lock."""

    def take(self, batch: FeedBatch, seq: int) -> bool:
        """Rows of any output topic, at least one; `seq` numbers what they change. Whether they changed anything."""
        ...

    def changes(self, since: int) -> Any | None:
        """What changed after number `since`, for JSON, a copy; with -1 all there is. None: nothing. A page that was
        away asks with the number that it had: it must get each change after it, once."""
        ...


class Board:
    """The newest bars, quotes and figures. Every method may be called from any thread.

    `seq` numbers the changes: a reader that has seen everything up to one number asks for what
    came after it. `generation` changes when names or symbols went or came in a way that a reader
    can only follow by reading the whole again. `run` names this board among all there ever were: numbers of
    another one mean nothing here.
    """

    def __init__(
        self,
        history: int = 500,
        *,
        symbols_max: int = SYMBOLS_MAX,
        rows_max: int = ROWS_MAX,
        clock: Clock | None = None,
        parts: Mapping[str, Part] | None = None,
        health: Callable[[], Mapping[str, Any]] | None = None,
    ) -> None:
        self.lock = threading.RLock()
        self.seq = 0
        self.generation = 0
        self.run = uuid.uuid4().hex[:12]
        self.parts = dict(parts or {})
        self.names: list[str] = []  # of indicators, in the order of first appearance
        self.timeframes: list[str] = []  # tick bars, then by length
        self._clock = clock or SystemClock()
        self._began_ns = self._clock.now_ns()
        self._figures = Figures(self._clock)
        self._health = health or self._health_of_log
        self._symbols: dict[str, SymbolState] = {}  # least recently fed first
        self._history = self._wanted_history = history
        self._series_count = 0
        self._ids = 0
        self._symbols_max = symbols_max
        self._rows_max = rows_max

    # Feeding

    def take(self, batch: FeedBatch) -> None:
        """Rows of one output topic. Alerts and dead letters only move the clock of the newest row."""
        with self.lock:
            self._figures.take_append_time(batch.append_time_ms)
            if batch.rows.num_rows == 0:
                return
            changed = [part.take(batch, self.seq + 1) for part in self.parts.values()]
            if batch.topic not in _HEADS and not any(changed):
                return
            self.seq += 1
            if batch.topic == "bars":
                self._take_bars(batch.rows)
            elif batch.topic == "indicators":
                self._take_indicators(batch.rows)
            elif batch.topic == "live":
                self._take_live(batch.rows)

    def take_stats(self, stats: PipelineStats) -> None:
        with self.lock:
            self._figures.take_stats(stats)

    def _take_bars(self, rows: pa.RecordBatch) -> None:
        ties = columns.ties(rows)
        revisions = columns.floats(rows, "revision")
        for i, (symbol, timeframe, open_ns, close_ns, date, prices, origin) in enumerate(columns.bars(rows)):
            state, series = self._series(symbol, timeframe)
            row = array("d", (open_ns / 1e6, close_ns / 1e6, *prices, revisions[i]))
            if not series.take_bar(open_ns, row, ties[i], self.seq, self._history):
                continue
            revised = revisions[i] > 0
            if revised:
                state.seq, state.revised_to_ns = self.seq, max(state.revised_to_ns or 0, close_ns)
            if not math.isnan(row[CLOSE]):
                self._observe(state, origin, timeframe, date, open_ns, close_ns, prices)
            if timeframe == self._chosen_spark(state) and (
                revised or timeframe != "1s" or close_ns - state.spark_time_ns >= _SPARK_EVERY_NS
            ):
                state.spark_seq, state.spark_time_ns = self.seq, max(close_ns, state.spark_time_ns)

    def _take_indicators(self, rows: pa.RecordBatch) -> None:
        values, ties = self._values(rows, "indicators"), columns.ties(rows)
        revisions = rows.column("revision").to_pylist()
        opens = rows.column("open_time_ns").to_pylist()
        for i, (symbol, timeframe) in enumerate(columns.keys(rows)):
            _, series = self._series(symbol, timeframe)
            series.take_values(opens[i], revisions[i], values[i], ties[i], self.seq, self._history)

    def _take_live(self, rows: pa.RecordBatch) -> None:
        """Only the newest row of each symbol, timeframe and bar counts: the others are overtaken."""
        opens = columns.values(rows, "open_time_ns")
        newest = {(*key, opens[i]): i for i, key in enumerate(columns.keys(rows))}
        rows = rows.take(pa.array(sorted(newest.values()), pa.int64()))
        values, books = self._values(rows, "live"), columns.books(rows)
        event_times = columns.values(rows, "event_time_ns")
        ingest_times = columns.values(rows, "ingest_time_ns")
        began_ns: list[int] = []
        for i, (symbol, timeframe, open_ns, close_ns, date, prices, origin) in enumerate(columns.bars(rows)):
            state, series = self._series(symbol, timeframe)
            ingest = ingest_times[i] or 0
            if ingest > state.newest_ingest_ns:  # each trade is measured once, not once per timeframe
                state.newest_ingest_ns = ingest
                if ingest >= self._began_ns:  # an older trade was held up by what was not running
                    began_ns.append(ingest)
            row = array("d", (open_ns / 1e6, close_ns / 1e6, *prices, 0.0))
            bars = len(series)
            shown = series.take_forming(open_ns, row, values[i], self.seq, self._history)
            if len(series) != bars:
                self._chosen_spark(state)
            if shown:
                state.book = books[i]
                self._observe(state, origin, timeframe, date, open_ns, event_times[i], prices)
        self._figures.take_latencies(began_ns)

    def _observe(
        self,
        state: SymbolState,
        origin: tuple[str | None, str | None],
        timeframe: str,
        date: int | None,
        open_ns: int,
        time_ns: int,
        prices: Sequence[float],
    ) -> None:
        source, venue = origin
        state.simulated = (source or "").startswith("simulate")
        state.venue = venue
        state.seq = self.seq
        open_, high, low, close, volume = prices[:5]
        state.quote.take(
            Seen(
                open_ns // DAY_NS if date is None else date, open_ns, time_ns, open_, high, low, close, volume,
                timeframe == "1d",
            )
        )  # fmt: skip

    def _series(self, symbol: str, timeframe: str) -> tuple[SymbolState, Series]:
        state = self._symbols.pop(symbol, None)
        if state is None:
            state = SymbolState(self._ids)
            self._ids += 1
            if len(self._symbols) >= self._symbols_max:
                oldest = self._symbols.pop(next(iter(self._symbols)))
                self._series_count -= len(oldest.series)
                self.generation += 1
        self._symbols[symbol] = state
        series = state.series.get(timeframe)
        if series is None:
            frame = Timeframe.parse(timeframe)
            series = state.series[timeframe] = Series(ticks=frame.cut is Cut.TICKS)
            series.whole_seq = self.seq
            if state.seq:  # it is shown, and its timeframes with it
                state.seq = self.seq
            self._series_count += 1
            self._share_rows()
            if timeframe not in self.timeframes:
                frames = [Timeframe.parse(name) for name in [*self.timeframes, timeframe]]
                self.timeframes = [f.name for f in sorted(frames, key=lambda f: (f.cut != Cut.TICKS, f.length))]
                self.generation += 1
        return state, series

    def _share_rows(self) -> None:
        """Many series share the room: each then keeps fewer bars than were wished for."""
        history = min(self._wanted_history, max(_ROWS_MIN, self._rows_max // self._series_count))
        if history >= _TRIM_BELOW * self._history:
            return
        self._history = history
        for state in self._symbols.values():
            for series in state.series.values():
                series.trim(history)

    def _values(self, rows: pa.RecordBatch, topic: str) -> "list[array[float]]":
        """Each row's indicator values in the order of `names`; NaN where the row has none."""
        own_name = {shown: name for name, shown in LIVE_NAME.items()} if topic == "live" else {}
        found: dict[str, list[float]] = {}
        for field in rows.schema:
            name = own_name.get(field.name, field.name)
            if field.name in _HEADS[topic] or not pa.types.is_floating(field.type):
                continue
            found[name] = columns.floats(rows, field.name)
            if name not in self.names:
                self.names.append(name)
                self.generation += 1
        missing = [math.nan] * rows.num_rows
        ordered = [found.get(name, missing) for name in self.names]
        if not ordered:
            return [array("d") for _ in range(rows.num_rows)]
        return [array("d", row) for row in zip(*ordered, strict=True)]

    # Reading

    def symbols(self) -> list[str]:
        with self.lock:
            return sorted(self._symbols)

    def quote_rows(self, since: int = -1) -> list[list[Any]]:
        """[symbol, last, last_time_ms, reference, reference_kind, simulated, venue, timeframes, bid, bid_size, ask,
        ask_size] of each that changed."""
        with self.lock:
            found = [(name, state) for name, state in self._symbols.items() if state.seq > max(since, 0)]
            for _, state in found:
                self._correct(state)
            return [
                [
                    name, state.quote.last, state.quote.last_time_ns / 1e6, state.quote.reference,
                    state.quote.reference_kind, state.simulated, state.venue, [t for t in self.timeframes if t in state.series],
                    *state.book,
                ]
                for name, state in sorted(found, key=lambda pair: pair[0])
            ]  # fmt: skip

    def quotes(self, since: int = -1) -> tuple[list[list[Any]], dict[str, Any] | None]:
        """Descriptions and quotes that changed after `since`, as web.quote_wire shapes them."""
        with self.lock:
            found = [(name, state) for name, state in self._symbols.items() if state.seq > max(since, 0)]
            for _, state in found:
                self._correct(state)
            described = [
                row for name, state in found if (row := described_row(name, state, self.timeframes, self.seq, since))
            ]
            return described, quote_columns([state for _, state in found])

    def sparks(self, since: int = -1) -> dict[str, dict[str, Any]]:
        """Spark-lines that changed: the newest closes of a symbol, and of which timeframe they are."""
        with self.lock:
            return {
                name: {"timeframe": timeframe, "closes": state.series[timeframe].closes(SPARK_POINTS)}
                for name, state in self._symbols.items()
                if state.spark_seq > since and (timeframe := state.spark_timeframe)
            }

    def chart(self, symbol: str, timeframe: str, since: int = -1, limit: int | None = None) -> dict[str, Any] | None:
        """Rows of one chart, as `columns` names them, all or those that changed after `since`.

        None when the symbol or the timeframe is not known. `session` is the symbol's session so far.
        """
        with self.lock:
            state = self._symbols.get(symbol)
            series = state.series.get(timeframe) if state else None
            if state is None or series is None:
                return None
            self._correct(state)
            whole = since < series.whole_seq
            width = len(self.names)
            return {
                "symbol": symbol,
                "timeframe": timeframe,
                "whole": whole,
                "rows": series.rows(width, limit) if whole else series.rows_since(since, width),
                "session": _session(state.quote),
            }

    def held(self, symbol: str, timeframe: str) -> tuple[Held, dict[str, Any] | None] | None:
        """What one chart's series has, and the session so far. None when there is no such chart."""
        with self.lock:
            state = self._symbols.get(symbol)
            series = state.series.get(timeframe) if state else None
            if state is None or series is None:
                return None
            self._correct(state)
            return series.held(len(self.names)), _session(state.quote)

    def venue(self, symbol: str) -> str | None:
        """Where it trades; None where that is not known."""
        with self.lock:
            state = self._symbols.get(symbol)
            return None if state is None else state.venue

    def columns(self) -> list[str]:
        """What the numbers of a chart's row are. The bar has a `vwap`: the session's is `session_vwap`."""
        with self.lock:
            return [*BAR_COLUMNS, *(LIVE_NAME.get(name, name) for name in self.names)]

    def figures(self) -> dict[str, Any]:
        """The pipeline's figures, and its health (ports.PipelineWatch)."""
        health = self._health()
        with self.lock:
            return {**health, **self._figures.shown(), "symbols": len(self._symbols)}

    def log(self) -> LogView:
        with self.lock:
            return self._figures.log()

    def _health_of_log(self) -> dict[str, Any]:
        """The health where nobody watches the processes."""
        stats = self.log().stats
        return {"status": "starting" if stats is None else "ok" if stats.broker_reachable else "down", "reasons": []}

    def _correct(self, state: SymbolState) -> None:
        """Let the quote follow revised bars: when it is read, since many of them come together."""
        if state.revised_to_ns is not None:
            correct(state.quote, state.series.values(), state.revised_to_ns, self._history)
            state.revised_to_ns = None

    def _chosen_spark(self, state: SymbolState) -> str | None:
        """The timeframe of its spark-line; another than before is a change of it."""
        timeframe = self._spark_timeframe(state)
        if timeframe != state.spark_timeframe:
            state.spark_timeframe, state.spark_seq = timeframe, self.seq
        return timeframe

    def _spark_timeframe(self, state: SymbolState) -> str | None:
        """The first preferred timeframe with a third of the points, else the one with most bars."""
        known = state.series
        for name in _SPARK_PREFERENCE:
            if name in known and len(known[name]) >= SPARK_POINTS // 3:
                return name
        return max(known, key=lambda name: len(known[name]), default=None)


def _session(quote: Quote) -> dict[str, Any] | None:
    session = quote.session
    if session is None:
        return None
    return {
        "date": session.date, "open": session.open, "high": session.high, "low": session.low,
        "close": session.close, "volume": session.volume,
    }  # fmt: skip
