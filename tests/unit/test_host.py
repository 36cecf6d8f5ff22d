"""What the package asks of the machine: bytecode, directories forced to its disk, errors of the system, and logs."""

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from marketpulse.durable import force, make_directory
from marketpulse.errors import disk_is_full

SAY = "print(sys.pycache_prefix, sys.dont_write_bytecode)"
STARTS = f"import marketpulse.app.cli, sys; {SAY}"


def start(cache: Path, script: str = STARTS, **environment: str) -> str:
    """A start of the command line, or the script, in an interpreter of its own; what it says about bytecode."""
    without = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHONPYCACHE", "PYTHONDONTWRITE"))}
    variables = {**without, "MARKETPULSE_CACHE_DIR": str(cache), **environment}
    done = subprocess.run([sys.executable, "-c", script], env=variables, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_bytecode_goes_to_the_cache_where_python_may_not_write_it_unless_others_import_us(tmp_path: Path) -> None:
    import numba

    said = start(tmp_path, PYTHONDONTWRITEBYTECODE="1")
    if Path(numba.__file__).with_name("__pycache__").is_dir():  # the installer's is as good: it stays in use
        assert said == "None True"
        assert not any(tmp_path.iterdir())
    else:
        assert said == f"{tmp_path / 'bytecode'} False"
        assert any((tmp_path / "bytecode").rglob("typer/__init__.*.pyc"))
    script = f"import sys, marketpulse; marketpulse.sql; {SAY}; print('numba' in sys.modules)"
    assert start(tmp_path, script, PYTHONDONTWRITEBYTECODE="1").split() == ["None", "True", "False"]


def test_a_place_for_bytecode_that_somebody_named_stays_and_so_does_pythons_own(tmp_path: Path) -> None:
    named = str(tmp_path / "theirs")
    said = start(tmp_path / "ours", PYTHONDONTWRITEBYTECODE="1", PYTHONPYCACHEPREFIX=named)
    assert said == f"{named} True"
    assert not (tmp_path / "ours").exists()
    script = f"import sys; sys.dont_write_bytecode = False; {STARTS}"
    assert start(tmp_path, script, PYTHONPYCACHEPREFIX=str(tmp_path / "here")) == f"{tmp_path / 'here'} False"
    assert not (tmp_path / "bytecode").exists()


def test_new_directories_are_named_outermost_first_and_forced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert make_directory(tmp_path / "a" / "b" / "c") == [tmp_path, tmp_path / "a", tmp_path / "a" / "b"]
    assert (tmp_path / "a" / "b" / "c").is_dir()
    assert make_directory(tmp_path / "a" / "b" / "c") == []
    assert make_directory(tmp_path / "a" / "d") == [tmp_path / "a"]
    forced: list[str] = []
    monkeypatch.setattr(os, "fsync", lambda number: forced.append(str(Path(f"/proc/self/fd/{number}").readlink())))
    before = len(list(Path("/proc/self/fd").iterdir()))
    force(tmp_path)
    assert forced == [str(tmp_path)]
    assert len(list(Path("/proc/self/fd").iterdir())) == before


@pytest.mark.parametrize(("number", "full"), [
    (errno.ENOSPC, True), (errno.EDQUOT, True), (errno.EFBIG, False), (errno.EROFS, False), (errno.EIO, False),
])  # fmt: skip
def test_a_disk_is_full_when_it_or_the_users_share_of_it_has_no_space(number: int, full: bool) -> None:
    assert disk_is_full(OSError(number, os.strerror(number))) is full
    assert not disk_is_full(OSError("the archive is broken")), "an error without a number says nothing about the disk"


def test_before_anybody_sets_logging_up_only_errors_are_told_and_on_standard_error() -> None:
    script = (
        "from marketpulse.telemetry import get_logger\n"
        "get_logger().warning('a_warning'); get_logger().error('a_fault', place=3)"
    )
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60)
    assert run.stdout == ""
    assert "a_fault" in run.stderr
    assert "a_warning" not in run.stderr
