"""A file of the archive gets its name when the disk has its content: after a power cut no name stands for half a file."""

import os
from pathlib import Path
from typing import Any

import pytest

from marketpulse.sinks.storage import LocalStorage


def test_content_is_forced_to_the_disk_before_the_file_gets_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    forced: set[int] = set()
    named: dict[str, bool] = {}
    fsync, link, replace = os.fsync, os.link, Path.replace

    def forcing(descriptor: int) -> None:
        fsync(descriptor)
        forced.add(os.fstat(descriptor).st_ino)

    def linking(source: Any, target: Any) -> None:
        named[Path(target).name] = Path(source).stat().st_ino in forced
        link(source, target)

    def replacing(source: Path, target: Any) -> Path:
        named[Path(target).name] = source.stat().st_ino in forced
        return replace(source, target)

    monkeypatch.setattr(os, "fsync", forcing)
    monkeypatch.setattr(os, "link", linking)
    monkeypatch.setattr(Path, "replace", replacing)
    storage = LocalStorage(tmp_path)
    storage.put({"table=trades/a": b"rows", "table=trades/b": b"more rows"}, "market-00")
    assert storage.create("_commits/market-00/0.json", b"commit", "market-00")
    assert named == {"a": True, "b": True, "0.json": True}
