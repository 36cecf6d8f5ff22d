"""A child's eye on its parent: when the supervisor dies, even by kill -9, its children end too.

The supervisor holds the writing end of a pipe and never writes. The child reads: the read ends only
when the last writer is gone. That needs no polling and works alike on Linux and macOS.
"""

import os
import signal
import threading
import time

VARIABLE = "MARKETPULSE_PARENT_PIPE"
GRACE_S = 10.0  # to finish in order; then the child ends itself for good


def watch(grace_s: float = GRACE_S) -> None:
    """Start watching, if this process was started by a supervisor."""
    number = os.environ.pop(VARIABLE, None)
    if number is not None:
        threading.Thread(target=_wait, args=(int(number), grace_s), name="parent", daemon=True).start()


def _wait(pipe: int, grace_s: float) -> None:
    try:
        while os.read(pipe, 1):
            pass
    except OSError:
        return  # not a pipe of ours
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(grace_s)
    # Whatever this process started is in its session too: leave nothing behind.
    if os.getsid(0) == os.getpid():
        os.killpg(os.getpid(), signal.SIGKILL)
    os.kill(os.getpid(), signal.SIGKILL)
