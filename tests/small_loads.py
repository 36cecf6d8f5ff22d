"""`load` in steps of a thousand rows, each said in a line: for a child that gets killed between them."""

from pathlib import Path

from marketpulse.app.loading import load as module
from marketpulse.app.loading import storing
from marketpulse.settings import Settings
from marketpulse.sources import history


def load_in_small_steps(settings: Settings, path: Path) -> None:
    steps = history.stretches
    module.__dict__["stretches"] = lambda runs: steps(runs, 1_024)
    storing._WAITING_ROWS = 1
    module.load(settings, module.Request([str(path)], lake_only=True), lambda at: print(at.done, flush=True))  # noqa: T201


def lines(file: Path) -> int:
    """How many lines a file has, none where it is not there yet."""
    return file.read_text().count("\n") if file.exists() else 0
