"""One look at every process of a data directory: whether it turns, what it uses, and what it has counted."""

import contextlib
import json
import urllib.request
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import psutil

from marketpulse.settings import ServeSettings
from marketpulse.telemetry import TROUBLE_HEADER, read_metrics

_ANSWER_S = 2.0
_AT_ONCE = 8
_BROKER = "broker"
DIED = "it has died"

Labels = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Samples:
    """A process's metrics: by name without the prefix and by sorted labels."""

    values: Mapping[tuple[str, Labels], float] = field(default_factory=dict)

    def total(self, name: str, **labels: str) -> float:
        """The sum over all samples of the name that carry these labels; 0 where there is none."""
        return sum(self.by(name, **labels).values())

    def by(self, name: str, **labels: str) -> dict[Labels, float]:
        wanted = labels.items()
        return {
            found: value
            for (of, found), value in self.values.items()
            if of == name and all(pair in found for pair in wanted)
        }

    def labels(self, name: str, label: str) -> set[str]:
        """The values that a label has."""
        return {dict(found)[label] for of, found in self.values if of == name and label in dict(found)}


@dataclass(frozen=True, slots=True)
class Reading:
    """A process as it was found. `trouble` says why it does not do its work (None: it does)."""

    name: str
    pid: int
    trouble: str | None = None
    samples: Samples = Samples()
    cpu_s: float | None = None
    memory_bytes: int | None = None
    started_s: float | None = None
    url: str | None = None


def read_processes(run: Path) -> list[Reading]:
    """Those whose run files stand in the directory, by name. One that has died is in trouble."""
    files = sorted(run.glob("*.json"))
    with ThreadPoolExecutor(_AT_ONCE) as asking:
        return [reading for reading in asking.map(_read, files) if reading is not None]


def _read(path: Path) -> Reading | None:
    try:
        facts = json.loads(path.read_text())
        name, pid, port = path.stem, int(facts["pid"]), int(facts["metrics_port"])
    except (OSError, ValueError, KeyError, TypeError):
        return None  # it is just being written, or taken away
    url = facts.get("url") or facts.get("bootstrap_servers")
    try:
        process = psutil.Process(pid)
        with process.oneshot():
            times, memory, started = process.cpu_times(), process.memory_info().rss, process.create_time()
    except psutil.Error:
        return Reading(name, pid, DIED, url=url)
    used = times.user + times.system
    if name == _BROKER:  # it works in a child
        with contextlib.suppress(psutil.Error):
            for child in process.children():
                used += sum(child.cpu_times()[:2])
                memory += child.memory_info().rss
    try:
        text, trouble = _metrics(port, _ANSWER_S)
    except OSError as error:
        why = getattr(error, "reason", error)  # of urllib's own error: what it wraps
        return Reading(name, pid, f"it does not answer ({why})", Samples(), used, memory, started, url)
    return Reading(name, pid, trouble or None, parse(text), used, memory, started, url)


def samples_of(run_file: Path, within_s: float) -> Samples:
    """What the process of this run file says of itself; nothing where it does not answer within this time."""
    try:
        return parse(_metrics(int(json.loads(run_file.read_text())["metrics_port"]), within_s)[0])
    except (OSError, ValueError, KeyError):
        return Samples()


def ask_health(url: str, settings: ServeSettings) -> dict[str, Any] | None:
    """What the page's server at this address says of the pipeline (`/api/health`); None: no answer within two seconds."""
    token = settings.token
    headers = {} if token is None else {"Authorization": f"Bearer {token.get_secret_value()}"}
    asked = urllib.request.Request(f"{url.rstrip('/')}/api/health", headers=headers)  # noqa: S310  (our own URL)
    try:
        with urllib.request.urlopen(asked, timeout=_ANSWER_S) as answer:  # noqa: S310
            health = json.loads(answer.read())
    except (OSError, ValueError):
        return None
    return health if isinstance(health, dict) else None


def _metrics(port: int, within_s: float) -> tuple[str, str]:
    """A process's metrics, and why it does not do its work."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=within_s) as answer:
        return answer.read().decode(), unquote(answer.headers.get(TROUBLE_HEADER, ""))


def parse(text: str) -> Samples:
    """The samples of Prometheus text."""
    return Samples({(name, tuple(sorted(labels.items()))): value for name, labels, value in read_metrics(text)})


def together(samples: Iterable[Samples]) -> Samples:
    """The sums over several processes."""
    sums: dict[tuple[str, Labels], float] = {}
    for one in samples:
        for key, value in one.values.items():
            sums[key] = sums.get(key, 0.0) + value
    return Samples(sums)


def quantile(buckets: Mapping[float, float], share: float) -> float | None:
    """The value that `share` of the observations stayed under, from counts up to each upper bound; between two bounds
    as if they lay evenly. None without observations."""
    bounds = sorted(buckets)
    total = buckets[bounds[-1]] if bounds else 0.0
    if total <= 0:
        return None
    wanted, below, low = share * total, 0.0, 0.0
    for bound in bounds:
        count = buckets[bound]
        if count >= wanted:
            if bound == float("inf"):
                return low
            inside = count - below
            part = (wanted - below) / inside if inside else 1.0
            return min(low + (bound - low) * part, bound)  # the sum may round past the bound
        below, low = count, bound
    return low
