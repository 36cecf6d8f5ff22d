import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from marketpulse.app.calendars import regular_days, sessions_by, sessions_of
from marketpulse.model.session import SessionTable


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setenv("MARKETPULSE_CACHE_DIR", str(tmp_path / "cache"))
    regular_days.cache_clear()
    yield tmp_path / "cache"
    regular_days.cache_clear()


def kept_files(cache: Path) -> list[Path]:
    return sorted((cache / "calendars").iterdir())


def asked_again(name: str) -> SessionTable:
    regular_days.cache_clear()
    table = sessions_of(name)
    assert table is not None
    return table


def as_numbers(table: SessionTable) -> list[list[int]]:
    return [table.open_ns.tolist(), table.close_ns.tolist(), table.date.tolist()]


def test_a_kept_table_is_the_one_that_was_worked_out(cache: Path) -> None:
    worked_out = asked_again("XNYS")
    assert len(kept_files(cache)) == 1
    kept = asked_again("XNYS")
    assert as_numbers(kept) == as_numbers(worked_out)
    assert [kept.open_ns.dtype, kept.date.dtype] == [np.int64, np.int32]
    day = int(np.datetime64("2024-07-03", "D").astype(int))  # a half-day: 13:30 to 17:00 UTC
    at = kept.date.tolist().index(day)
    hours = [int(t - day * 86_400_000_000_000) / 3.6e12 for t in (kept.open_ns[at], kept.close_ns[at])]
    assert hours == [13.5, 17.0]


def test_a_kept_table_gives_the_extended_hours_too() -> None:
    find = sessions_by("extended", {})
    worked_out = find("XNYS")
    regular_days.cache_clear()
    kept = sessions_by("extended", {})("XNYS")
    assert worked_out is not None
    assert kept is not None
    assert as_numbers(kept) == as_numbers(worked_out)


def test_a_kept_table_is_read_without_the_library_that_made_it() -> None:
    asked_again("XNYS")
    script = (
        "import sys\nfrom marketpulse.app.calendars import sessions_of\n"
        "print(len(sessions_of('XNYS').date) > 8_000, 'pandas' in sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "True False"


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 torn", b"no archive at all"])
def test_a_torn_file_is_worked_out_anew(cache: Path, content: bytes) -> None:
    worked_out = asked_again("XNYS")
    kept_files(cache)[0].write_bytes(content)
    assert as_numbers(asked_again("XNYS")) == as_numbers(worked_out)
    assert as_numbers(asked_again("XNYS")) == as_numbers(worked_out)


def test_an_older_month_goes_when_the_newer_is_kept(cache: Path) -> None:
    (cache / "calendars").mkdir(parents=True)
    (cache / "calendars" / "XNYS-2001-01-1-1-1990.npz").write_bytes(b"old")
    (cache / "calendars" / "XLON-2001-01-1-1-1990.npz").write_bytes(b"another's")
    asked_again("XNYS")
    names = [path.name for path in kept_files(cache)]
    assert len(names) == 2
    assert "XNYS-2001-01-1-1-1990.npz" not in names


def test_without_a_place_to_keep_it_the_table_is_there_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("MARKETPULSE_CACHE_DIR", str(tmp_path / "file"))
    assert len(asked_again("XNYS").date) > 8_000


@pytest.mark.parametrize("name", ["ZZZZ", "24/7", "../x", "", "NOT A MIC"])
def test_an_unknown_venue_has_no_sessions_and_leaves_no_file(cache: Path, name: str) -> None:
    assert sessions_of(name) is None
    assert not cache.exists()


def test_24x7_never_closes() -> None:
    assert asked_again("24x7").around_the_clock
