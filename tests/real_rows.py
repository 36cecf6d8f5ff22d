"""The bundled real prices as rows of the lake, written by the sink that the pipeline writes with."""

import json
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import polars as pl
import pyarrow as pa

from marketpulse.model.tables import TABLES
from marketpulse.ports import SinkBatch
from marketpulse.settings import Settings
from marketpulse.sinks import open_sink

DATA = Path(__file__).parents[1] / "src" / "marketpulse" / "data"
DAILY = ("AAPL", "IBM", "KO", "MSFT")
NEW_YORK = ZoneInfo("America/New_York")
MINUTE_NS, DAY_NS = 60 * 10**9, 86_400 * 10**9


def _ns(moment: datetime) -> int:
    return int(moment.timestamp()) * 10**9


@cache
def daily(symbol: str) -> pl.DataFrame:
    """754 real days: date, open, high, low, close, volume."""
    return pl.read_csv(DATA / "daily" / f"{symbol}.csv", try_parse_dates=True)


@cache
def minutes() -> pl.DataFrame:
    """SPY, four sessions: date (New York), open, high, low, close, volume."""
    frame = pl.read_csv(DATA / "minutes" / "SPY.csv", encoding="utf8-lossy")
    return frame.rename({frame.columns[0]: "date"}).with_columns(pl.col("date").str.to_datetime("%Y-%m-%d %H:%M"))


def real_bars() -> pa.Table:
    """The schema of `bars`: days of four symbols (open_time_ns: midnight UTC) and SPY's minutes."""
    rows = []
    for symbol in DAILY:
        for row in daily(symbol).iter_rows(named=True):
            opened = _ns(datetime.combine(row["date"], datetime.min.time(), UTC))
            rows.append({"symbol": symbol, "timeframe": "1d", "open_time_ns": opened, "close_time_ns": opened + DAY_NS, **_prices(row)})  # fmt: skip
    for row in minutes().iter_rows(named=True):
        opened = _ns(row["date"].replace(tzinfo=NEW_YORK))
        rows.append({"symbol": "SPY", "timeframe": "1m", "open_time_ns": opened, "close_time_ns": opened + MINUTE_NS, **_prices(row)})  # fmt: skip
    return pa.Table.from_pylist(rows, schema=TABLES["bars"][1])


def real_trades() -> pa.Table:
    """The schema of `trades`: each minute of SPY as one trade of its volume at its close."""
    rows = [
        {"type": "trade", "symbol": "SPY", "source": "file", "event_time_ns": _ns(row["date"].replace(tzinfo=NEW_YORK)),
         "price": row["close"], "size": float(row["volume"]), "topic": "market", "partition": 0, "offset": i, "row": 0}
        for i, row in enumerate(minutes().iter_rows(named=True))
    ]  # fmt: skip
    return pa.Table.from_pylist(rows, schema=TABLES["trades"][1])


def _prices(row: dict[str, float]) -> dict[str, float | int | str]:
    return {
        **{name: float(row[name]) for name in ("open", "high", "low", "close", "volume")},
        "revision": 0, "source": "file",
    }  # fmt: skip


def store(settings: Settings, table: str, rows: pa.Table, topic: str, partition: int = 0) -> None:
    """Rows of one partition, through the lake's own sink."""
    sink = open_sink(settings, "lake")
    sink.resume()
    whole = rows.combine_chunks().to_batches()[0]
    sink.write(SinkBatch(table, topic, partition, 0, len(whole), whole))
    sink.flush()
    sink.close()


def store_real_rows(data_dir: Path) -> Settings:
    """A lake with all of them."""
    settings = Settings(data_dir=data_dir)
    store(settings, "bars", real_bars(), "bars")
    store(settings, "trades", real_trades(), "market")
    return settings


FEB_13_NS = 12_096 * DAY_NS  # 2003-02-13
PUBLISHED = [(0, 46.99, 23.42), (1, 48.30, 24.07), (5, 24.96, 24.88), (6, 24.53, 24.53)]
"""Yahoo's example of its adjusted closes: days, Microsoft's close, the same adjusted. It split 2 for 1 on the 18th and
paid 0.08 for a share on the 19th."""


def bar(day: int, close: float, symbol: str = "MSFT", **other: Any) -> dict[str, Any]:
    at, prices = FEB_13_NS + day * DAY_NS, dict.fromkeys(("open", "high", "low", "close", "vwap"), close)
    head = {"symbol": symbol, "timeframe": "1d", "open_time_ns": at, "close_time_ns": at + DAY_NS, "source": "files"}
    return {**head, **prices, "volume": 100.0, "trade_count": 7, "revision": 0, **other}


def event(kind: str, day: int, value: float, offset: int = 0, symbol: str = "MSFT", **other: Any) -> dict[str, Any]:
    at = FEB_13_NS + day * DAY_NS
    place = {"topic": other.pop("topic", "market"), "partition": 0, "offset": offset, "row": 0}
    head = {"type": kind, "symbol": symbol, "source": other.pop("source", "files"), "event_time_ns": at, **place}
    return {**head, "body": json.dumps({"ratio" if kind == "split" else "amount": value, "ex_time_ns": at, **other})}
