"""Why the broker did not start, or died: what its log says, turned into what a person can do."""

import shutil
from collections.abc import Collection
from pathlib import Path

from marketpulse.errors import EnvironmentProblem, MarketPulseError, Retryable, SettingsError

FREE_BYTES_MIN = 256 * 1024 * 1024
_TAIL_BYTES = 64 * 1024
_SHOWN_LINES = 8


def check_disk(directory: Path) -> None:
    """Raises EnvironmentProblem when the disk of `directory` has less than 256 MiB left."""
    free = shutil.disk_usage(directory).free
    if free < FREE_BYTES_MIN:
        raise disk_full(directory, free)


def disk_full(directory: Path, free: int | None = None) -> EnvironmentProblem:
    left = "" if free is None else f" ({free / 1024**2:.0f} MiB left, {FREE_BYTES_MIN // 1024**2} needed)"
    return EnvironmentProblem(
        f"the disk of {directory} is full{left}: free some space, or set MARKETPULSE_DATA_DIR to another disk"
    )


def port_taken(port: int) -> EnvironmentProblem:
    return EnvironmentProblem(
        f"port {port} on 127.0.0.1 is taken by another program: set broker.port to another (0: a free one), or stop that program"
    )


def tail(path: Path, lines: int = 200, begin: int = 0) -> list[str]:
    """The last lines of a file behind its byte `begin`; none when it is not there.

    A file shorter than `begin` was rolled over: all of it is newer.
    """
    try:
        with path.open("rb") as file:
            size = path.stat().st_size
            file.seek(max(begin if begin <= size else 0, size - _TAIL_BYTES))
            return file.read().decode(errors="replace").splitlines()[-lines:]
    except OSError:
        return []


def explain(
    said: list[str], what: str, *, data_dir: Path, port: int, log: Path, chosen: Collection[str] = ()
) -> MarketPulseError:
    """The error for a broker that is gone. `said` are the last lines of its log and its output; `what` says how it ended;
    `chosen` are the names in `[broker.properties]`."""
    text = "\n".join(said)
    if chosen and (refusal := _refused_property(said, chosen)) is not None:
        return refusal
    if "No space left on device" in text or "Disk quota exceeded" in text:
        return disk_full(data_dir)
    if "Address already in use" in text:
        return port_taken(port)
    if "Failed to acquire lock" in text:
        return EnvironmentProblem(
            f"another broker uses {data_dir}: stop it, or set MARKETPULSE_DATA_DIR to another directory"
        )
    if "OutOfMemoryError" in text:
        return EnvironmentProblem(
            f"the broker ran out of heap: raise broker.heap_mb (up to 512) or KAFKA_HEAP_OPTS (any); log: {log}"
        )
    if "Cannot allocate memory" in text:
        return EnvironmentProblem(f"Java cannot start: {_last(said)}; free memory, or lower broker.heap_mb")
    if "Error occurred during initialization of VM" in text or "Could not create the Java Virtual Machine" in text:
        return SettingsError(
            f"Java cannot start: {_last(said)}; lower broker.heap_mb (KAFKA_HEAP_OPTS), or name another Java with broker.java"
        )
    if "Permission denied" in text or "AccessDeniedException" in text or "Read-only file system" in text:
        return EnvironmentProblem(
            f"the broker may not write to {data_dir}: make it writable, or set MARKETPULSE_DATA_DIR; log: {log}"
        )
    return Retryable(f"the broker {what}; the end of {log}:\n" + "\n".join(said[-_SHOWN_LINES:]))


def _refused_property(said: list[str], chosen: Collection[str]) -> SettingsError | None:
    """What Kafka, in its own words, has against the properties that somebody chose; None when it was something else."""
    at_fault = ("ConfigException", "IllegalArgumentException", "requirement failed")
    line = next((line.strip() for line in said if any(word in line for word in at_fault)), None)
    if line is None:
        return None
    named = sorted((name for name in chosen if name in line), key=len, reverse=True)
    place = f"broker.properties.{named[0]}" if named else "broker.properties"
    return SettingsError(f"{place}: the broker does not start with it: {line}; correct it, or remove it")


def _last(lines: list[str]) -> str:
    return next((line.strip() for line in reversed(lines) if line.strip()), "")
