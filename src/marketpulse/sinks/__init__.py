"""Where batches come to rest: one file each, one conformance suite over all."""

from pathlib import Path

from marketpulse.clock import Clock, SystemClock
from marketpulse.errors import ParameterError
from marketpulse.settings import ArchiveSettings, LakeSettings, Settings
from marketpulse.sinks.files import FileSink


def open_sink(settings: Settings, which: str, clock: Clock | None = None) -> FileSink:
    """The sink `lake` or `archive`, at its place. Raises ParameterError for another name."""
    from marketpulse.sinks.archive import open_archive
    from marketpulse.sinks.lake import open_lake

    place = place_of(settings, which)
    opener = {"lake": open_lake, "archive": open_archive}[which]
    return opener(place, clock or SystemClock())


def settings_of(settings: Settings, which: str) -> LakeSettings | ArchiveSettings:
    """The sink's section of the settings. Raises ParameterError for a sink that there is not."""
    sections: dict[str, LakeSettings | ArchiveSettings] = {
        "lake": settings.sinks.lake,
        "archive": settings.sinks.archive,
    }
    if which not in sections:
        raise ParameterError(f"there is no sink {which!r}: choose one of {', '.join(sections)}")
    return sections[which]


def place_of(settings: Settings, which: str) -> str | Path:
    """Where the sink stores: its `url`, or its directory in the data directory."""
    return settings_of(settings, which).url or settings.data_dir / which


__all__ = ["FileSink", "open_sink", "place_of", "settings_of"]
