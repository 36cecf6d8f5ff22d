"""A child's eye on its parent: when the supervisor dies, even by kill -9, its children end too.

The supervisor holds the writing end of a pipe and never writes. The child reads: the read ends only
when the last writer is gone. That needs no polling and works alike on Linux and macOS.

Nobody is left then to stop the children in order, so each waits a moment of its own first: the
sources none, the broker longest.
"""

import os
import signal
import threading
import time

VARIABLE = "MARKETPULSE_PARENT_PIPE"
GRACE_S = 14.0  # to finish; then the child ends itself for good


def variable(pipe: int, delay_s: float) -> dict[str, str]:
    """What the supervisor puts into a child's environment: the pipe, and how long the child waits first."""
    return {VARIABLE: f"{pipe},{delay_s}"}


def watch(grace_s: float = GRACE_S) -> None:
    """Start watching, if this process was started by a supervisor."""
    found = os.environ.pop(VARIABLE, None)
    if found is not None:
        pipe, delay_s = found.split(",")
        arguments = (int(pipe), float(delay_s), grace_s)
        threading.Thread(target=_wait, args=arguments, name="parent", daemon=True).start()


def _wait(pipe: int, delay_s: float, grace_s: float) -> None:
    try:
        while os.read(pipe, 1):
            pass
    except OSError:
        return  # not a pipe of ours
    time.sleep(delay_s)
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(grace_s)
    # Whatever this process started is in its session too: leave nothing behind.
    if os.getsid(0) == os.getpid():
        os.killpg(os.getpid(), signal.SIGKILL)
    os.kill(os.getpid(), signal.SIGKILL)
