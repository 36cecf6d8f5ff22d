"""The disk under the data directory: `up` rests while it is full, and goes on when there is space again.

Kafka dies at the first write that finds no space. So everything is stopped in order while there is
still enough left for that, and nobody has to be there when somebody makes space.
"""

import contextlib
import shutil
from collections.abc import Iterator
from enum import Enum
from pathlib import Path
from typing import Any, TextIO

from marketpulse.errors import EnvironmentProblem, disk_is_full
from marketpulse.kafka.broker_faults import FREE_BYTES_MIN, disk_full

REST_BELOW_BYTES = 64 * 1024 * 1024  # a stop in order writes a few MiB: states, the lake's last files
LOOK_EVERY_S = 1.0


class Space(Enum):
    """What the space that is left is enough for."""

    ENOUGH = "enough"  # to start
    LITTLE = "little"  # for what runs to go on, but not to start
    NONE = "none"  # to do anything but stop


class Disk:
    """The space on the disk of one directory, looked at once a second."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._look_at = float("-inf")
        self.space = Space.ENOUGH

    def look(self, now: float) -> Space | None:
        """The space, if it has changed since the last look."""
        if now < self._look_at:
            return None
        self._look_at = now + LOOK_EVERY_S
        free = shutil.disk_usage(self._directory).free
        space = Space.ENOUGH
        if free < FREE_BYTES_MIN:
            space = Space.NONE if free < REST_BELOW_BYTES else Space.LITTLE
        before, self.space = self.space, space
        return None if space == before else space

    def problem(self) -> EnvironmentProblem:
        """What to tell a person."""
        return disk_full(self._directory, shutil.disk_usage(self._directory).free)


@contextlib.contextmanager
def naming_a_full_disk(directory: Path) -> Iterator[None]:
    """Raises EnvironmentProblem instead of the system's error when there was no space to write."""
    try:
        yield
    except OSError as error:
        if disk_is_full(error):
            raise disk_full(directory) from None
        raise


class LossyText:
    """A text stream for logs: a line that cannot be written is lost, and whoever wrote it goes on."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        with lossy():
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        with lossy():
            self._stream.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


@contextlib.contextmanager
def lossy() -> Iterator[None]:
    """What cannot be written inside for want of space is left out."""
    try:
        yield
    except OSError as error:
        if not disk_is_full(error):
            raise
