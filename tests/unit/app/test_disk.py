import shutil
import sys
from collections import namedtuple
from pathlib import Path

import pytest

from marketpulse.app.console import PlainScreen
from marketpulse.app.disk import Disk, LossyText, Space, lossy, naming_a_full_disk
from marketpulse.app.supervisor import Event, open_log
from marketpulse.errors import EnvironmentProblem

MIB = 1024 * 1024
needs_dev_full = pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
Usage = namedtuple("Usage", "total used free")


def leave(monkeypatch: pytest.MonkeyPatch, free: int) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(1_000 * MIB, 0, free))


def test_a_change_of_the_space_is_told_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    disk = Disk(tmp_path)
    leave(monkeypatch, 300 * MIB)
    assert disk.look(0) is None  # there is enough, as there was
    leave(monkeypatch, 200 * MIB)
    assert disk.look(0.5) is None  # it has just looked
    assert disk.look(1.0) == Space.LITTLE
    assert disk.look(2.0) is None
    leave(monkeypatch, 63 * MIB)
    assert disk.look(3.0) == Space.NONE
    leave(monkeypatch, 255 * MIB)
    assert disk.look(4.0) == Space.LITTLE
    leave(monkeypatch, 256 * MIB)
    assert disk.look(5.0) == Space.ENOUGH


def test_the_problem_says_where_how_much_is_left_and_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    leave(monkeypatch, 10 * MIB)
    said = str(Disk(tmp_path).problem())
    assert said.startswith(f"the disk of {tmp_path} is full (10 MiB left, 256 needed): free some space")


@needs_dev_full
def test_a_write_without_space_is_named(tmp_path: Path) -> None:
    with pytest.raises(EnvironmentProblem, match="is full"), naming_a_full_disk(tmp_path):
        Path("/dev/full").write_text("x")


def test_other_faults_keep_their_name(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), naming_a_full_disk(tmp_path):
        (tmp_path / "missing").read_text()
    with pytest.raises(FileNotFoundError), lossy():
        (tmp_path / "missing").read_text()


@needs_dev_full
def test_a_log_line_that_finds_no_space_ends_nothing() -> None:
    with Path("/dev/full").open("w", buffering=1) as full:
        log = LossyText(full)
        print("lost", file=log, flush=True)
        assert log.write("lost too\n") == 9
        with lossy():
            full.close()


@needs_dev_full
def test_a_screen_whose_file_is_on_the_full_disk_goes_on() -> None:
    full = Path("/dev/full").open("w")  # noqa: SIM115  (closing it raises: what was written is still held)
    PlainScreen(full).event(Event("disk", "is full", bad=True))
    with lossy():
        full.close()


def test_a_line_that_finds_space_is_written(capsys: pytest.CaptureFixture[str]) -> None:
    print("kept", file=LossyText(sys.stderr), flush=True)
    assert capsys.readouterr().err == "kept\n"


def test_a_childs_log_goes_on_behind_its_end(tmp_path: Path) -> None:
    (tmp_path / "log").write_bytes(b"before ")
    with open_log(tmp_path / "log") as log:
        log.write(b"after")
    assert (tmp_path / "log").read_bytes() == b"before after"
