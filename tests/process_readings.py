"""Looks at processes that were never there, for tests of what is made of them; and run files of those that are."""

import json
from pathlib import Path

from marketpulse.app.observing.picture import Look
from marketpulse.app.observing.readings import Reading, Samples


def samples(**counts: float) -> Samples:
    """`rows_stored__sink_lake=3` is rows_stored{sink="lake"}."""
    found: dict[tuple[str, tuple[tuple[str, str], ...]], float] = {}
    for text, value in counts.items():
        name, *labels = text.split("__")
        found[name, tuple(sorted(tuple(label.split("_", 1)) for label in labels))] = value  # type: ignore[misc]
    return Samples(found)


def reading(name: str, pid: int = 1, trouble: str | None = None, cpu_s: float = 0.0, **counts: float) -> Reading:
    return Reading(name, pid, trouble, samples(**counts), cpu_s=cpu_s, memory_bytes=1_000, started_s=5.0)


def look(at_s: float, *readings: Reading, free: int = 10**12) -> Look:
    return Look(at_s, int(1_000 * at_s), readings, free)


def write_run_file(run: Path, name: str, pid: int, port: int) -> None:
    run.mkdir(exist_ok=True)
    (run / f"{name}.json").write_text(json.dumps({"name": name, "pid": pid, "metrics_port": port}))
