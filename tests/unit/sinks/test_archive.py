"""What the settings make of the archive."""

from pathlib import Path
from typing import Any

import pytest

from log_of_rows import stretch
from marketpulse.clock import ManualClock
from marketpulse.errors import SettingsError
from marketpulse.ports import Sink
from marketpulse.settings import Settings
from marketpulse.sinks.archive import open_archive


def opened(tmp_path: Path, **section: Any) -> Sink:
    settings = Settings(data_dir=tmp_path, sinks={"archive": section})
    return open_archive(settings, ManualClock(1_715_000_000 * 10**9))


def stored(tmp_path: Path) -> set[str]:
    archive = tmp_path / "archive"
    return {path.relative_to(archive).as_posix() for path in archive.glob("table=*/**/*.*")}


@pytest.mark.parametrize(
    ("section", "path"),
    [
        ({}, "date=2024-05-01/market-00-000000000000-000000000001.jsonl.gz"),
        ({"format": "parquet"}, "date=2024-05-01/market-00-000000000000-000000000001.parquet"),
        (
            {"format": "parquet", "layout": "symbol/date"},
            "symbol=S00/date=2024-05-01/market-00-000000000000-000000000001.parquet",
        ),
    ],
)
def test_format_and_layout_are_the_settings(tmp_path: Path, section: dict[str, str], path: str) -> None:
    sink = opened(tmp_path, **section)
    sink.resume()
    for one in stretch("market", 0, 0, 1):
        sink.write(one)
    sink.flush()
    assert stored(tmp_path) == {f"table=trades/{path}"}


@pytest.mark.parametrize("changed", [{"format": "parquet"}, {"layout": "symbol/date"}])
def test_another_format_or_layout_at_the_same_place_is_refused(tmp_path: Path, changed: dict[str, str]) -> None:
    sink = opened(tmp_path)
    for one in stretch("market", 0, 0, 1):
        sink.write(one)
    sink.flush()
    with pytest.raises(SettingsError, match=r"another format or layout.*sinks\.archive\.url"):
        opened(tmp_path, **changed).resume()
    assert opened(tmp_path).resume() == {("market", 0): 1}
