"""A lake in a directory of its own: filled row by row through the sink, with the bundled real prices too, and read by
pyiceberg on its own catalogue."""

import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import polars as pl
import pyarrow as pa
import pytest
from pyiceberg.catalog.sql import SqlCatalog
from pyiceberg.exceptions import NoSuchNamespaceError, NoSuchTableError

from marketpulse.catalog import open_lake, open_visible
from marketpulse.clock import ManualClock
from marketpulse.model.rows import indicators_schema
from marketpulse.model.tables import TABLES
from marketpulse.ports import SinkBatch
from marketpulse.settings import Settings
from marketpulse.sinks import open_sink
from marketpulse.sinks.lake_chores import Chores
from sink_stores import Row, Store

_BAR = ("symbol", "timeframe", "open_time_ns")
_KEYS = {"bars": _BAR, "indicators": _BAR, "alerts": ("symbol", "rule", "event_time_ns")}
_TIMES = {"event_time", "open_time", "close_time"}


class LakeStore(Store):
    """The place of one lake."""

    name = "lake"

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._away = directory.with_name(directory.name + ".away")

    def section(self) -> Mapping[str, Any]:
        return {"url": str(self.directory)}

    def history(self, table: str) -> list[Row]:
        """Every row of the table, as a reader that knows nothing of us sees it."""
        return iceberg_rows(SqlCatalog("marketpulse", uri=f"sqlite:///{self.directory}/catalog.db"), table)

    def rows(self, table: str) -> list[Row]:
        return current(table, self.history(table))

    def stop(self) -> None:
        """Something else stands where the directory was, as when a disk is not mounted."""
        self.directory.rename(self._away)
        self.directory.write_text("")

    def start(self) -> None:
        self.directory.unlink()
        self._away.rename(self.directory)


def iceberg_rows(catalog: Any, table: str, namespace: str = "marketpulse") -> list[Row]:
    """The table's rows by pyiceberg's own scan, under the contract's names."""
    try:
        found = catalog.load_table((namespace, table)).scan().to_arrow()
    except (NoSuchTableError, NoSuchNamespaceError):
        return []
    times = [name for name in found.column_names if name in _TIMES]
    for row in found.to_pylist():
        for name in times:
            assert row[name] is None or round(row[name].timestamp() * 1e6) == row[f"{name}_ns"] // 1_000
    rows: list[Row] = found.drop_columns(times).to_pylist()
    return rows


def current(table: str, rows: list[Row]) -> list[Row]:
    """The last revision of each, without those that are withdrawn."""
    if table not in _KEYS:
        return rows
    newest: dict[tuple[Any, ...], Row] = {}
    for row in sorted(rows, key=lambda row: row["revision"] or 0):
        newest[tuple(row[name] for name in _KEYS[table])] = row
    return [row for row in newest.values() if row.get("close", 1) is not None and row.get("state") != "withdrawn"]


@pytest.fixture
def lake_store(tmp_path: Path) -> Iterator[LakeStore]:
    store = LakeStore(tmp_path / "a lake")
    yield store
    shutil.rmtree(store.directory, ignore_errors=True)


NOW_NS = 1_715_000_000 * 10**9
_LATER_NS = 10**18  # behind every file's time on the disk


class LakeRows:
    """One lake, and the end of its one partition."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.end = 0

    def add(self, table: str, rows: Sequence[dict[str, Any]], columns: Sequence[str] = ()) -> list[str]:
        """Store rows of a table, with these indicators; the paths of the files that hold them."""
        schema = indicators_schema(list(columns)) if table == "indicators" else TABLES[table][1]
        sink = open_sink(self.settings, "lake", ManualClock(NOW_NS + self.end * 10**9))
        before = set(self.files(table))
        batch = pa.RecordBatch.from_pylist(list(rows), schema=schema)
        sink.write(SinkBatch(table, TABLES[table][0], 0, self.end, self.end + 1, batch))
        sink.flush()
        sink.close()
        self.end += 1
        return [path for path in self.files(table) if path not in before]

    def files(self, table: str) -> list[str]:
        """The visible files, oldest first."""
        return [file.path for file in open_visible(self.settings).read([table])[table].files]

    def chores(self, now_ns: int = 0) -> Chores:
        """As a process does them that has just started, now or at this time."""
        import time

        return Chores(open_lake(self.settings), self.settings, ManualClock(now_ns or time.time_ns()))

    def merge(self, table: str) -> None:
        """Make one file of a table's, and remove the others from the disk."""
        self.chores().compact(table)
        self.chores(_LATER_NS * 2).expire(table)

    @property
    def root(self) -> Path:
        return Path(self.settings.lake_url())


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
