"""A replay gives the same rows however it is polled, and a restart at any position loses and doubles none."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from examples import examples
from marketpulse.clock import ManualClock
from marketpulse.settings import ReplaySettings
from marketpulse.sources.replay import ReplaySource

Steps = list[tuple[float, bool]]
"""Seconds until the next poll, and whether the process is killed before it."""
STEPS = st.lists(st.tuples(st.floats(0, 3), st.booleans()), max_size=25)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("files")
    trades = "".join(f"{1_767_366_000 + i * 7 % 20},A,{i + 1},{i}\n" for i in range(20))
    (home / "a.csv").write_text("time,symbol,price,trade_id\n" + trades + "broken\n")
    quotes = "".join(f'{{"ts":{1_767_366_000 + i},"sym":"B","bid":{i + 1},"ask":{i + 2}}}\n' for i in range(15))
    (home / "b.jsonl").write_text(quotes)
    return home


def start(folder: Path, clock: ManualClock, speed: str, position: str | None) -> ReplaySource:
    source = ReplaySource(ReplaySettings(files=(str(folder),), speed=speed), "r", lateness_ns=0, clock=clock)
    source.start(position)
    return source


def collected(folder: Path, speed: str, steps: Steps) -> tuple[list[dict[str, Any]], int]:
    """Every row and the number of set-aside ones, through these polls and kills and then to the end."""
    clock = ManualClock(0)
    source, position = start(folder, clock, speed, None), None
    rows: list[dict[str, Any]] = []
    rejected = 0
    for wait, killed in [*steps, *[(1.0, False)] * 200]:
        if killed:
            source = start(folder, clock, speed, position)
        polled = source.poll(wait)
        position = polled.position or position
        rejected += len(polled.rejected)
        rows += [{**row, "ingest_time_ns": 0} for batch in polled.batches for row in batch.to_pylist()]
        if polled.ended:
            return rows, rejected
    raise AssertionError("the replay did not end")


@given(steps=STEPS, speed=st.sampled_from(["recorded", "3x", "4/s", "max"]))
@examples(full=40)
def test_any_cut_and_any_restart_give_the_uninterrupted_rows(folder: Path, steps: Steps, speed: str) -> None:
    whole, rejected = collected(folder, "max", [])
    assert (len(whole), rejected) == (35, 1)
    assert [row["event_time_ns"] for row in whole] == sorted(row["event_time_ns"] for row in whole)
    assert collected(folder, speed, steps) == (whole, rejected)


@given(steps=STEPS)
@examples(full=20)
def test_no_row_is_older_than_the_last_promise(folder: Path, steps: Steps) -> None:
    source = start(folder, ManualClock(0), "recorded", None)
    promised = 0
    for wait, _ in [*steps, *[(1.0, False)] * 30]:
        for batch in source.poll(wait).batches:
            assert min(batch.column("event_time_ns").to_pylist()) > promised
        now = source.watermark_ns() or 0
        assert now >= promised, "a watermark never goes back"
        promised = now
