"""Random rows, one a second."""

from pathlib import Path
from typing import Any

import pytest

from marketpulse.clock import ManualClock
from marketpulse.ports import Polled
from marketpulse.settings import Mapping, ReplaySettings
from marketpulse.sources.defaults import bundled
from marketpulse.sources.sample import SampleSource

NOW = 1_800_000_000 * 10**9


def sampled(file: Path, seconds: int, **settings: Any) -> tuple[list[dict[str, Any]], SampleSource]:
    clock = ManualClock(NOW)
    source = SampleSource(
        ReplaySettings(files=(str(file),), sample=True, **settings), "replay-s", lateness_ns=0, clock=clock
    )
    assert source.start(None).mode == "live"
    found: list[Polled] = []
    while clock.now_ns() < NOW + seconds * 10**9:
        found.append(source.poll(0.25))
    assert all(p.position is None and not p.ended for p in found)
    return [row for p in found for b in p.batches for row in b.to_pylist()], source


def test_a_row_is_sent_each_second_stamped_with_that_second() -> None:
    rows, source = sampled(bundled("minutes/SPY.csv"), 10, mapping=Mapping(symbol="SPY"))
    seconds = [(row["event_time_ns"] - NOW) / 1e9 for row in rows]
    assert seconds == pytest.approx(list(range(len(rows))), abs=1e-5)
    assert len(rows) in {10, 11}
    promised = source.watermark_ns()
    assert promised is not None
    assert promised >= rows[-1]["event_time_ns"]


def test_a_bar_becomes_a_trade_at_its_close_that_stands_in_the_file() -> None:
    closes = {
        (float(f[4]), float(f[5]))
        for f in (line.split(",") for line in bundled("minutes/SPY.csv").read_text("utf-8-sig").splitlines()[1:])
    }
    rows, _ = sampled(bundled("minutes/SPY.csv"), 5)
    assert {row["type"] for row in rows} == {"trade"}
    assert {(row["price"], row["size"]) for row in rows} <= closes


def test_the_seed_decides_which_rows() -> None:
    prices = [[row["price"] for row in sampled(bundled("minutes/SPY.csv"), 20, seed=seed)[0]] for seed in (1, 1, 2)]
    assert prices[0] == prices[1] != prices[2]


def test_a_rate_is_a_rate() -> None:
    rows, _ = sampled(bundled("minutes/SPY.csv"), 4, speed="5/s")
    assert 20 <= len(rows) <= 21
