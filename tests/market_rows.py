"""Builds batches of `market` rows, splits among them, for the engine's tests, and reads its results back."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from marketpulse.engine.checkpoint import state_from_bytes, state_to_bytes
from marketpulse.engine.config import EngineConfig
from marketpulse.engine.rows import bar_rows, indicator_rows, told_alert_rows
from marketpulse.engine.state import PartitionState, new_state
from marketpulse.engine.step import CLOSED_MOST, QuoteCounts, Stepper, StepResult
from marketpulse.indicators.bar_columns import ASK, ASK_SIZE, BID, BID_SIZE, CLOSE, HIGH, LOW, OPEN, VOLUME
from marketpulse.indicators.catalogue import parse_indicators
from marketpulse.model.market import KIND_OF_TYPE, Kind, MarketBatch, StringTable
from marketpulse.model.timeframe import parse_timeframes

MIDNIGHT_NS = 1_767_225_600 * 10**9  # 2026-01-01T00:00:00Z
Row = dict[str, Any]


def at(seconds: float) -> int:
    """Seconds after midnight -> nanoseconds."""
    return MIDNIGHT_NS + round(seconds * 10**9)


def trade(symbol: str, seconds: float, price: float, size: float, source: str = "feed", **more: Any) -> Row:
    named = {"type": "trade", "symbol": symbol, "source": source}
    return {**named, "event_time_ns": at(seconds), "price": price, "size": size, **more}


def quote(
    symbol: str, seconds: float, bid: float, ask: float, sizes: Sequence[float] = (1, 1), source: str = "feed", **more: Any
) -> Row:  # fmt: skip
    """`sizes` are the bid's and the ask's."""
    prices = {"bid": bid, "bid_size": sizes[0], "ask": ask, "ask_size": sizes[1]}
    return {"type": "quote", "symbol": symbol, "source": source, "event_time_ns": at(seconds), **prices, **more}


def correction(symbol: str, trade_id: str, price: float, size: float, seconds: float = 0, source: str = "feed") -> Row:
    return {**cancel(symbol, trade_id, seconds, source), "type": "correction", "price": price, "size": size}


def cancel(symbol: str, trade_id: str, seconds: float = 0, source: str = "feed") -> Row:
    return {"type": "cancel", "symbol": symbol, "source": source, "event_time_ns": at(seconds), "trade_id": trade_id}


def heartbeat(seconds: float, source: str = "feed", log: float | None = None) -> Row:
    log_time_ns = at(seconds if log is None else log)
    return {"type": "heartbeat", "source": source, "event_time_ns": at(seconds), "log_time_ns": log_time_ns}


def clock(log: float) -> Row:
    return {"type": "clock", "log_time_ns": at(log), "event_time_ns": 0}


def hello(source: str = "feed", mode: str = "live", **more: Any) -> Row:
    return {"type": "hello", "source": source, "mode": mode, "run_id": "1", "event_time_ns": 0, **more}


def goodbye(source: str = "feed", **more: Any) -> Row:
    return {"type": "goodbye", "source": source, "event_time_ns": 0, **more}


def control(action: str, **more: Any) -> Row:
    """A change of the alert rules: `put_rule` with `rule`, or `remove_rule` with `name`."""
    return {"type": "control", "event_time_ns": at(0), "change": {"action": action, **more}}


def logged(value: bytes) -> Row:
    """A rare record, by its value in the log."""
    return {**orjson.loads(value), "event_time_ns": 0}


def bar(
    symbol: str, timeframe: str, opens: float, closes: float, ohlcv: Sequence[float], source: str = "feed", **more: Any
) -> Row:
    return {
        "type": "bar", "symbol": symbol, "source": source, "timeframe": timeframe, "event_time_ns": at(closes),
        "open_time_ns": at(opens), "close_time_ns": at(closes), "ohlcv": tuple(ohlcv), **more,
    }  # fmt: skip


def batch_of(rows: Sequence[Row], first_offset: int, strings: StringTable) -> MarketBatch:
    """The rows as records one after the other."""
    batch = MarketBatch.empty("market", 0, strings, len(rows))
    ids = b""
    for i, row in enumerate(rows):
        kind = KIND_OF_TYPE[row["type"]]
        batch.kind[i] = kind
        for name in ("symbol", "source", "venue", "timeframe"):
            if row.get(name) is not None:
                getattr(batch, name)[i] = strings.intern(row[name])
        batch.event_time_ns[i] = row["event_time_ns"]
        if "log_time_ns" in row:
            batch.log_time_ns[i] = row["log_time_ns"]
        batch.offset[i] = first_offset + i
        if kind == Kind.TRADE:
            batch.a[i], batch.b[i] = row["price"], row["size"]
            batch.ingest_time_ns[i] = row.get("ingest_time_ns", -1)
            if (trade_id := row.get("trade_id")) is not None:
                batch.trade_id_start[i], batch.trade_id_length[i] = len(ids), len(trade_id)
                ids += trade_id.encode()
        elif kind == Kind.QUOTE:
            batch.a[i], batch.b[i], batch.c[i], batch.d[i] = row["bid"], row["bid_size"], row["ask"], row["ask_size"]
            batch.ingest_time_ns[i] = row.get("ingest_time_ns", -1)
        elif kind == Kind.BAR:
            batch.a[i], batch.b[i], batch.c[i], batch.d[i], batch.e[i] = row["ohlcv"]
            batch.f[i] = row.get("vwap", float("nan"))
            batch.open_time_ns[i], batch.close_time_ns[i] = row["open_time_ns"], row["close_time_ns"]
            batch.trade_count[i] = row.get("trade_count", -1)
            batch.final[i] = row.get("final", True)
            batch.session_date[i] = row.get("session_date", -1)
        elif kind > Kind.CLOCK:
            batch.rare[i] = row
    batch.data = np.frombuffer(ids, np.uint8)
    return batch


def config_of(frames: Sequence[str], indicators: str = "", **more: Any) -> EngineConfig:
    return EngineConfig(parse_timeframes(list(frames)), parse_indicators(indicators), **more)


class Engine:
    """A stepper with a state and a log of its own: `feed` appends rows and returns what they gave."""

    def __init__(self, config: EngineConfig, state: PartitionState | None = None, closed_most: int = CLOSED_MOST):
        self.config, self.stepper, self.strings = config, Stepper(config, closed_most), StringTable()
        self.state = new_state(config) if state is None else state
        self.offset = 0

    def steps(self, rows: Sequence[Row]) -> Iterator[StepResult]:
        """What each step gives that these rows need."""
        batch = batch_of(rows, self.offset, self.strings)
        self.offset += len(rows)
        for state, result in self.stepper.steps(self.state, batch):
            self.state = state
            yield result

    def step(self, rows: Sequence[Row]) -> StepResult:
        """What they give together."""
        parts = list(self.steps(rows))
        arrays = {
            name: [getattr(part, name) for part in parts]
            for name in ("closed", "indicated", "values", "found", "behind")
        }
        joined: dict[str, Any] = {name: np.concatenate(some) for name, some in arrays.items()}
        joined |= {name: [one for part in parts for one in getattr(part, name)] for name in ("alerts", "refused")}
        for name in ("out_of_session", "late", "duplicates"):
            joined[name] = sum(getattr(part, name) for part in parts)
        joined["quotes"] = QuoteCounts(*map(sum, zip(*(part.quotes for part in parts), strict=True)))
        return replace(parts[-1], **joined)

    def alerts(self, *rows: Row) -> list[dict[str, Any]]:
        """What these rows told of alerts."""
        return self.alert_rows(self.step(rows))

    def alert_rows(self, result: StepResult) -> list[dict[str, Any]]:
        told = [told_alert_rows(self.state, self.config, part, "market", 0) for part in result.alerts]
        return [row for batch in told for row in batch.to_pylist()]

    def refusals(self, *rows: Row) -> list[str]:
        """Why rows of these were refused, in their order."""
        return [refusal.reason for refusal in self.step(rows).refused]

    def bars(self, result: StepResult) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = bar_rows(self.state, self.config, result.closed, "market", 0).to_pylist()
        return found

    def feed(self, *rows: Row) -> list[dict[str, Any]]:
        """The bars that these rows closed."""
        return self.bars(self.step(rows))

    def values(self, *rows: Row) -> list[dict[str, Any]]:
        """The indicator rows that these rows gave."""
        result = self.step(rows)
        batch = indicator_rows(self.state, self.config, result.indicated, result.values, "market", 0)
        found: list[dict[str, Any]] = batch.to_pylist()
        return found

    def restarted(self, config: EngineConfig | None = None) -> "Engine":
        """Another one that goes on from this one's snapshot, under this configuration or another."""
        config = config or self.config
        fresh = Engine(config, state_from_bytes(state_to_bytes(self.state, self.config), config))
        fresh.offset = self.offset
        return fresh


def span(bar: dict[str, Any]) -> tuple[float, float]:
    """A bar's [open, close) in seconds after midnight."""
    return (bar["open_time_ns"] - MIDNIGHT_NS) / 1e9, (bar["close_time_ns"] - MIDNIGHT_NS) / 1e9


PRICES, SIZES = [OPEN, HIGH, LOW, CLOSE, BID, ASK], [VOLUME, BID_SIZE, ASK_SIZE]
Floats = NDArray[np.float64]


def split(symbol: str, ex: float, ratio: float, seconds: float = 0, source: str = "feed", **more: Any) -> Row:
    """A record that says at `seconds` that so many new shares stand for an old one from `ex` on."""
    return {
        "type": "split", "symbol": symbol, "source": source, "event_time_ns": at(seconds), "ratio": ratio,
        "ex_time_ns": at(ex), **more,
    }  # fmt: skip


def adjusted(bars: Floats, ratio: float) -> Floats:
    """Bars (n, 10) of before a split as they stand in the units behind it."""
    found = bars.copy()
    found[:, PRICES] /= ratio
    found[:, SIZES] *= ratio
    return found
