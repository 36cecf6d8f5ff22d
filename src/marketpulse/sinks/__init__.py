"""Where batches come to rest: one file each, one conformance suite over all."""

from collections.abc import Callable
from pathlib import Path

from marketpulse.clock import Clock, SystemClock
from marketpulse.errors import ParameterError
from marketpulse.ports import Sink
from marketpulse.settings import Settings, StoreSettings


def _archive(settings: Settings, clock: Clock) -> Sink:
    from marketpulse.sinks.archive import open_archive

    return open_archive(settings, clock)


def _lake(settings: Settings, clock: Clock) -> Sink:
    from marketpulse.sinks.lake import open_lake_sink

    return open_lake_sink(settings, clock)


def _influx(settings: Settings, clock: Clock) -> Sink:  # noqa: ARG001
    from marketpulse.sinks.influx import open_influx

    return open_influx(settings.sinks.influx)


def _postgres(settings: Settings, clock: Clock) -> Sink:
    from marketpulse.sinks.postgres import open_postgres

    return open_postgres(settings.sinks.postgres, clock)


def _redis(settings: Settings, clock: Clock) -> Sink:  # noqa: ARG001
    from marketpulse.sinks.redis_store import open_redis

    return open_redis(settings.sinks.redis)


SINKS: dict[str, Callable[[Settings, Clock], Sink]] = {
    "lake": _lake,
    "archive": _archive,
    "postgres": _postgres,
    "influx": _influx,
    "redis": _redis,
}
"""How each sink is opened, by its name in the settings. A client is imported only where its sink is used."""


def open_sink(settings: Settings, which: str, clock: Clock | None = None) -> Sink:
    """The sink with this name, at its place. Raises ParameterError for a name that there is not."""
    settings_of(settings, which)
    return SINKS[which](settings, clock or SystemClock())


def settings_of(settings: Settings, which: str) -> StoreSettings:
    """The sink's section of the settings. Raises ParameterError for a sink that there is not."""
    if which not in SINKS:
        raise ParameterError(f"there is no sink {which!r}: choose one of {', '.join(SINKS)}")
    section: StoreSettings = getattr(settings.sinks, which)
    return section


def _place(url: str | None, settings: Settings, which: str) -> str | Path:
    return url or settings.data_dir / which


__all__ = ["SINKS", "open_sink", "settings_of"]
