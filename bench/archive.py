"""What the archive costs: rows a second beside the bare libraries that write the same rows.

    python bench/archive.py [--rows 720000] [--rounds 3]

Trades of 500 symbols in 12 partitions, flushed twice. The bare side takes the same Arrow rows and writes one file a partition
and flush, in as many threads, with polars and gzip or with pyarrow; into a directory, or with boto3 into a real S3 server
on this machine (SeaweedFS). It forces nothing to disk and keeps no offsets. Sides take turns; the median of the rounds counts.
"""

import argparse
import contextlib
import gzip
import io
import os
import shutil
import statistics
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
from results import report

sys.path.append(str(Path(__file__).parents[1] / "tests"))

from marketpulse.clock import SystemClock
from marketpulse.model.tables import TABLES
from marketpulse.ports import SinkBatch
from marketpulse.settings import Settings
from marketpulse.sinks.archive import open_archive
from s3_server import REGION, S3Server, aws_variables

PARTITIONS, SYMBOLS, FLUSHES, THREADS = 12, 500, 2, 4
T0 = 1_767_225_600_123_456_789
Put = Callable[[str, bytes], object]


def trades(partition: int, first: int, count: int) -> pa.RecordBatch:
    """Rows of one partition from the offset `first` on, all of one day."""
    at = first + np.arange(count)
    own = np.array([f"SYM{n:04d}" for n in range(partition, SYMBOLS, PARTITIONS)])
    schema = TABLES["trades"][1]
    columns: dict[str, Any] = {
        "type": np.full(count, "trade"),
        "symbol": own[at * 7_919 % len(own)],
        "source": np.full(count, "bench"),
        "event_time_ns": T0 + at * 1_000_000,
        "price": 100 + (at % 5_000) / 100,
        "size": 100.0 + at % 9,
        "trade_id": (at + 123_456).astype(str),
        "topic": np.full(count, "market"),
        "partition": np.full(count, partition, np.int32),
        "offset": at,
        "row": np.zeros(count, np.int32),
    }
    arrays = [
        pa.array(columns[one.name]).cast(one.type) if one.name in columns else pa.nulls(count, one.type)
        for one in schema
    ]
    return pa.RecordBatch.from_arrays(arrays, schema=schema)


def flushes(rows: int) -> list[list[SinkBatch]]:
    """For each flush a batch a partition."""
    count = rows // PARTITIONS // FLUSHES
    return [
        [
            SinkBatch("trades", "market", p, f * count, (f + 1) * count, trades(p, f * count, count))
            for p in range(PARTITIONS)
        ]
        for f in range(FLUSHES)
    ]


def with_archive(work: list[list[SinkBatch]], settings: Settings) -> None:
    sink = open_archive(settings, SystemClock())
    sink.resume()
    for batches in work:
        for batch in batches:
            sink.write(batch)
        sink.flush()
    sink.close()


def lines(rows: pa.RecordBatch) -> bytes:
    buffer = io.BytesIO()
    frame = pl.from_arrow(rows)
    assert isinstance(frame, pl.DataFrame)
    frame.write_ndjson(buffer)
    return gzip.compress(buffer.getvalue(), compresslevel=6, mtime=0)


def parquet(rows: pa.RecordBatch) -> bytes:
    buffer = io.BytesIO()
    pq.write_table(pa.Table.from_batches([rows]), buffer, compression="zstd")
    return buffer.getvalue()


def with_libraries(work: list[list[SinkBatch]], encode: Callable[[pa.RecordBatch], bytes], put: Put) -> None:
    with ThreadPoolExecutor(THREADS) as pool:
        for batches in work:
            list(pool.map(lambda b: put(f"{b.partition}-{b.first_offset}", encode(b.rows)), batches))


@contextlib.contextmanager
def directory() -> Iterator[tuple[dict[str, Any], Put, Callable[[], int]]]:
    """A fresh directory: settings for the archive in it, how the bare side writes there, how many files the archive left."""
    home = Path(tempfile.mkdtemp())
    (home / "bare").mkdir()

    def put(name: str, data: bytes) -> object:
        return (home / "bare" / name).write_bytes(data)

    yield {"url": str(home / "archive")}, put, lambda: len(list((home / "archive").glob("table=*/**/*.*")))
    shutil.rmtree(home)


def bucket(server: S3Server) -> Callable[[], Any]:
    @contextlib.contextmanager
    def fresh() -> Iterator[tuple[dict[str, Any], Put, Callable[[], int]]]:
        name = f"bench-{uuid.uuid4().hex[:12]}"
        server.client.create_bucket(Bucket=name)

        def put(key: str, data: bytes) -> object:
            return server.client.put_object(Bucket=name, Key=f"bare/{key}", Body=data)

        def files() -> int:
            pages = server.client.get_paginator("list_objects_v2").paginate(Bucket=name, Prefix="archive/table=")
            return sum(page["KeyCount"] for page in pages)

        yield {"url": f"s3://{name}/archive"}, put, files

    return fresh


def seconds(do: Callable[[], object]) -> float:
    began = time.perf_counter()
    do()
    return time.perf_counter() - began


def main() -> None:
    parser = argparse.ArgumentParser(description="What the archive costs.")
    parser.add_argument("--rows", type=int, default=720_000)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    os.environ.update(aws_variables())
    home = Path(tempfile.mkdtemp())
    server = S3Server(home / "s3")
    server.start()
    try:
        work = flushes(options.rows)
        rows = sum(batch.rows.num_rows for batches in work for batch in batches)
        s3 = {"endpoint_url": server.endpoint_url, "region": REGION, "path_style": True}
        for form, encode in (("json-lines", lines), ("parquet", parquet)):
            for place, fresh in (("a directory", directory), ("an S3 server", bucket(server))):
                took: dict[str, list[float]] = {"date": [], "symbol/date": [], "bare": []}
                objects: dict[str, int] = {}
                for _ in range(options.rounds):
                    for layout in ("date", "symbol/date"):
                        with fresh() as (section, _put, files):
                            archive = {"enabled": True, "format": form, "layout": layout, **section}
                            settings = Settings(data_dir=home, s3=s3, sinks={"archive": archive})
                            took[layout].append(seconds(lambda s=settings: with_archive(work, s)))
                            objects[layout] = files()
                    with fresh() as (_section, put, _files):
                        took["bare"].append(seconds(lambda e=encode, p=put: with_libraries(work, e, p)))
                bare = rows / statistics.median(took["bare"])
                bare_name = f"{'polars and gzip' if form == 'json-lines' else 'pyarrow'} into {place}"
                report({"name": bare_name, "value": round(bare), "unit": "rows/s"})
                for layout in ("date", "symbol/date"):
                    value = rows / statistics.median(took[layout])
                    report(
                        {
                            "name": f"archive, {form} by {layout}, into {place}", "value": round(value), "unit": "rows/s",
                            "ratio": round(value / bare, 3), "ratio_to": bare_name, "files": objects[layout],
                        }
                    )  # fmt: skip
    finally:
        server.kill()
        shutil.rmtree(home, ignore_errors=True)


if __name__ == "__main__":
    main()
