"""Where batches come to rest: one file each, one conformance suite over all."""

from typing import Literal, get_args

from marketpulse.clock import Clock, SystemClock
from marketpulse.errors import ParameterError
from marketpulse.settings import Settings
from marketpulse.sinks.files import FileSink

SinkName = Literal["lake", "archive"]


def open_sink(settings: Settings, which: str, clock: Clock | None = None) -> FileSink:
    """The sink of this name, at the place that the settings give it. Raises ParameterError."""
    from marketpulse.sinks.archive import open_archive
    from marketpulse.sinks.lake import open_lake

    openers = {"lake": open_lake, "archive": open_archive}
    if which not in openers:
        raise ParameterError(f"there is no sink {which!r}: choose one of {', '.join(get_args(SinkName))}")
    section = settings.sinks.lake if which == "lake" else settings.sinks.archive
    return openers[which](section.url or settings.data_dir / which, clock or SystemClock())


__all__ = ["FileSink", "SinkName", "open_sink"]
