"""Rows on their way to the log, in its schemas, by kind.

Rows of a quarter of a second of receive time are written kind by kind; whatever must stand behind them closes the group.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import orjson
import pyarrow as pa

from marketpulse.model.market import BAR_IN, EVENT, QUOTE, TRADE

_WINDOW_NS = 250_000_000
_TRADE_COLUMNS = ("symbol", "event_time_ns", "price", "size", "trade_id", "ingest_time_ns", "venue", "conditions")
_QUOTE_COLUMNS = ("symbol", "event_time_ns", "bid", "bid_size", "ask", "ask_size", "ingest_time_ns", "venue")
_BAR_COLUMNS = ("symbol", "event_time_ns", "timeframe", "open_time_ns", "close_time_ns", "open", "high", "low", "close",
                "volume", "vwap", "trade_count", "final", "ingest_time_ns")  # fmt: skip


class Rows:
    """What one source has for the log."""

    def __init__(self, source: str) -> None:
        self._source = source
        self._batches: list[pa.RecordBatch] = []
        self._trades: list[tuple[object, ...]] = []
        self._quotes: list[tuple[object, ...]] = []
        self._bars: list[tuple[object, ...]] = []
        self._group_ns = 0

    def __len__(self) -> int:
        """How much waits, roughly."""
        return len(self._batches) + len(self._trades) + len(self._quotes) + len(self._bars)

    def trade(
        self, symbol: str, time_ns: int, price: float, size: float, trade_id: str | None, at_ns: int,
        venue: str | None, conditions: Sequence[str] = (),
    ) -> None:  # fmt: skip
        """`at_ns`: when it came."""
        self._group(at_ns)
        self._trades.append((symbol, time_ns, price, size, trade_id, at_ns, venue, conditions or None))

    def quote(self, symbol: str, time_ns: int, sides: Sequence[float], at_ns: int, venue: str | None) -> None:
        """`sides`: bid, its size, ask, its size."""
        self._group(at_ns)
        self._quotes.append((symbol, time_ns, *sides, at_ns, venue))

    def bar(
        self, symbol: str, timeframe: str, open_ns: int, close_ns: int, values: Sequence[float | None], at_ns: int
    ) -> None:  # fmt: skip
        """A closed one. `values`: open, high, low, close, volume, vwap, trade count."""
        self._group(at_ns)
        self._bars.append((symbol, close_ns, timeframe, open_ns, close_ns, *values, True, at_ns))

    def event(self, body: Mapping[str, Any]) -> None:
        """A rare record. It stands behind the rows before it."""
        self.close_group()
        values = [body["type"], body["symbol"], self._source, body["event_time_ns"], orjson.dumps(body).decode()]
        columns = [pa.array([v], f.type) for v, f in zip(values, EVENT, strict=True)]
        self._batches.append(pa.RecordBatch.from_arrays(columns, schema=EVENT))

    def drain(self) -> list[pa.RecordBatch]:
        """What has gathered, in the order in which to write it."""
        self.close_group()
        batches, self._batches = self._batches, []
        return batches

    def close_group(self) -> None:
        for kind, schema, names, rows in (
            ("trade", TRADE, _TRADE_COLUMNS, self._trades),
            ("quote", QUOTE, _QUOTE_COLUMNS, self._quotes),
            ("bar", BAR_IN, _BAR_COLUMNS, self._bars),
        ):
            if rows:
                given = dict(zip(names, zip(*rows, strict=True), strict=True))
                self._batches.append(self._batch(kind, schema, given, len(rows)))
                rows.clear()

    def _group(self, at_ns: int) -> None:
        if abs(at_ns - self._group_ns) > _WINDOW_NS:
            self.close_group()
            self._group_ns = at_ns

    def _batch(self, kind: str, schema: pa.Schema, given: Mapping[str, Sequence[object]], n: int) -> pa.RecordBatch:
        same = {"type": kind, "source": self._source}
        columns = []
        for column in schema:
            if column.name in given:
                columns.append(pa.array(given[column.name], column.type))
            elif column.name in same:
                columns.append(pa.repeat(same[column.name], n))
            else:
                columns.append(pa.nulls(n, column.type))
        return pa.RecordBatch.from_arrays(columns, schema=schema)
