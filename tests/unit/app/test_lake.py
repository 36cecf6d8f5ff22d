"""What `marketpulse lake` says."""

import time
from pathlib import Path

import pytest

from lake_rows import LakeRows
from marketpulse.app import lake
from marketpulse.clock import ManualClock
from marketpulse.settings import Settings

TRADE = {"symbol": "A", "event_time_ns": 1_714_521_600 * 10**9, "price": 1.0, "size": 2.0}


@pytest.fixture
def rows(tmp_path: Path) -> LakeRows:
    return LakeRows(Settings(data_dir=tmp_path))


def test_sizes_are_those_of_the_newest_picture_and_its_age_is_that_of_the_newest_rows(rows: LakeRows) -> None:
    for _ in range(3):
        rows.add("trades", [TRADE, TRADE])
    committed_ns = time.time_ns()
    assert list(lake.compact(rows.settings)) == ["trades: 2 fewer files"]
    found = {one.table: one for one in lake.sizes(rows.settings, ManualClock(committed_ns + 90 * 10**9))}
    trades = found["trades"]
    assert (trades.rows, trades.files, trades.snapshots) == (6, 1, 4)
    assert trades.bytes == Path(rows.files("trades")[0]).stat().st_size
    assert trades.age_s is not None
    assert 90 <= trades.age_s < 600
    assert (found["bars"].files, found["bars"].age_s) == (0, None)
    lines = list(lake.size_lines("here", list(found.values())))
    assert lines[0] == "here"
    assert lines[2].split()[:3] == ["trades", "6", "1"]
    assert lines[5].endswith("none")


def test_a_lake_with_nothing_to_do_says_so(rows: LakeRows) -> None:
    for chore in (lake.compact, lake.expire, lake.clean):
        assert list(chore(rows.settings)) == [f"{rows.root}: nothing to do"]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-1, "0 s"),
        (8.4, "8 s"),
        (119, "119 s"),
        (120, "2 min"),
        (7_199, "120 min"),
        (7_200, "2 h"),
        (200_000, "2 days"),
    ],
)
def test_an_age_is_told_in_the_largest_unit_that_fits_twice(seconds: float, text: str) -> None:
    assert lake.age_text(seconds) == text
