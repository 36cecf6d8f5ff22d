"""The data directory: private to its owner, with one supervisor, and one worker a slot."""

import contextlib
import fcntl
import os
import re
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import psutil

from marketpulse.errors import EnvironmentProblem, Fatal

_OTHERS = 0o077
_SPILL = re.compile(r"sql-(\d+)-")


def keep_private(data_dir: Path) -> int:
    """Let only its owner enter the data directory, whatever the umask; this process and its children make files
    that only the owner reads. Returns how many files and directories of an open one were closed. Raises OSError.
    """
    os.umask(_OTHERS)
    data_dir.mkdir(parents=True, exist_ok=True)
    if not data_dir.stat().st_mode & _OTHERS:
        return 0
    closed = 0
    for path in (*data_dir.rglob("*"), data_dir):
        with contextlib.suppress(FileNotFoundError, PermissionError):  # gone meanwhile; another owner's
            mode = path.lstat().st_mode
            if mode & _OTHERS and not stat.S_ISLNK(mode):
                path.chmod(stat.S_IMODE(mode) & ~_OTHERS)
                closed += 1
    return closed


def remove_spill(data_dir: Path) -> None:
    """Remove what queries of processes that were killed have left."""
    for path in data_dir.glob("sql-*"):
        owner = _SPILL.match(path.name)
        if owner is None or not psutil.pid_exists(int(owner[1])):
            shutil.rmtree(path, ignore_errors=True)


def lock_owner(lock: IO[str]) -> str:
    """Lock an open file, until it is closed or its process ends, and write this process's number into it. Returns "", or
    the number of the process that has it locked."""
    lock.seek(0)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return lock.read().strip() or "unknown"
    lock.truncate()
    lock.write(str(os.getpid()))
    lock.flush()
    return ""


def open_slot(run: Path, name: str) -> IO[str]:
    """The file that who works in the slot of this name holds locked."""
    run.mkdir(parents=True, exist_ok=True)
    return (run / f"{name}.lock").open("a+")


@contextlib.contextmanager
def worker_slot(data_dir: Path, name: str) -> Iterator[None]:
    """Hold the slot of the worker of this name, so that none begins meanwhile. Raises Fatal where one works."""
    with open_slot(data_dir / "run", name) as lock:
        if owner := lock_owner(lock):
            raise Fatal(
                f"process {owner} works as {name}: stop it, then do this again; what is stored is not stored twice"
            )
        yield


@contextlib.contextmanager
def only_one(data_dir: Path) -> Iterator[int]:
    """Hold the data directory: a second supervisor over the same one is refused. Gives what `keep_private` does.

    The lock goes with the process, so a killed one leaves none. Raises EnvironmentProblem.
    """
    run = data_dir / "run"
    try:
        closed = keep_private(data_dir)
        run.mkdir(exist_ok=True)
        lock: IO[str] = (run / "up.lock").open("a+")
    except OSError as error:
        raise EnvironmentProblem(
            f"the data directory {data_dir} cannot be written ({error.strerror}): "
            "make it writable, or name another with MARKETPULSE_DATA_DIR"
        ) from None
    with lock:
        if owner := lock_owner(lock):
            raise EnvironmentProblem(
                f"MarketPulse already runs on {data_dir} (process {owner}): "
                "stop that one, or name another directory with MARKETPULSE_DATA_DIR"
            )
        remove_spill(data_dir)
        yield closed
