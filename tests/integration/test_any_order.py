"""History in any order: files of days, shuffled, through a whole `marketpulse up` whose processes are killed in between.

MARKETPULSE_ORDER_TRADES says how many trades there are: 1,600 in 8 files of a day, by default; `make soak` asks for a
million in 20.
"""

import os
import random
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest

from given_settings import Done
from running_up import Up, held

TRADES = int(os.environ.get("MARKETPULSE_ORDER_TRADES", "1600"))
DAYS, AT_ONCE = (8, 2) if TRADES < 100_000 else (20, 3)  # files, and those of one command
WITHIN_S = 240 + TRADES / 1_000
pytestmark = [
    pytest.mark.integration, pytest.mark.timeout(300 + 2 * WITHIN_S), pytest.mark.usefixtures("kernels"),
]  # fmt: skip
DAY_US, MINUTE_US = 86_400_000_000, 60_000_000
FIRST_US = 1_767_571_200_000_000  # 2026-01-05
BARS = ["open", "high", "low", "close", "volume", "trade_count"]


@pytest.fixture
def up(tmp_path: Path, broker_cache: Path) -> Iterator[Up]:
    (tmp_path / "marketpulse.toml").write_text(
        '[sources.one]\nkind = "replay"\nfiles = ["first.csv"]\nspeed = "max"\n[engine]\nindicators = "ema(12)"\n'
        'timeframes = ["1m", "1h", "1d"]\n'
    )
    with held(Up(tmp_path / "data", broker_cache)) as running:
        running.environment["MARKETPULSE_DATA_DIR"] = str(tmp_path / "data")
        yield running


def trades() -> pl.DataFrame:
    """In order of time, each at a time of its own; of sizes whose sums are exact."""
    draw = random.Random(TRADES)
    of_day = TRADES // DAYS
    times = [FIRST_US + d * DAY_US + t for d in range(DAYS) for t in sorted(draw.sample(range(DAY_US), of_day))]
    prices = [draw.randrange(100, 900) / 4 for _ in times]
    sizes = [draw.randrange(1, 80) / 8 for _ in times]
    return pl.DataFrame({"timestamp": times, "symbol": "BTC-USD", "price": prices, "size": sizes}).with_row_index(
        "trade_id"
    )


def by_hand(rows: pl.DataFrame) -> pl.DataFrame:
    """The bars of a minute."""
    price = pl.col("price")
    return (
        rows.group_by((pl.col("timestamp") // MINUTE_US * MINUTE_US * 1_000).alias("open_time_ns"))
        .agg(price.first().alias("open"), price.max().alias("high"), price.min().alias("low"), price.last().alias("close"),
             pl.col("size").sum().alias("volume"), pl.len().cast(pl.Int64).alias("trade_count"))
        .sort("open_time_ns")
    )  # fmt: skip


def marketpulse(up: Up, *words: str) -> Done:
    done = up.marketpulse(*words)
    assert done.returncode == 0, done.stdout + done.stderr
    return done


def test_files_of_days_in_random_order_with_kills_in_between_end_as_one_sorted_file(up: Up, tmp_path: Path) -> None:
    rows = trades()
    parts = [rows.slice(d * TRADES // DAYS, TRADES // DAYS) for d in range(DAYS)]
    names = [tmp_path / f"day{d:02}.csv" for d in range(DAYS)]
    for part, name in zip(parts, names, strict=True):
        part.write_csv(name)
    order = random.Random(1).sample(names, DAYS)
    order[0].rename(tmp_path / "first.csv")
    rows.write_csv(tmp_path / "all.csv")
    up.process = subprocess.Popen(
        [sys.executable, "-m", "marketpulse", "up", "--no-browser", "--port", "0"], stdin=subprocess.DEVNULL,
        stdout=up.output.open("ab"), stderr=subprocess.STDOUT, env=up.environment, cwd=tmp_path, start_new_session=True,
    )  # fmt: skip
    up.until_ready()
    behind = 0
    for number, begin in enumerate(range(1, DAYS, AT_ONCE)):
        if (killed := {1: "process-0", 2: "sink-lake"}.get(number)) is not None:
            before = int(up.facts(killed)["pid"])
            os.kill(before, signal.SIGKILL)
            up.until_back(killed, before)
        said = marketpulse(up, "produce", "replay", "--speed", "max", *map(str, order[begin : begin + AT_ONCE])).stderr
        assert "0 dead letters" in said, said
        behind += "brings them in by itself within a minute" in said
    assert behind > 1, "files came behind the window"
    marketpulse(up, "produce", "replay", "--speed", "max", "--again", *map(str, order[1 : 1 + AT_ONCE]))
    count = "SELECT coalesce(sum(trade_count), 0) AS n FROM bars WHERE timeframe = '1m'"
    up.until("all is healed", lambda: up.rows(count)[0]["n"] == TRADES, WITHIN_S)

    found = pl.DataFrame(up.rows("SELECT * FROM bars WHERE timeframe = '1m' ORDER BY open_time_ns"))
    assert found.select("open_time_ns", *BARS).equals(by_hand(rows))
    marketpulse(up, "compute", "all.csv", "--timeframe", "1h", "--indicators", "ema(12)", "--out", "sorted.parquet")
    values = pl.DataFrame(up.rows("SELECT close, ema_12 FROM indicators WHERE timeframe = '1h' ORDER BY open_time_ns"))
    assert values.equals(pl.read_parquet(tmp_path / "sorted.parquet").select("close", "ema_12").head(values.height))
    assert up.rows("SELECT count(*) AS n FROM dead_letters")[0]["n"] == 0
    assert "Every checked row has the bits that its inputs give." in marketpulse(up, "verify").stdout
