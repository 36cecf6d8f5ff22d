"""The simulated market as a source: live, each trade when it is due, or history as fast as possible.

Its rows carry a source that begins with `simulate`, its hello says `simulated`, its symbols begin
with SIM-, its venue is XSIM: nobody shall take it for real.
"""

import hashlib
import heapq
import json
from dataclasses import replace

import numpy as np
import polars as pl

from marketpulse.clock import Clock, SystemClock
from marketpulse.errors import SettingsError
from marketpulse.model.market import COMPLETE, Floats, Ints
from marketpulse.ports import Hello, Polled
from marketpulse.settings import SimulateSettings
from marketpulse.sources.normalise import Rows
from marketpulse.sources.pace import NAP_S, ROWS_MAX
from marketpulse.sources.sim_market import Block, Market, symbol_names
from marketpulse.sources.tape import Tape, build
from marketpulse.sources.times import NAIVE, parse_times

VENUE = "XSIM"
_WINDOW_NS = 500_000_000
_NONE = build({})


class SimulateSource:
    """A `Source` that makes its market up. History (`start` is set) can resume; live begins anew."""

    def __init__(
        self, settings: SimulateSettings, source: str, *, lateness_ns: int, clock: Clock | None = None
    ) -> None:
        self._settings = settings
        self._source = source
        self._lateness_ns = lateness_ns
        self._clock = clock or SystemClock()
        self._history_ns = None if settings.start is None else _moment(settings.start)
        self._names = pl.Series(symbol_names(settings.symbols))
        self._resumes: list[tuple[float, int, float]] = []
        self._tape: Tape = _NONE
        self._row = 0
        self._sent = 0
        self._over = False

    @property
    def resumable(self) -> bool:
        return self._history_ns is not None

    def start(self, position: str | None) -> Hello:
        """Begin at the seed's beginning; history goes on behind `position`. Raises SettingsError."""
        settings = self._settings
        start_ns = self._history_ns if self._history_ns is not None else self._clock.now_ns()
        self._end_ns = None if settings.duration_s is None else start_ns + int(settings.duration_s * 1e9)
        self._market = Market(settings.symbols, settings.rate / (2 if settings.quotes else 1), settings.seed)
        self._start_ns = start_ns
        self._over = False
        known = f"2/{settings.model_dump_json()}/{start_ns}"
        self._digest = hashlib.blake2b(known.encode(), digest_size=8).hexdigest()
        self._resumes.clear()
        self._tape, self._row, self._sent = _NONE, 0, 0
        if position is not None and self.resumable:
            at = json.loads(position)
            self._skip(at["row"] if at["market"] == self._digest else 0)
        return Hello(
            source=self._source,
            mode="live" if self._history_ns is None else "historical",
            run_id=self._digest,
            lateness_ns=max(1, self._lateness_ns),
            calendar="24x7",
            simulated=True,
        )

    def poll(self, timeout_s: float) -> Polled:
        if not self._have_rows():
            return Polled(ended=True)
        due = self._wait(timeout_s)
        if due == self._row:
            return Polled()
        batches = self._tape.batches(
            self._row, due, self._source, self._clock.now_ns(), window_ns=min(_WINDOW_NS, self._lateness_ns // 4)
        )
        self._sent += due - self._row
        self._row = due
        position = json.dumps({"market": self._digest, "row": self._sent}) if self.resumable else None
        polled = Polled(batches, position)
        if self._have_rows():
            return polled
        final = COMPLETE if self._end_ns is None or self.resumable else self._end_ns
        return replace(polled, goodbye_watermark_ns=final, ended=True)

    def watermark_ns(self) -> int | None:
        """Live: now, as far as everything due has left. History: just before the next row."""
        if self._over:
            return self._end_ns
        if not self._sent or self._row >= len(self._tape):
            return None
        before_next = int(self._tape.time_ns[self._row]) - 1
        return before_next if self.resumable else min(before_next, self._clock.now_ns())

    def close(self) -> None:
        self._tape = _NONE

    @property
    def finished_before(self) -> bool:
        return not self._have_rows() and self.resumable

    def _skip(self, rows: int) -> None:
        while rows > self._sent and self._have_rows():
            step = min(rows - self._sent, len(self._tape) - self._row)
            self._row += step
            self._sent += step
        self._have_rows()

    def _wait(self, timeout_s: float) -> int:
        last = min(len(self._tape), self._row + ROWS_MAX)
        if self.resumable:
            return last
        ahead_s = (int(self._tape.time_ns[self._row]) - self._clock.now_ns()) / 1e9
        if ahead_s > 0:
            self._clock.sleep(min(timeout_s, max(ahead_s, NAP_S)))
        due = int(np.searchsorted(self._tape.time_ns, self._clock.now_ns(), side="right"))
        return min(last, max(self._row, due))

    def _have_rows(self) -> bool:
        """Whether a row is left, drawing the next block where needed."""
        while not self._over and self._row >= len(self._tape):
            self._tape, self._row = self._drawn(self._market.block()), 0
        return self._row < len(self._tape)

    def _drawn(self, block: Block) -> Tape:
        times = self._to_ns(block.at_s)
        events = self._events(block)
        if self._end_ns is not None and times.size and times[-1] >= self._end_ns:
            self._over = True
            keep = np.flatnonzero(times < self._end_ns)
            times = times[keep]
            block = block.take(keep, [])
            events = [rows.take(rows.time_ns < self._end_ns) for rows in events]
        symbol = self._names[block.symbol.astype(np.uint32)]
        venue = pl.repeat(VENUE, len(times), eager=True)
        parts: dict[str, list[Rows]] = {"event": [rows for rows in events if len(rows)]}
        ids = (pl.Series([f"{self._digest[:6]}-"]) + pl.Series(block.number).cast(pl.String)) if len(times) else None
        trades = {"symbol": symbol, "venue": venue, "price": block.price, "size": block.size, "trade_id": ids}
        parts["trade"] = [_rows(trades, times)]
        if self._settings.quotes:
            names = ("bid", "bid_size", "ask", "ask_size")
            parts["quote"] = [_rows({"symbol": symbol, "venue": venue, **{n: getattr(block, n) for n in names}}, times)]
        return build(parts)

    def _events(self, block: Block) -> list[Rows]:
        """Halts that begin in the block and those that end in it, in order of time."""
        found: list[tuple[float, int, str, int, float, float, float]] = []
        for halt in block.halts:
            found.append((halt.start_s, 1, "halt", halt.symbol, halt.start_s, halt.end_s, halt.move))
            heapq.heappush(self._resumes, (halt.end_s, halt.symbol, halt.start_s))
        newest = float(block.at_s[-1]) if len(block.at_s) else 0.0
        while self._resumes and self._resumes[0][0] <= newest:
            end, symbol, start = heapq.heappop(self._resumes)
            found.append((end, 0, "resume", symbol, start, end, 0.0))
        if not found:
            return []
        found.sort()
        # A halt begins just behind the trade that caused it.
        at = self._to_ns(np.array([f[0] for f in found])) + np.array([f[1] for f in found])
        begins, ends = (self._to_ns(np.array([f[i] for f in found])) for i in (4, 5))
        bodies = [
            json.dumps({"from_ns": int(b) + 1, "to_ns": int(e), "reason": _reason(f[2], f[6])})
            for f, b, e in zip(found, begins, ends, strict=True)
        ]
        frame = pl.DataFrame(
            {"type": [f[2] for f in found], "symbol": self._names[[f[3] for f in found]], "body": bodies}
        )
        return [Rows(frame, at, at, at)]

    def _to_ns(self, at_s: Floats) -> Ints:
        return self._start_ns + np.rint(at_s * 1e9).astype(np.int64)


def _reason(kind: str, move: float) -> str:
    return f"simulated volatility halt: moved {move:+.1%}" if kind == "halt" else "simulated halt is over"


def _rows(columns: dict[str, object], times: Ints) -> Rows:
    return Rows(pl.DataFrame({k: v for k, v in columns.items() if v is not None}), times, times, times)


def _moment(text: str) -> int:
    times = parse_times(pl.Series([text]))
    if not times.valid[0]:
        raise SettingsError(f"simulate.start {text!r} is not a time: write one such as 2026-01-05T00:00:00Z")
    offset = int(times.offset_ns[0])
    return int(times.local_ns[0]) - (0 if offset == NAIVE else offset)
