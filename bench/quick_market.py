"""A market that costs little to make: every symbol moves with every step, in Arrow columns straight from numpy."""

import time

import numpy as np
import pyarrow as pa

from marketpulse.model.rows import BAR, RECEIPT, live_schema
from marketpulse.ports import FeedBatch

MINUTE_NS, DAY_NS = 60 * 10**9, 86_400 * 10**9
LIVE = live_schema([])


class QuickMarket:
    """`symbols` random walks with a day's volume behind them; the same seed, the same market."""

    def __init__(self, symbols: int = 500, seed: int = 7) -> None:
        self._draw = np.random.default_rng(seed)
        self.names = [f"{'ABCDEFGHIJKLMNOPQRSTUVWXYZ'[i % 26]}{i:03d}" for i in range(symbols)]
        self._price = np.round(self._draw.uniform(5, 400, symbols), 2)
        self._lively = self._draw.lognormal(0, 0.5, symbols) * 2e-4
        self._open = self._price / (1 + self._draw.standard_t(4, symbols) * 0.008)
        self._high, self._low = np.maximum(self._price, self._open), np.minimum(self._price, self._open)
        self._volume = np.round(self._draw.lognormal(11, 1.4, symbols))
        self._value = self._volume * self._price

    def history(self, minutes: int = 60) -> FeedBatch:
        """Closed bars of a minute up to now, for all symbols."""
        now = time.time_ns() // MINUTE_NS * MINUTE_NS
        count = len(self.names)
        steps = self._draw.standard_normal((count, minutes)) * self._lively[:, None] * 4
        closes = self._price[:, None] * np.exp(np.cumsum(steps[:, ::-1], axis=1)[:, ::-1])
        opens_ns = np.tile(now - MINUTE_NS * np.arange(minutes, 0, -1), count)
        close = np.round(closes.ravel(), 2)
        offsets = np.arange(close.size)
        fields = [offsets * 0] * 2 + [offsets] * 2 + [offsets] * 2 + [offsets * 0]
        names = [f.name for f in RECEIPT][1:-1]
        receipt = pa.StructArray.from_arrays(
            [pa.array(["market"] * close.size), *(pa.array(v, RECEIPT.field(n).type) for n, v in zip(names, fields, strict=False)),
             pa.array(["3"] * close.size)],
            fields=list(RECEIPT),
        )  # fmt: skip
        columns = self._head(np.repeat(self.names, minutes), "1m", opens_ns, MINUTE_NS)
        columns |= {
            "open": close,
            "high": close + 0.02,
            "low": close - 0.02,
            "close": close,
            "volume": close * 0 + 900,
            "vwap": close,
        }
        columns |= {"trade_count": np.full(close.size, 9), "revision": np.zeros(close.size, int), "receipt": receipt}
        return self._batch("bars", columns, BAR)

    def session(self) -> FeedBatch:
        """The session before, as one closed bar a symbol: what a change is compared with."""
        today = time.time_ns() // DAY_NS * DAY_NS
        count = len(self.names)
        columns = self._head(self.names, "1d", np.full(count, today - DAY_NS), DAY_NS)
        o = self._open
        columns |= {"open": o, "high": o * 1.01, "low": o * 0.99, "close": o, "volume": self._volume, "vwap": o}
        columns |= {"trade_count": np.full(count, 99), "revision": np.zeros(count, int)}
        columns["receipt"] = pa.array([{"topic": "market", "partition": 0, "first_offset": 0, "first_row": 0, "last_offset": i,
                                        "last_row": 0, "late_count": 0, "engine_version": "3"} for i in range(count)], RECEIPT)  # fmt: skip
        return self._batch("bars", columns, BAR)

    def step(self) -> FeedBatch:
        """A trade of every symbol: its forming minute and its forming session, as of now."""
        now, count = time.time_ns(), len(self.names)
        self._price = np.round(
            np.maximum(self._price * np.exp(self._draw.standard_normal(count) * self._lively), 0.01), 2
        )
        size = np.ceil(self._draw.lognormal(3, 1, count))
        self._volume, self._value = self._volume + size, self._value + size * self._price
        self._high, self._low = np.maximum(self._high, self._price), np.minimum(self._low, self._price)
        tables = []
        for timeframe, length in (("1m", MINUTE_NS), ("1d", DAY_NS)):
            columns = self._head(self.names, timeframe, np.full(count, now // length * length), length)
            columns |= {
                "open": self._open,
                "high": self._high,
                "low": self._low,
                "close": self._price,
                "volume": self._volume,
            }
            columns |= {"vwap": self._value / self._volume, "trade_count": (self._volume // 40).astype(int)}
            columns |= {"event_time_ns": np.full(count, now), "ingest_time_ns": np.full(count, now)}
            half = np.round(np.maximum(0.01, self._price * 1e-4), 2)
            columns |= {
                "bid": np.round(self._price - half, 2),
                "bid_size": size * 10,
                "ask": np.round(self._price + half, 2),
                "ask_size": size * 8,
            }
            tables.append(self._batch("live", columns, LIVE).rows)
        rows = pa.Table.from_batches(tables).combine_chunks().to_batches()[0]
        return FeedBatch("live", rows, now // 10**6)

    def _head(self, names, timeframe: str, opens_ns, length: int) -> dict:  # type: ignore[no-untyped-def, type-arg]
        count = len(names)
        return {
            "symbol": names, "timeframe": [timeframe] * count, "open_time_ns": opens_ns, "close_time_ns": opens_ns + length,
            "source": ["simulate"] * count, "venue": ["XNAS" if name[0] < "N" else "XNYS" for name in names],
            "session_date": pa.array(opens_ns // DAY_NS, pa.int32()).cast(pa.date32()),
        }  # fmt: skip

    def _batch(self, topic, columns, schema: pa.Schema) -> FeedBatch:  # type: ignore[no-untyped-def]
        arrays = [c if isinstance(c, pa.Array) else pa.array(c, f.type) for f in schema for c in [columns[f.name]]]
        return FeedBatch(topic, pa.RecordBatch.from_arrays(arrays, schema=schema), time.time_ns() // 10**6)
