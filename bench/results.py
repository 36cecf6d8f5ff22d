"""Where figures go: a line each to standard output, and all of one benchmark to bench/results/<benchmark>.json."""

import json
import os
import sys
from pathlib import Path
from typing import Any

from machine import machine

FOLDER = Path(os.environ.get("MARKETPULSE_BENCH_RESULTS", Path(__file__).parent / "results"))
_reported: dict[str, list[dict[str, Any]]] = {}


def report(row: dict[str, Any], file: str = Path(sys.argv[0]).stem) -> None:
    """A figure: name, value, unit, and where it has a peer ratio and ratio_to. Command and machine are added.

    The file is written anew with each figure, so that a run that fails keeps those it had.
    """
    whole = {**row, "command": " ".join(["python", *sys.argv]), "machine": machine()}
    rows = _reported.setdefault(file, [])
    rows.append(whole)
    print(json.dumps(whole), flush=True)
    FOLDER.mkdir(parents=True, exist_ok=True)
    (FOLDER / f"{file}.json").write_text(json.dumps(rows, indent=1) + "\n")
