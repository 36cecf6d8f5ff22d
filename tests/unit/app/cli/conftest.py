"""The command line without a process for each call: its exit code and what it writes."""

import faulthandler
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from marketpulse.app.cli.main import main


class Done(NamedTuple):
    code: int
    out: str
    err: str


@pytest.fixture
def marketpulse(
    own_place: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Callable[..., Done]:
    """`marketpulse ARGUMENTS…` from its first line to its exit, in a working directory of its own."""
    monkeypatch.setattr(faulthandler, "enable", lambda: None)  # the tests' own tells of crashes

    def run(*arguments: str) -> Done:
        monkeypatch.setattr(sys, "argv", ["marketpulse", *arguments])
        capfd.readouterr()
        with pytest.raises(SystemExit) as ended:
            main()
        return Done(int(ended.value.code or 0), *capfd.readouterr())

    return run
