import os
from pathlib import Path

import pytest

from marketpulse.durable import force, make_directory


def test_every_directory_that_has_a_new_entry_is_named_outermost_first(tmp_path: Path) -> None:
    assert make_directory(tmp_path / "a" / "b" / "c") == [tmp_path, tmp_path / "a", tmp_path / "a" / "b"]
    assert (tmp_path / "a" / "b" / "c").is_dir()
    assert make_directory(tmp_path / "a" / "b" / "c") == []
    assert make_directory(tmp_path / "a" / "d") == [tmp_path / "a"]


def test_a_directory_is_forced_and_its_descriptor_given_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    forced: list[str] = []
    monkeypatch.setattr(os, "fsync", lambda number: forced.append(str(Path(f"/proc/self/fd/{number}").readlink())))
    before = len(list(Path("/proc/self/fd").iterdir()))
    force(tmp_path)
    assert forced == [str(tmp_path)]
    assert len(list(Path("/proc/self/fd").iterdir())) == before
