"""How fast rows become stored points: our sink beside the official client's own writes of the same rows.

    python bench/influx.py [--rows 200000] [--rounds 3]

The client writes by Points, and by pandas frames, 10,000 rows a request; its API is that of 2.x, which the Debian package of
InfluxDB (1.6) has not, so all three write to one VictoriaMetrics, in turn, each round its own rows. How many values arrived is read from
the server. Then our sink alone writes to that InfluxDB. Bars with receipts: 2 tags, 22 fields.

`rows/s` is by the clock, the server's work on the same cores in it; `rows/cpu-s` by the writer's own processor time.
"""

import argparse
import time
from collections.abc import Callable
from typing import Any

import httpx
import numpy as np
import pandas as pd
import pyarrow as pa
from influxdb_client import InfluxDBClient, Point
from influxdb_client.client.write_api import SYNCHRONOUS
from own_series_server import own_series_server
from results import report

from marketpulse.model.rows import BAR, RECEIPT
from marketpulse.ports import SinkBatch
from marketpulse.settings import InfluxSettings
from marketpulse.sinks.influx import open_influx
from marketpulse.sinks.influx_points import TAGS, TIME, points

T0 = 1_767_225_600 * 10**9
SYMBOLS, BATCH = 500, 10_000


def bars(first: int, n: int) -> pa.RecordBatch:
    """n bars of a second of all symbols in turn, from the second `first` on."""
    random, place = np.random.default_rng(first), np.arange(n)
    seconds = T0 + (first + place // SYMBOLS) * 10**9
    prices = [np.round(100 + random.random(n) * 10, 4) for _ in range(4)]
    offsets = pa.array(first + place)
    zeros, receipt_topic = pa.array(np.zeros(n, np.int32)), pa.array(["market"] * n)
    receipt = pa.StructArray.from_arrays(
        [receipt_topic, zeros, offsets, zeros, offsets, zeros, zeros.cast(pa.int64()), pa.array(["3"] * n)],
        fields=list(RECEIPT),
    )
    return pa.RecordBatch.from_arrays(
        [
            pa.array([f"SYM{i % SYMBOLS:03d}" for i in range(n)]), pa.array(["1s"] * n), pa.array(seconds),
            pa.array(seconds + 10**9), *map(pa.array, prices), pa.array(random.integers(1, 500, n).astype(float)),
            pa.array(random.random(n) * 10 + 100), pa.array(random.integers(1, 50, n)), pa.array(np.zeros(n, np.int64)),
            pa.array(["bench"] * n), pa.array(["XNYS"] * n), pa.array([20_454] * n, pa.int32()).cast(pa.date32()), receipt,
        ],
        schema=BAR,
    )  # fmt: skip


def by_sink(url: str, rows: pa.RecordBatch, **given: Any) -> None:
    sink = open_influx(InfluxSettings(url=url, **given))
    sink.resume()
    sink.write(SinkBatch("bars", "bars", 0, 0, rows.num_rows, rows))
    sink.flush()
    sink.close()


def by_points(url: str, rows: pa.RecordBatch) -> None:
    columns = points("bars", pa.Table.from_batches([rows]), 64).rows
    tags, at = TAGS["bars"], TIME["bars"]
    fields = [name for name in columns.columns if name not in (*tags, at)]
    with InfluxDBClient(url, token="", org="-") as client:
        write = client.write_api(write_options=SYNCHRONOUS)
        for some in columns.iter_slices(BATCH):
            made = []
            for row in some.iter_rows(named=True):
                point = Point("bars").time(row[at])
                for name in tags:
                    point.tag(name, row[name])
                for name in fields:
                    point.field(name, row[name])
                made.append(point)
            write.write("marketpulse", record=made)


def by_frames(url: str, rows: pa.RecordBatch) -> None:
    columns = points("bars", pa.Table.from_batches([rows]), 64).rows
    with InfluxDBClient(url, token="", org="-") as client:
        write = client.write_api(write_options=SYNCHRONOUS)
        for some in columns.iter_slices(BATCH):
            frame = pd.DataFrame(some.to_dict(as_series=False)).set_index(TIME["bars"])
            frame.index = pd.to_datetime(frame.index, unit="ns")
            write.write(
                "marketpulse",
                record=frame,
                data_frame_measurement_name="bars",
                data_frame_tag_columns=list(TAGS["bars"]),
            )


def arrived(url: str) -> int:
    """Numbers (texts are not kept) that the server has taken from lines since it began; it tells them a second later."""
    time.sleep(1.5)
    lines = httpx.get(f"{url}/metrics").text.splitlines()
    return sum(int(line.split()[-1]) for line in lines if line.startswith('vm_rows_inserted_total{type="influx"'))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=200_000)
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    writers: dict[str, Callable[[str, pa.RecordBatch], None]] = {
        "influx_points": by_points,
        "influx_frames": by_frames,
        "influx_sink": lambda url, rows: by_sink(url, rows, api="v2"),
        "influx_sink_plain": lambda url, rows: by_sink(url, rows, api="v2", gzip=False),
    }
    best, own = dict.fromkeys(writers, 0.0), dict.fromkeys(writers, 0.0)
    first = 0
    with own_series_server("victoria-metrics") as url:
        for _ in range(given.rounds):
            values: dict[str, int] = {}
            for name, write in writers.items():
                rows, before = bars(first, given.rows), arrived(url)
                first += given.rows // SYMBOLS + 1
                began, began_cpu = time.perf_counter(), time.process_time()
                write(url, rows)
                best[name] = max(best[name], given.rows / (time.perf_counter() - began))
                own[name] = max(own[name], given.rows / (time.process_time() - began_cpu))
                values[name] = arrived(url) - before
            assert len(set(values.values())) == 1, (
                f"the same rows gave the server different numbers of values: {values}"
            )
    for rates, suffix, unit in ((best, "", "rows/s"), (own, "_cpu", "rows/cpu-s")):
        for name, rate in rates.items():
            beside = {"ratio": round(rate / rates["influx_points"], 2), "ratio_to": f"influx_points{suffix}"}
            figure = {"name": f"{name}{suffix}", "value": round(rate), "unit": unit}
            report({**figure, **(beside if name != "influx_points" else {})})
    with own_series_server("influxd") as url:
        by_clock = []
        for number in range(given.rounds):
            rows = bars(number * (given.rows // SYMBOLS + 1), given.rows)
            began = time.perf_counter()
            by_sink(url, rows)
            by_clock.append(given.rows / (time.perf_counter() - began))
    report({"name": "influx_sink_1x", "value": round(max(by_clock)), "unit": "rows/s"})


if __name__ == "__main__":
    main()
