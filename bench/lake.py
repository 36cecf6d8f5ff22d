"""What the lake's sink costs beside bare pyiceberg: the same rows of trades, in the same flushes, in one run.

    python bench/lake.py [--rows 2000000] [--flush 200000]

Bare: `append` of each flush's rows to a table with the same schema, sorted as they come, unpartitioned, without offsets.
Reading: sums over the lake by `LakeQuery` beside DuckDB alone on one hand-made Parquet file of the same sorted rows; each
opens a database for each query.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from pyiceberg.catalog.sql import SqlCatalog
from results import report

from marketpulse.catalog import open_lake
from marketpulse.clock import SystemClock
from marketpulse.model.tables import TABLES
from marketpulse.ports import SinkBatch
from marketpulse.query import LakeQuery
from marketpulse.settings import Settings
from marketpulse.sinks import open_sink
from marketpulse.sinks.lake_chores import Chores

SYMBOLS, START_NS = 500, 1_714_521_600 * 10**9
QUERIES = {
    "all rows": "SELECT sum(price * size) FROM {}",
    "one symbol": "SELECT count(*), max(price) FROM {} WHERE symbol = 'S017'",
    "a quarter of an hour": "SELECT count(*), sum(size) FROM {} WHERE event_time_ns >= 1714522600000000000 AND event_time_ns < 1714523500000000000",
    "by symbol": "SELECT symbol, avg(price) FROM {} GROUP BY symbol",
}


def rows_of(first: int, count: int) -> pa.RecordBatch:
    """Trades of 500 symbols, a millisecond apart."""
    chance = np.random.default_rng(first)
    schema = TABLES["trades"][1]
    number = np.arange(first, first + count)
    names = np.array([f"S{n:03d}" for n in range(SYMBOLS)])
    columns = {
        "type": pa.array(["trade"] * count), "symbol": pa.array(names[chance.integers(0, SYMBOLS, count)]),
        "source": pa.array(["bench"] * count), "event_time_ns": pa.array(START_NS + number * 10**6),
        "price": pa.array(100 + chance.standard_normal(count).cumsum() / 100), "size": pa.array(chance.uniform(1, 500, count)),
        "trade_id": pa.array(number.astype(str)), "topic": pa.array(["market"] * count),
        "partition": pa.array(np.zeros(count, np.int32)), "offset": pa.array(number), "row": pa.array(np.zeros(count, np.int32)),
    }  # fmt: skip
    empty = {f.name: pa.nulls(count, f.type) for f in schema if f.name not in columns}
    return pa.RecordBatch.from_pydict({**columns, **empty}, schema=schema)


def timed(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", type=int, default=2_000_000)
    parser.add_argument("--flush", type=int, default=200_000)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        directory = Path(place)
        settings = Settings(data_dir=directory / "data", sql={"memory_limit_mb": 4_096})
        sink = open_sink(settings, "lake")
        sink.resume()
        (directory / "bare").mkdir()
        catalog = SqlCatalog("bare", uri=f"sqlite:///{directory}/bare/catalog.db", warehouse=f"{directory}/bare")
        catalog.create_namespace("bare")
        table = catalog.create_table(("bare", "trades"), TABLES["trades"][1])
        ours, bare, parts = [], [], []
        for first in range(0, asked.rows, asked.flush):
            rows = rows_of(first, min(asked.flush, asked.rows - first))
            parts.append(rows)

            def store(first: int = first, rows: pa.RecordBatch = rows) -> None:
                sink.write(SinkBatch("trades", "market", 0, first, first + rows.num_rows, rows))
                sink.flush()

            ours.append(timed(store))
            bare.append(timed(lambda rows=rows: table.append(pa.Table.from_batches([rows]))))
        Chores(open_lake(settings), settings, SystemClock()).compact("trades")
        whole = pa.Table.from_batches(parts).sort_by([("symbol", "ascending"), ("event_time_ns", "ascending")])
        pq.write_table(whole, directory / "hand.parquet", compression="zstd", row_group_size=100_000)
        flushes = f"{asked.rows} trades, {asked.flush} a flush"
        report({
            "name": "lake sink", "value": round(asked.rows / sum(ours)), "unit": "rows/s", "rows": flushes,
            "ratio": round(sum(bare) / sum(ours), 2), "ratio_to": "bare pyiceberg append, unsorted, without offsets",
        })  # fmt: skip
        compare(settings, directory / "hand.parquet")


def compare(settings: Settings, hand_made: Path) -> None:
    """By query, medians in ms of nine turns."""
    query = LakeQuery(settings)
    for name, text in QUERIES.items():
        lake = text.format("trades")
        alone = text.format(f"read_parquet('{hand_made}')")
        query.run(lake)
        pairs = [
            (timed(lambda q=lake: query.run(q)), timed(lambda q=alone: duckdb.connect().sql(q).fetchall()))
            for _ in range(9)
        ]
        ours, theirs = (statistics.median(side) * 1e3 for side in zip(*pairs, strict=True))
        report({
            "name": f"lake SQL, {name}", "value": round(ours, 1), "unit": "ms", "ratio": round(ours / theirs, 2),
            "ratio_to": f"DuckDB alone on one sorted Parquet file, {theirs:.1f} ms",
        })  # fmt: skip
    query.close()


if __name__ == "__main__":
    main()
