"""Child processes that have loaded everything: forked from one process that imported it once (tests/loaded_kernels.py).

An interpreter of its own takes a child two to four seconds of processor before its work begins; a fork takes 0.1.
"""

import io
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from multiprocessing import forkserver
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any
from unittest.mock import patch

from marketpulse.app.nursery import HEAVY, LIGHT

forkserver.set_forkserver_preload([*LIGHT, *HEAVY, "loaded_kernels"])
_IMPORTS = os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")]).rstrip(os.pathsep)


class Forked(ForkServerProcess):
    """`work(*arguments)` in a process of its own, begun at once, with those methods of Popen that tests use.

    What it prints is appended to the file `output`, its errors to `errors` where that is another one; without one it goes
    where this process's does.
    """

    def __init__(
        self, work: Callable[..., Any], *arguments: Any, environment: Mapping[str, str], cwd: Path,
        output: Path | None = None, errors: Path | None = None,
    ) -> None:  # fmt: skip
        given = (work, arguments, dict(environment), cwd, output, errors or output)
        super().__init__(target=_begin, args=given, daemon=True)
        with patch.dict(os.environ, {"PYTHONPATH": _IMPORTS, "OPENBLAS_NUM_THREADS": "1"}):
            forkserver.ensure_running()  # with one thread: only then it may fork
        self.start()

    def poll(self) -> int | None:
        return self.exitcode

    def wait(self, timeout: float | None = None) -> int:
        """Its exit code. Raises TimeoutExpired while it works on."""
        self.join(timeout)
        if self.exitcode is None:
            raise subprocess.TimeoutExpired(self.name, timeout or 0)
        return self.exitcode

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(int(self.pid or 0), number)


def forked_command(*words: str, environment: Mapping[str, str], cwd: Path, output: Path | None = None) -> Forked:
    """`marketpulse WORDS…`, from its entry point on."""
    return Forked(command, *words, environment=environment, cwd=cwd, output=output)


def command(*words: str, typed: str = "") -> None:
    """`marketpulse WORDS…`, in this process, with `typed` on its standard input."""
    from marketpulse.app.cli import main

    sys.argv, sys.stdin = ["marketpulse", *words], io.TextIOWrapper(io.BytesIO(typed.encode()))
    main()


def _begin(
    work: Callable[..., Any], arguments: tuple[Any, ...], environment: dict[str, str], cwd: Path, output: Path | None,
    errors: Path | None,
) -> None:  # fmt: skip
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(cwd)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for descriptor, file in ((1, output), (2, errors)):
        if file is not None:
            with file.open("ab") as log:
                os.dup2(log.fileno(), descriptor)
    work(*arguments)
