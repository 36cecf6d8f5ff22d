"""What only a source's process knows: connections that ended, requests and their budget, what waits on the disk. Pure."""

from collections.abc import Mapping, Sequence
from typing import Any

from marketpulse.app.observing.readings import Samples
from marketpulse.settings import AnySource
from marketpulse.sources.defaults import source_name

_OF_SOURCES = ("rows_produced", "stream_messages", "rest_requests", "spool_rows", "source_errors", "stream_reconnects")


def kinds_of(sources: Mapping[str, AnySource]) -> dict[str, str]:
    """The kind of each configured source, by the name that its rows carry."""
    return {source_name(chosen.kind, name): chosen.kind for name, chosen in sources.items()}


def with_processes(
    rows: Sequence[Mapping[str, Any]], samples: Samples | None, kinds: Mapping[str, str]
) -> list[dict[str, Any]]:
    """The card's rows, each with what its process says (nulls: its process does not run here, or was not asked yet)."""
    return [{**row, "kind": _kind(row["source"], kinds), **_told(row["source"], samples)} for row in rows]


def _kind(source: str, kinds: Mapping[str, str]) -> str | None:
    """Feeds of `--live` are in no configuration: they are called as their kind."""
    return kinds.get(source) or (source if source in ("coinbase", "binance") else None)


def _told(source: str, samples: Samples | None) -> dict[str, Any]:
    if samples is None or not any(source in samples.labels(name, "source") for name in _OF_SOURCES):
        return {
            "reconnects": None,
            "faults": None,
            "requests": None,
            "rejected": None,
            "rows_on_disk": None,
            "on_disk_s": None,
        }
    asked = samples.total("rest_requests", source=source)
    a_day = samples.total("rest_budget", source=source) or None
    left = samples.total("rest_budget_left", source=source)
    return {
        "reconnects": int(samples.total("stream_reconnects", source=source)),
        "faults": int(samples.total("source_errors", source=source)),
        "requests": {
            "asked": int(asked),
            "today": None if a_day is None else int(a_day - left),
            "a_day": None if a_day is None else int(a_day),
        },
        "rejected": {
            dict(found)["reason"]: int(count) for found, count in samples.by("input_rejected", source=source).items()
        },
        "rows_on_disk": int(samples.total("spool_rows", source=source)),
        "on_disk_s": samples.total("spool_age_seconds", source=source),
    }
