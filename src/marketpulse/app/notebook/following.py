"""Bars that follow the log."""

import threading
import time
from dataclasses import replace
from types import TracebackType
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from marketpulse.app.frames import Kind, as_kind, with_timestamps
from marketpulse.errors import Fatal, MarketPulseError, Retryable
from marketpulse.ports import LiveFeed
from marketpulse.web.board import Board

_POLL_S = 0.2
_AWAY_S = 1.0
_FORMING = -1


class Live:
    """One symbol's newest bars. A thread carries rows from the feed to a board, which holds `bars` of each timeframe
    and puts revisions into their places. Made by `live`."""

    def __init__(self, feed: LiveFeed, symbol: str, timeframe: str, bars: int) -> None:
        self.symbol, self.timeframe = symbol, timeframe
        self._feed, self._bars = feed, bars
        self._board = Board(max(10, bars))
        self._news = threading.Condition()
        self._changes = 0
        self._heard: set[str] = set()
        self._fault: MarketPulseError | None = None
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._follow, name=f"live-{symbol}", daemon=True)
        self._thread.start()

    def frame(self, frame: Kind = "polars") -> Any:
        """How it stands now, oldest first: the columns of a bar, `closed` (not, while it forms), and its indicators.

        Empty until the symbol's first row has come. Raises what ended the reading of the log, if something has.
        """
        if self._fault is not None:
            raise self._fault
        chart = self._board.chart(self.symbol, self.timeframe, limit=self._bars)
        columns = self._board.columns()
        rows = pl.DataFrame(
            [] if chart is None else chart["rows"], schema=columns, orient="row", infer_schema_length=None
        )
        at = [pl.col(name).cast(pl.Float64).mul(1e6).round().cast(pl.Int64).alias(name.removesuffix("_ms") + "_ns") for name in columns if name.endswith("_time_ms")]  # fmt: skip
        front = [pl.lit(self.symbol).alias("symbol"), pl.lit(self.timeframe).alias("timeframe")]
        told = pl.col("revision") != _FORMING
        rows = rows.select(*front, *at, pl.exclude("^.*_time_ms$")).with_columns(told.alias("closed"))
        return as_kind(with_timestamps(rows.to_arrow()), frame)

    def wait(self, changes: int = 1, timeout_s: float = 30.0) -> bool:
        """Until so many more changes of this symbol have come; False when the time was over before."""
        end = time.monotonic() + timeout_s
        with self._news:
            wanted = self._changes + changes
            while self._changes < wanted and self._fault is None and not self._stop.is_set():
                left = end - time.monotonic()
                if left <= 0 or not self._news.wait(left):
                    return self._changes >= wanted
        if self._fault is not None:
            raise self._fault
        return self._changes >= wanted

    def heard(self) -> list[str]:
        """The symbols of all rows that came, this one's and others': what there is to follow."""
        return sorted(self._heard)

    def close(self) -> None:
        """Stop following. The rows that came stay."""
        self._stop.set()
        self._thread.join()
        with self._news:
            self._news.notify_all()

    def __enter__(self) -> "Live":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        state = "closed" if self._stop.is_set() else "following"
        return f"<Live {self.symbol} {self.timeframe}, {self._changes:,} changes, {state}>"

    def _repr_html_(self) -> str:
        html: str = self.frame()._repr_html_()
        return html

    def _follow(self) -> None:
        try:
            while not self._stop.is_set():
                try:
                    for batch in self._feed.batches(_POLL_S):
                        self._heard |= set(pc.unique(batch.rows.column("symbol")).to_pylist())
                        rows = batch.rows.filter(pc.equal(batch.rows.column("symbol"), pa.scalar(self.symbol)))
                        if rows.num_rows:
                            self._board.take(replace(batch, rows=rows))
                            with self._news:
                                self._changes += 1
                                self._news.notify_all()
                        if self._stop.is_set():
                            break
                except Retryable:
                    self._stop.wait(_AWAY_S)  # the log is away: it goes on when it is back
        except MarketPulseError as fault:
            self._end(fault)
        except Exception as fault:  # noqa: BLE001 - a thread's fault must reach who reads the frame
            self._end(Fatal(f"following the log failed: {fault!r}"))
        finally:
            self._feed.close()

    def _end(self, fault: MarketPulseError) -> None:
        with self._news:
            self._fault = fault
            self._news.notify_all()
