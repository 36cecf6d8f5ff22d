"""A live feed that moves without a broker: a seeded walk of a few symbols, with history.

It keeps the promises of ports.LiveFeed with the contract's schemas, so whatever reads a feed can
be driven by it. Its indicator values only have to look like the real ones: nothing is checked
against them but that the page shows what the feed said.
"""

import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa

from marketpulse.model.rows import BAR, LIVE_NAME, indicators_schema, live_schema
from marketpulse.ports import FeedBatch, PipelineStats

SECONDS = {"1s": 1, "1m": 60, "5m": 300, "1h": 3600, "1d": 86_400}
NAMES = [
    "sma_20", "ema_12", "ema_26", "rsi_14", "macd_12_26_9", "macd_12_26_9_signal", "macd_12_26_9_hist",
    "bbands_20_2_upper", "bbands_20_2_middle", "bbands_20_2_lower", "vwap", "atr_14", "realized_volatility_20",
    "volume_sma_20",
]  # fmt: skip
MARKET = {
    "AAPL": (227.4, "simulate"), "BTC-USD.COINBASE": (97_412.5, "simulate"), "GOOG": (178.1, "simulate"),
    "JPM": (243.6, "simulate"), "KO": (62.3, "simulate"), "META": (563.7, "simulate"), "MSFT": (417.8, "simulate"),
    "SPY": (593.1, "replay"), "AMZN": (201.2, "simulate"), "IBM": (221.9, "simulate"), "NFLX": (884.2, "simulate"),
    "NVDA": (146.7, "simulate"), "TSLA": (342.0, "simulate"), "XOM": (121.4, "simulate"),
}  # fmt: skip
RECEIPT = {
    "topic": "market", "partition": 0, "first_offset": 0, "first_row": 0, "last_offset": 9, "last_row": 0,
    "late_count": 0, "engine_version": "1",
}  # fmt: skip


@dataclass
class _Bar:
    open_s: int
    open: float
    high: float
    low: float
    close: float
    volume: float = 0.0
    value: float = 0.0
    trades: int = 0


def values_of(bar: _Bar, bars_before: int) -> list[float | None]:
    """One for each of NAMES, about as large as it is at such a price; none before its warm-up is over."""
    close, reach, middle = bar.close, bar.high - bar.low, (bar.high + bar.low) / 2
    values = (
        middle, middle + reach / 8, middle - reach / 8, 100 * (close - bar.low) / reach if reach else 50.0, reach / 4, reach / 8,
        reach / 8, middle + 2 * reach, middle, middle - 2 * reach, bar.value / bar.volume if bar.volume else None, reach,
        reach / close, bar.volume,
    )  # fmt: skip
    ready = (19, 11, 25, 14, 33, 33, 33, 19, 19, 19, 0, 14, 20, 19)
    return [value if bars_before >= first else None for value, first in zip(values, ready, strict=True)]


@dataclass
class _Market:
    price: float
    source: str
    forming: dict[str, _Bar] = field(default_factory=dict)
    closed: dict[str, int] = field(default_factory=lambda: dict.fromkeys(SECONDS, 0))
    history: dict[str, list[_Bar]] = field(default_factory=dict)


class MovingFeed:
    """Implements LiveFeed. `away` plays a broker that is away; `frozen` a market where nothing trades."""

    def __init__(self, symbols: int = 14, history: int = 400, seed: int = 7) -> None:
        self.away = self.frozen = False
        self.dead_letters = 3
        self._random = np.random.default_rng(seed)
        self._records, self._bars = 184_220, 9_310
        self._now = int(time.time())
        names = [*MARKET, *(f"SYM{i:04d}" for i in range(symbols - len(MARKET)))][:symbols]
        others = [(round(float(self._random.uniform(5, 400)), 2), "simulate") for _ in names]
        self._market = {name: _Market(*MARKET.get(name, other)) for name, other in zip(names, others, strict=True)}
        for market in self._market.values():
            for timeframe in SECONDS:
                self._make_history(market, timeframe, history)
        self._untold = bool(self._market)

    def batches(self, timeout_s: float) -> Iterator[FeedBatch]:
        time.sleep(timeout_s)
        if self.away:
            return
        if self._untold:
            self._untold = False
            for name, market in self._market.items():
                for timeframe, bars in market.history.items():
                    yield from self._closed(name, timeframe, bars)
        if self._market and not self.frozen:
            yield from self._trade()

    def stats(self) -> PipelineStats:
        lag = int(self._random.integers(0, 40))
        return PipelineStats(self._records, lag, self.dead_letters, self._bars, not self.away)

    def close(self) -> None:
        self.away = True

    def _make_history(self, market: _Market, timeframe: str, bars: int) -> None:
        """Bars that end at the present price."""
        length, draw = SECONDS[timeframe], self._random
        steps = draw.standard_t(5, bars) * 0.0001 * length**0.5 + 0.000004 * length**0.5
        closes = np.round(market.price * np.exp(np.cumsum(steps) - steps.sum()), 2)
        opens = np.concatenate([closes[:1], closes[:-1]])
        reach = np.round(np.abs(draw.normal(size=(2, bars))) * np.abs(steps).mean() * closes * 0.7, 2)
        volumes = np.round(draw.lognormal(4.5 + np.log(length) * 0.7, 0.55, bars))
        last = (self._now // length) * length
        history = market.history[timeframe] = []
        for i, (o, c, v) in enumerate(zip(opens.tolist(), closes.tolist(), volumes.tolist(), strict=True)):
            high, low = max(o, c) + float(reach[0, i]), min(o, c) - float(reach[1, i])
            value = v * (o + c + high + low) / 4
            history.append(_Bar(last - (bars - i) * length, o, high, low, c, v, value, int(v) // 9))

    def _trade(self) -> Iterator[FeedBatch]:
        now_ns, draw = time.time_ns(), self._random
        self._now = now_ns // 10**9
        self._records += int(draw.integers(180, 260))
        rows: list[dict[str, Any]] = []
        for name, market in self._market.items():
            for timeframe in SECONDS:
                yield from self._close_what_is_over(name, market, timeframe)
            if draw.random() >= 0.45:
                continue
            market.price = round(market.price * float(np.exp(draw.standard_t(5) * 0.00012)), 2)
            size = float(np.ceil(draw.lognormal(3, 1)))
            for timeframe in SECONDS:
                bar = self._add(market, timeframe, market.price, size)
                rows.append(self._live_row(name, market, timeframe, bar))
        if rows:
            yield FeedBatch("live", pa.RecordBatch.from_pylist(rows, live_schema(NAMES)), now_ns // 10**6)

    def _add(self, market: _Market, timeframe: str, price: float, size: float) -> _Bar:
        open_s = self._now // SECONDS[timeframe] * SECONDS[timeframe]
        bar = market.forming.setdefault(timeframe, _Bar(open_s, price, price, price, price))
        bar.high, bar.low, bar.close = max(bar.high, price), min(bar.low, price), price
        bar.volume += size
        bar.value += size * price
        bar.trades += 1
        return bar

    def _close_what_is_over(self, name: str, market: _Market, timeframe: str) -> Iterator[FeedBatch]:
        bar = market.forming.get(timeframe)
        if bar is not None and bar.open_s + SECONDS[timeframe] <= self._now:
            del market.forming[timeframe]
            yield from self._closed(name, timeframe, [bar])

    def _live_row(self, name: str, market: _Market, timeframe: str, bar: _Bar) -> dict[str, Any]:
        values = values_of(bar, market.closed[timeframe])
        now_ns = time.time_ns()
        row = self._head(name, market, timeframe, bar)
        if name != "KO":  # a symbol without quotes
            half = round(max(0.01, market.price * 0.0001), 2)
            book = (market.price - half, 300.0, market.price + half, 1_200.0)
            row |= dict(zip(("bid", "bid_size", "ask", "ask_size"), book, strict=True))
        row |= {"event_time_ns": now_ns, "ingest_time_ns": now_ns - int(self._random.gamma(4, 3e6))}
        return row | {LIVE_NAME.get(k, k): v for k, v in zip(NAMES, values, strict=True)}

    def _head(self, name: str, market: _Market, timeframe: str, bar: _Bar) -> dict[str, Any]:
        open_ns = bar.open_s * 10**9
        return {
            "symbol": name, "timeframe": timeframe, "open_time_ns": open_ns,
            "close_time_ns": open_ns + SECONDS[timeframe] * 10**9, "open": bar.open, "high": bar.high, "low": bar.low,
            "close": bar.close, "volume": bar.volume, "vwap": bar.value / bar.volume if bar.volume else None,
            "trade_count": bar.trades, "revision": 0, "source": market.source,
            "venue": None if "." in name else "XNAS", "session_date": bar.open_s // 86_400,
        }  # fmt: skip

    def _closed(self, name: str, timeframe: str, bars: list[_Bar]) -> Iterator[FeedBatch]:
        market, now_ms = self._market[name], time.time_ns() // 10**6
        self._bars += len(bars)
        heads = [self._head(name, market, timeframe, bar) | {"receipt": RECEIPT} for bar in bars]
        yield FeedBatch("bars", pa.RecordBatch.from_pylist(heads, BAR), now_ms)
        values = [values_of(bar, i) for i, bar in enumerate(bars, market.closed[timeframe])]
        market.closed[timeframe] += len(bars)
        rows = [head | dict(zip(NAMES, of, strict=True)) for head, of in zip(heads, values, strict=True)]
        yield FeedBatch("indicators", pa.RecordBatch.from_pylist(rows, indicators_schema(NAMES)), now_ms)
