"""What `marketpulse lake` says and does: the tables' sizes and ages, and the chores on demand."""

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import Any

from marketpulse.catalog import Lake, open_lake, open_visible
from marketpulse.clock import Clock, SystemClock
from marketpulse.model.tables import TABLES
from marketpulse.settings import Settings
from marketpulse.sinks.lake_chores import Chores

_NS_PER_MS = 1_000_000


@dataclass(frozen=True, slots=True)
class Size:
    """One table as it stands. `age_s` is since its newest commit; None: there was none."""

    table: str
    rows: int
    files: int
    bytes: int
    snapshots: int
    age_s: float | None


def sizes(settings: Settings, clock: Clock | None = None) -> list[Size]:
    """Of every table. Raises Retryable while the lake is away."""
    now_ms = (clock or SystemClock()).now_ns() // _NS_PER_MS
    visible = open_visible(settings)
    pictures = visible.read()
    tables = visible.lake.tables(tuple(TABLES))
    found = []
    for name, picture in pictures.items():
        age_s = None if picture.committed_ms is None else (now_ms - picture.committed_ms) / 1_000
        found.append(Size(
            name, sum(f.rows for f in picture.files), len(picture.files), sum(f.size_bytes for f in picture.files),
            len(tables[name].metadata.snapshots) if name in tables else 0, age_s,
        ))  # fmt: skip
    return found


def size_lines(where: str, found: list[Size]) -> Iterator[str]:
    """The same for people."""
    yield where
    yield f"{'table':<14}{'rows':>14}{'files':>8}{'size':>12}{'snapshots':>11}  newest commit"
    for one in found:
        age = "none" if one.age_s is None else f"{age_text(one.age_s)} ago"
        yield f"{one.table:<14}{one.rows:>14,}{one.files:>8,}{_size(one.bytes):>12}{one.snapshots:>11,}  {age}"


def age_text(seconds: float) -> str:
    """`8 s`, `12 min`, `5 h`, `3 days`."""
    for length, name in ((86_400, "days"), (3_600, "h"), (60, "min")):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {name}"
    return f"{max(0.0, seconds):.0f} s"


def as_json(where: str, found: list[Size]) -> dict[str, Any]:
    return {"where": where, "tables": [asdict(one) for one in found]}


def compact(settings: Settings) -> Iterator[str]:
    """Merge all small files; a line for each table that has fewer now."""
    return _each(settings, lambda chores, name: _counted(chores.compact(name), "fewer files"))


def expire(settings: Settings) -> Iterator[str]:
    """Delete the days that are past their retention, then the snapshots that are too old."""

    def work(chores: Chores, name: str) -> Iterator[str]:
        for gone in chores.delete_old(name):
            of = f" {gone.what.partition('@')[2]}" if "@" in gone.what else ""
            yield f"{gone.rows:,}{of} rows of {gone.first_day} to {gone.last_day} deleted"
        yield from _counted(chores.expire(name), "snapshots expired")

    return _each(settings, work)


def clean(settings: Settings) -> Iterator[str]:
    """Remove what interrupted commits have left behind."""
    return _each(settings, lambda chores, name: _counted(chores.clean(name), "left-over files removed"))


def _each(settings: Settings, work: Callable[[Chores, str], Iterator[str]]) -> Iterator[str]:
    lake: Lake = open_lake(settings)
    chores = Chores(lake, settings, SystemClock())
    done = 0
    for name in TABLES:
        for line in work(chores, name):
            done += 1
            yield f"{name}: {line}"
    if not done:
        yield f"{lake.where}: nothing to do"


def _counted(count: int, what: str) -> Iterator[str]:
    if count:
        yield f"{count:,} {what}"


def _size(count: int) -> str:
    size = float(count)
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1_000:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1_000
    return f"{size:.1f} TB"
