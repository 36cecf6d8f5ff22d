"""One supervisor per data directory."""

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from marketpulse.errors import EnvironmentProblem


@contextlib.contextmanager
def only_one(data_dir: Path) -> Iterator[None]:
    """Hold the data directory: a second supervisor over the same one is refused.

    The lock goes with the process, so a killed one leaves none. Raises EnvironmentProblem.
    """
    run = data_dir / "run"
    try:
        run.mkdir(parents=True, exist_ok=True)
        lock: IO[str] = (run / "up.lock").open("a+")
    except OSError as error:
        raise EnvironmentProblem(
            f"the data directory {data_dir} cannot be written ({error.strerror}): "
            "make it writable, or name another with MARKETPULSE_DATA_DIR"
        ) from None
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            lock.seek(0)
            raise EnvironmentProblem(
                f"MarketPulse already runs on {data_dir} (process {lock.read().strip() or 'unknown'}): "
                "stop that one, or name another directory with MARKETPULSE_DATA_DIR"
            ) from None
        lock.seek(0)
        lock.truncate()
        lock.write(str(os.getpid()))
        lock.flush()
        yield
