"""The scorecard for a terminal."""

from collections.abc import Mapping, Sequence
from typing import Any

_NONE = "-"
_HEADS = ("source", "kind", "state", "symbols", "rows/s", "lag p50", "p99", "behind", "coverage", "gaps", "missing",
          "reconnects", "set aside", "suspect", "apart bps", "requests", "on disk")  # fmt: skip


def table(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """A line for each source, under a line of heads."""
    cells = [_HEADS, *(_cells(row) for row in rows)]
    widths = [max(len(row[i]) for row in cells) for i in range(len(_HEADS))]
    return ["  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip() for row in cells]


def _cells(row: Mapping[str, Any]) -> tuple[str, ...]:
    gaps = row["gaps"]
    return (
        row["source"], row["kind"] or _NONE, row["state"], f"{row['symbols']:,}", f"{row['rows_per_s']:,.1f}",
        duration(row["lag_p50_ms"]), duration(row["lag_p99_ms"]), duration(row["behind_ms"]), percent(row["coverage"]),
        _by_state(gaps, "gaps"), _by_state(gaps, "trades"), _count(row["reconnects"]), f"{_aside(row):,}",
        f"{sum(row['quality'].values()):,}", _apart(row), _requests(row["requests"]), _disk(row),
    )  # fmt: skip


def _by_state(gaps: Mapping[str, Mapping[str, int]], what: str) -> str:
    """`12: 10 healed, 2 open`."""
    counts = {state: gaps[state][what] for state in ("healed", "found", "open")}
    if not any(counts.values()):
        return "0"
    words = {"healed": "healed", "found": "asked for", "open": "open"}
    return f"{sum(counts.values()):,}: " + ", ".join(f"{n:,} {words[state]}" for state, n in counts.items() if n)


def duration(ms: float | None) -> str:
    if ms is None:
        return _NONE
    for unit, size in (("d", 86_400_000), ("h", 3_600_000), ("min", 60_000), ("s", 1_000)):
        if ms >= size:
            return f"{ms / size:.3g} {unit}"
    return f"{ms:.0f} ms"


def percent(share: float | None) -> str:
    """Rounded down: 100 % is said only of all."""
    return _NONE if share is None else f"{int(share * 1_000) / 10:g} %"


def _count(number: int | None) -> str:
    return _NONE if number is None else f"{number:,}"


def _aside(row: Mapping[str, Any]) -> int:
    """Dead letters that name the source, and what its process refused of its input."""
    return int(sum(row["dead_letters"].values()) + sum((row["rejected"] or {}).values()))


def _apart(row: Mapping[str, Any]) -> str:
    if row["disagreement_p50_bps"] is None:
        return _NONE
    return f"{row['disagreement_p50_bps']:.2f}, p99 {row['disagreement_p99_bps']:.2f}"


def _requests(requests: Mapping[str, Any] | None) -> str:
    if requests is None:
        return _NONE
    if requests["a_day"] is not None:
        return f"{requests['today']:,} of {requests['a_day']:,} today"
    return f"{requests['asked']:,}"


def _disk(row: Mapping[str, Any]) -> str:
    if not row["rows_on_disk"]:
        return _NONE if row["rows_on_disk"] is None else "0"
    return f"{row['rows_on_disk']:,} for {duration(1e3 * row['on_disk_s'])}"
