"""A live feed that moves without a broker: a seeded walk of a few symbols, with history.

It keeps the promises of ports.LiveFeed with the contract's schemas, so whatever reads a feed can
be driven by it. Indicator values are computed with pandas; they only have to look like the real ones.
"""

import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
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
    "AAPL": (227.4, "simulate"), "AMZN": (201.2, "simulate"), "BTC-USD.COINBASE": (97_412.5, "simulate"),
    "GOOG": (178.1, "simulate"), "IBM": (221.9, "simulate"), "JPM": (243.6, "simulate"), "KO": (62.3, "simulate"),
    "META": (563.7, "simulate"), "MSFT": (417.8, "simulate"), "NFLX": (884.2, "simulate"), "NVDA": (146.7, "simulate"),
    "SPY": (593.1, "replay"), "TSLA": (342.0, "simulate"), "XOM": (121.4, "simulate"),
}  # fmt: skip


@dataclass
class _Market:
    """One symbol: closed bars and the forming bar of each timeframe."""

    price: float
    source: str
    bars: dict[str, list[list[float]]] = field(default_factory=dict)  # open_s o h l c volume value trades
    forming: dict[str, list[float]] = field(default_factory=dict)


def indicator_values(bars: list[list[float]]) -> pd.DataFrame:
    table = pd.DataFrame(bars, columns=["t", "o", "h", "l", "c", "v", "value", "n"])
    close, out = table.c, {}
    out["sma_20"] = close.rolling(20).mean()
    for n in (12, 26):
        out[f"ema_{n}"] = close.ewm(span=n, adjust=False).mean().where(close.index >= n - 1)
    move = close.diff()
    gain, loss = (move.clip(lower=0)).ewm(alpha=1 / 14).mean(), (-move.clip(upper=0)).ewm(alpha=1 / 14).mean()
    out["rsi_14"] = (100 * gain / (gain + loss)).where(close.index >= 14)
    macd = out["ema_12"] - out["ema_26"]
    signal = macd.ewm(span=9, adjust=False).mean()
    out |= {"macd_12_26_9": macd, "macd_12_26_9_signal": signal, "macd_12_26_9_hist": macd - signal}
    deviation = close.rolling(20).std(ddof=0)
    out["bbands_20_2_upper"] = out["sma_20"] + 2 * deviation
    out["bbands_20_2_middle"] = out["sma_20"]
    out["bbands_20_2_lower"] = out["sma_20"] - 2 * deviation
    day = (table.t // 86_400).astype(int)
    out["vwap"] = table.value.groupby(day).cumsum() / table.v.groupby(day).cumsum()
    spread = np.maximum(table.h, close.shift()) - np.minimum(table.l, close.shift())
    out["atr_14"] = spread.ewm(alpha=1 / 14).mean().where(close.index >= 14)
    out["realized_volatility_20"] = np.log(close).diff().rolling(20).std()
    out["volume_sma_20"] = table.v.rolling(20).mean()
    return pd.DataFrame(out)[NAMES]


class MovingFeed:
    """Implements LiveFeed. `away` plays a broker that is away; `frozen` a market where nothing trades."""

    def __init__(self, symbols: int = 14, history: int = 420, seed: int = 7, empty: bool = False) -> None:
        self.away = self.frozen = False
        self.dead_letters = 3
        self._random = np.random.default_rng(seed)
        self._records, self._bars = 184_220, 9_310
        self._now = int(time.time())
        names = list(MARKET) + [f"SYM{i:03d}" for i in range(max(0, symbols - len(MARKET)))]
        self._market = {
            name: _Market(*MARKET.get(name, (float(self._random.uniform(5, 400)), "simulate")))
            for name in ([] if empty else names[:symbols])
        }
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
                for timeframe, bars in market.bars.items():
                    yield from self._closed(name, timeframe, bars[-400:], indicator_values(bars).iloc[-400:])
        if self._market and not self.frozen:
            yield from self._trade()

    def stats(self) -> PipelineStats:
        lag = int(self._random.integers(0, 40))
        return PipelineStats(self._records, lag, self.dead_letters, self._bars, not self.away)

    def close(self) -> None:
        self.away = True

    def _make_history(self, market: _Market, timeframe: str, bars: int) -> None:
        """Bars that end at the present price, with clustered volatility and a daily swell of volume."""
        length, draw = SECONDS[timeframe], self._random
        calm = np.exp(0.35 * np.convolve(draw.normal(size=bars + 30), np.ones(30) / 5.5, "valid")[:bars])
        steps = draw.standard_t(5, bars) * calm * 0.00022 * length**0.5 / 2.2 + 0.000004 * length**0.5
        closes = market.price * np.exp(np.cumsum(steps) - steps.sum())
        opens = np.concatenate([[closes[0] * (1 - steps[0])], closes[:-1]])
        reach = np.abs(draw.normal(size=(2, bars))) * np.abs(steps).mean() * closes * 0.7
        volumes = draw.lognormal(4.5 + np.log(length) * 0.7, 0.55, bars) * (0.6 + calm * 0.6)
        last = (self._now // length) * length
        rows = []
        for i in range(bars):
            o, c = float(opens[i]), float(closes[i])
            high, low = max(o, c) + float(reach[0, i]), min(o, c) - float(reach[1, i])
            v = float(np.round(volumes[i]))
            rows.append(
                [float(last - (bars - i) * length), o, high, low, c, v, v * (o + c + high + low) / 4, v // 9]
            )
        market.bars[timeframe] = rows

    def _trade(self) -> Iterator[FeedBatch]:
        now_ns, draw = time.time_ns(), self._random
        self._now = now_ns // 10**9
        self._records += int(draw.integers(180, 260))
        traded = [name for name in self._market if draw.random() < 0.45]
        rows: list[dict[str, Any]] = []
        for name, market in self._market.items():
            for timeframe in SECONDS:
                yield from self._close_what_is_over(name, market, timeframe)
        for name in traded:
            market = self._market[name]
            market.price *= float(np.exp(draw.standard_t(5) * 0.00012))
            size = float(np.ceil(draw.lognormal(3, 1)))
            for timeframe in SECONDS:
                self._add(market, timeframe, market.price, size)
                rows.append(self._live_row(name, market, timeframe, now_ns))
        if rows:
            yield FeedBatch("live", pa.RecordBatch.from_pylist(rows, live_schema(NAMES)), now_ns // 10**6)

    def _add(self, market: _Market, timeframe: str, price: float, size: float) -> None:
        open_s = float(self._now // SECONDS[timeframe] * SECONDS[timeframe])
        bar = market.forming.setdefault(timeframe, [open_s, price, price, price, price, 0.0, 0.0, 0.0])
        bar[2], bar[3], bar[4] = max(bar[2], price), min(bar[3], price), price
        bar[5] += size
        bar[6] += size * price
        bar[7] += 1

    def _close_what_is_over(self, name: str, market: _Market, timeframe: str) -> Iterator[FeedBatch]:
        bar = market.forming.get(timeframe)
        if bar is not None and bar[0] + SECONDS[timeframe] <= self._now:
            del market.forming[timeframe]
            market.bars[timeframe] = [*market.bars[timeframe][-500:], bar]
            yield from self._closed(
                name, timeframe, [bar], indicator_values(market.bars[timeframe][-90:]).iloc[-1:]
            )

    def _live_row(self, name: str, market: _Market, timeframe: str, now_ns: int) -> dict[str, Any]:
        bar = market.forming[timeframe]
        values = indicator_values([*market.bars[timeframe][-90:], bar]).iloc[-1].to_dict()
        row = self._head(name, market, timeframe, bar)
        row |= {"event_time_ns": now_ns, "ingest_time_ns": now_ns - int(self._random.gamma(4, 3e6))}
        return row | {LIVE_NAME.get(str(k), str(k)): None if v != v else float(v) for k, v in values.items()}

    def _head(self, name: str, market: _Market, timeframe: str, bar: list[float]) -> dict[str, Any]:
        open_ns = int(bar[0]) * 10**9
        return {
            "symbol": name, "timeframe": timeframe, "open_time_ns": open_ns,
            "close_time_ns": open_ns + SECONDS[timeframe] * 10**9, "open": bar[1], "high": bar[2], "low": bar[3],
            "close": bar[4], "volume": bar[5], "vwap": bar[6] / bar[5] if bar[5] else None, "trade_count": int(bar[7]),
            "revision": 0, "source": market.source, "venue": None if "." in name else "XNAS",
            "session_date": int(bar[0]) // 86_400,
        }  # fmt: skip

    def _closed(
        self, name: str, timeframe: str, bars: list[list[float]], values: pd.DataFrame
    ) -> Iterator[FeedBatch]:
        market, now_ms = self._market[name], time.time_ns() // 10**6
        self._bars += len(bars)
        heads = [
            self._head(name, market, timeframe, bar)
            | {"receipt": {"topic": "market", "partition": 0, "first_offset": 0, "first_row": 0, "last_offset": 9,
                           "last_row": 0, "late_count": 0, "engine_version": "1"}}
            for bar in bars
        ]  # fmt: skip
        yield FeedBatch("bars", pa.RecordBatch.from_pylist(heads, BAR), now_ms)
        rows = [
            head | {k: None if v != v else float(v) for k, v in row.items()}
            for head, row in zip(heads, values.to_dict("records"), strict=True)
        ]
        yield FeedBatch("indicators", pa.RecordBatch.from_pylist(rows, indicators_schema(NAMES)), now_ms)
