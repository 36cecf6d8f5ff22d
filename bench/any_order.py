"""What trades of many days cost in files of days in no order, beside the same in one sorted file.

    python bench/any_order.py [--trades 1000000] [--files 20]

Each through a whole `marketpulse up`: until the lake has every trade in its bars of a minute. What came behind the
correction window is rebuilt by the pipeline itself, when it has been quiet for a while: so the wall clock holds waits,
and processor time (of all processes) is what is compared.
"""

import argparse
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import polars as pl
import psutil
from results import report

from marketpulse.errors import MarketPulseError
from marketpulse.query.duck import LakeQuery
from marketpulse.settings import Settings, load_settings

DAY_NS = 86_400 * 10**9
FIRST_NS = 1_767_571_200 * 10**9  # 2026-01-05
CONFIGURATION = """
[sources.one]
kind = "replay"
files = ["{file}"]
speed = "max"
[engine]
indicators = "ema(12)"
timeframes = ["1m", "1h", "1d"]
"""
COUNT = "SELECT coalesce(sum(trade_count), 0) AS n FROM bars WHERE timeframe = '1m'"


def write_files(home: Path, trades: int, files: int) -> list[Path]:
    draw = np.random.default_rng(1)
    names = []
    for day in range(files):
        n = trades // files
        times = np.sort(draw.choice(DAY_NS // 1_000, n, replace=False)) * 1_000 + FIRST_NS + day * DAY_NS
        frame = pl.DataFrame({
            "trade_id": np.arange(n) + day * n, "timestamp": times, "symbol": "BTC-USD",
            "price": draw.integers(100, 900, n) / 4, "size": draw.integers(1, 80, n) / 8,
        })  # fmt: skip
        names.append(home / f"day{day:02}.csv")
        frame.write_csv(names[-1])
    return names


def cost(cache: Path, trades: int, first: Path, others: Sequence[Path]) -> tuple[float, float]:
    """(seconds, processor seconds) until the lake has all of them."""
    with tempfile.TemporaryDirectory(prefix="marketpulse-bench-") as name:
        home = Path(name)
        (home / "marketpulse.toml").write_text(CONFIGURATION.format(file=first))
        environment = {**os.environ, "MARKETPULSE_DATA_DIR": str(home / "data"), "MARKETPULSE_CACHE_DIR": str(cache)}
        command = [sys.executable, "-m", "marketpulse"]

        def count() -> int:
            lake = LakeQuery(Settings(data_dir=home / "data"))
            try:
                return int(lake.run(COUNT).to_pylist()[0]["n"])
            except MarketPulseError:
                return 0  # there is no table yet
            finally:
                lake.close()

        began, before = time.monotonic(), psutil.Process().cpu_times()
        up = psutil.Popen(
            [*command, "up", "--no-browser", "--port", "0"], env=environment, cwd=home, stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        try:
            while not (home / "data" / "run" / "serve.json").exists():
                time.sleep(0.2)
            for at in range(0, len(others), 3):
                some = map(str, others[at : at + 3])
                subprocess.run(
                    [*command, "produce", "replay", "--speed", "max", *some], env=environment, cwd=home, check=True
                )
            while count() < trades:
                time.sleep(2)
            taken = time.monotonic() - began
        finally:
            up.terminate()
            up.wait()
        after = psutil.Process().cpu_times()
    return taken, sum(after[2:4]) - sum(before[2:4])  # of all children that have ended, and theirs


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--trades", type=int, default=1_000_000)
    parser.add_argument("--files", type=int, default=20)
    given = parser.parse_args()
    cache, home = load_settings().cache_dir, Path(tempfile.mkdtemp(prefix="marketpulse-bench-"))
    try:
        names = write_files(home, given.trades, given.files)
        whole = home / "all.csv"
        pl.concat([pl.read_csv(name) for name in names]).write_csv(whole)
        sorted_s, sorted_cpu_s = cost(cache, given.trades, whole, [])
        order = random.Random(1).sample(names, len(names))
        shuffled_s, shuffled_cpu_s = cost(cache, given.trades, order[0], order[1:])
    finally:
        shutil.rmtree(home)
    report(
        {
            "name": f"{given.trades:,} trades in one sorted file",
            "value": sorted_cpu_s,
            "unit": "processor s",
            "wall_s": sorted_s,
        }
    )
    report({
        "name": f"the same in {given.files} files of days in no order", "value": shuffled_cpu_s, "unit": "processor s",
        "wall_s": shuffled_s, "ratio": shuffled_cpu_s / sorted_cpu_s, "ratio_to": "the sorted file",
    })  # fmt: skip


if __name__ == "__main__":
    main()
