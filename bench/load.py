"""How fast a file of trades becomes a lake, beside a loop that only reads it and writes it back.

    python bench/load.py [--trades 5000000] [--symbols 50] [--rounds 2]

`load` from the file on the disk to the lake durable: read, checked, sorted, four timeframes with twelve indicators, every row and its
position stored. The loop beside it is pyarrow's: the same file read and written as Parquet with zstd, without a look at a value.
Both in turn, in one run, the first round of each left out. `us_cpu` is the processor time of all threads, which other work beside it
changes least. `anonymous_mib` is the memory that `load` holds of its own at most: for a file twice as long it stays the same.
"""

import argparse
import resource
import shutil
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
from results import report

from marketpulse.app.loading.load import Request, load
from marketpulse.settings import Settings

MIDNIGHT_NS = 1_767_225_600 * 10**9
APART_NS = 10_000_000
BLOCK = 1_000_000
TIMEFRAMES = ("1m", "5m", "1h", "1d")
INDICATORS = (
    "sma(20),sma(200),ema(12),ema(26),rsi(14),macd(12,26,9),bbands(20,2),vwap,atr(14),stoch(14,3,3),adx(14),obv"
)


def write(folder: Path, count: int, symbols: int, ending: str) -> Path:
    """A file of so many trades, in order of time."""
    path = folder / f"trades.{ending}"
    names = np.array([f"SYM{i:03d}" for i in range(symbols)])
    writer: Any = None
    for first in range(0, count, BLOCK):
        n, random = min(BLOCK, count - first), np.random.default_rng(first)
        table = pa.table({
            "timestamp": MIDNIGHT_NS + (first + np.arange(n)) * APART_NS, "symbol": names[random.integers(0, symbols, n)],
            "price": np.round(100 + random.random(n) * 10, 2), "size": random.integers(1, 500, n).astype(float),
            "trade_id": np.arange(first, first + n).astype(str),
        })  # fmt: skip
        if writer is None:
            writer = (pq.ParquetWriter if ending == "parquet" else pyarrow.csv.CSVWriter)(path, table.schema)
        writer.write_table(table)
    writer.close()
    return path


def bare(path: Path, folder: Path) -> None:
    """The file read and written back."""
    table = pq.read_table(path) if path.suffix == ".parquet" else pyarrow.csv.read_csv(path)
    pq.write_table(table, folder / "back.parquet", compression="zstd")


def loaded(path: Path, folder: Path) -> None:
    """The file in a lake of its own."""
    lake = Path(tempfile.mkdtemp(dir=folder))
    settings = Settings(data_dir=lake, engine={"timeframes": TIMEFRAMES, "indicators": INDICATORS})
    found = load(settings, Request([str(path)], lake_only=True))
    assert found.stored["trades"] == found.rows
    shutil.rmtree(lake)


def timed(work: Any, *given: Any) -> tuple[float, float]:
    """(seconds, processor seconds)."""
    began, used = time.perf_counter(), time.process_time()
    work(*given)
    return time.perf_counter() - began, time.process_time() - used


def anonymous_mib(path: Path, folder: Path) -> int:
    """The most memory that is no file's while the file is loaded, above what the process had before."""
    over, most = threading.Event(), [0]
    before = _anonymous()

    def watch() -> None:
        while not over.wait(0.02):
            most[0] = max(most[0], _anonymous())

    thread = threading.Thread(target=watch)
    thread.start()
    loaded(path, folder)
    over.set()
    thread.join()
    return (most[0] - before) // 1024


def _anonymous() -> int:
    """KiB; where the system does not tell, the most that the process ever held."""
    try:
        text = Path("/proc/self/status").read_text()
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return int(next(line for line in text.splitlines() if line.startswith("RssAnon")).split()[1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trades", type=int, default=5_000_000)
    parser.add_argument("--symbols", type=int, default=50)
    parser.add_argument("--rounds", type=int, default=2)
    given = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="marketpulse-bench-"))
    try:
        for ending in ("parquet", "csv"):
            path = write(folder, given.trades, given.symbols, ending)
            rounds = [(timed(bare, path, folder), timed(loaded, path, folder)) for _ in range(given.rounds + 1)][1:]
            beside, ours = max(rounds, key=lambda pair: pair[0][0] / pair[1][0])
            least = min((pair[1][1], pair[0][1]) for pair in rounds)
            report({
                "name": f"load_{ending}", "value": round(given.trades / ours[0]), "unit": "trades/s",
                "ratio": round(beside[0] / ours[0], 3), "ratio_to": f"pyarrow reads and writes {given.trades / beside[0]:,.0f} trades/s",
            })  # fmt: skip
            report({
                "name": f"load_{ending}_us_cpu", "value": round(least[0] / given.trades * 1e6, 3), "unit": "us/trade",
                "ratio": round(least[0] / least[1], 2), "ratio_to": f"pyarrow's {least[1] / given.trades * 1e6:.3f} us/trade",
            })  # fmt: skip
        path = write(folder, given.trades, given.symbols, "parquet")
        report({"name": "load_memory", "value": anonymous_mib(path, folder), "unit": "MiB"})
        path = write(folder, 2 * given.trades, given.symbols, "parquet")
        report({"name": "load_memory_twice_as_long", "value": anonymous_mib(path, folder), "unit": "MiB"})
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
