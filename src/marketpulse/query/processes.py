"""Starts the processes that run queries, and reads what their heads say."""

import os
import pickle
import shutil
import socket
import struct
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from marketpulse import errors
from marketpulse.errors import EnvironmentProblem, MarketPulseError, QueryLimit, QueryRefused
from marketpulse.ports import SqlMistake
from marketpulse.settings import Settings, SqlSettings

LENGTH = struct.Struct("!I")  # before each call and each head
ORDER = struct.Struct("!cI")  # to the fork server: F or K, and the child's number
ENDED = struct.Struct("!Ii")  # from it: the child's number, and its exit code as subprocess has it
HEAD_BYTES_MAX = 1_000_000
_CODE = """
import sys
class Without:  # pyarrow and structlog import them where they are installed: a second, and 60 MB, for nothing
    @staticmethod
    def find_spec(name, path=None, target=None):
        if name in ("pandas", "rich"):
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, Without)
from marketpulse.cache import keep_bytecode
keep_bytecode()
from marketpulse.query.{} import main
main()
"""


def start_process(module: str, settings: Settings) -> tuple[subprocess.Popen[bytes], socket.socket]:
    """Run the `main` of a module of this package in a process of its own, with a socket to it. Raises OSError.

    The settings go through a file without a name: they may hold keys, which no command line or environment should show.
    """
    ours, theirs = socket.socketpair()
    with theirs, tempfile.TemporaryFile() as given:
        pickle.dump(settings, given)
        given.seek(0)
        process = subprocess.Popen(
            [sys.executable, "-c", _CODE.format(module), str(theirs.fileno())],
            stdin=given, stdout=subprocess.DEVNULL, pass_fds=(theirs.fileno(),), start_new_session=True,
            # Memory pools of their own would map more than the limit on the address space allows.
            env={**os.environ, "OPENBLAS_NUM_THREADS": "1", "ARROW_DEFAULT_MEMORY_POOL": "system", "MALLOC_ARENA_MAX": "2"},
        )  # fmt: skip
    return process, ours


def error_of(fields: dict[str, Any]) -> MarketPulseError:
    """The error that a head tells of; one that is not ours is of the child's surroundings."""
    kind: type[MarketPulseError] = getattr(errors, fields["type"], EnvironmentProblem)
    error = kind(fields["message"])
    if isinstance(error, QueryRefused) and fields["mistake"] is not None:
        error.mistake = SqlMistake(**fields["mistake"])
    return error


def remove_spill(data_dir: Path, pid: int) -> None:
    """Remove what a child that was killed has spilled to disk."""
    for path in data_dir.glob(f"sql-{pid}-*"):
        shutil.rmtree(path, ignore_errors=True)


def took_too_long(limits: SqlSettings) -> QueryLimit:
    return QueryLimit(f"the query took longer than {limits.timeout_s:g} s: narrow it, or raise sql.timeout_s")


def ended_by_itself(limits: SqlSettings) -> QueryLimit:
    return QueryLimit(
        f"the query's process was ended: it needs far more than {limits.memory_limit_mb} MB, or is nested too deeply: "
        "narrow it, or raise sql.memory_limit_mb"
    )
