"""A child that kills itself with -9 at its n-th call of some functions, forked anew for each order.

The test starts its own file as a program through `KilledChildren`; there, `serve_orders` reads orders as lines of JSON
and forks for each, so that what is slow to import is imported once.
"""

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

FULL = os.environ.get("MARKETPULSE_HYPOTHESIS") == "full"
STRIDE = 1 if FULL else 2
"""How many moments of a kill a test goes on from one to the next: every one in the long campaign, else each second."""


def moments(every: int = 1, first: int = 0) -> range:
    """The calls to be killed before: each `every`-th one times STRIDE. With another `first`, others of them."""
    return range(1 + first % (every * STRIDE), 5_000, every * STRIDE)


class KilledChildren:
    """The end that the test holds; `file` is the program, which calls `serve_orders`."""

    def __init__(self, file: str) -> None:
        environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parent)}
        self._process = subprocess.Popen(
            [sys.executable, file], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
        )

    def run(self, **order: Any) -> int:
        """Carry out one order in a child; its exit code, -9 when it was killed. `kill_at` is the call, 0 for never."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(order, default=str) + "\n")
        self._process.stdin.flush()
        return int(self._process.stdout.readline())

    def close(self) -> None:
        self._process.communicate()


def serve_orders(work: Callable[[dict[str, Any]], None]) -> None:
    """Fork a child for each order on standard input, and answer with how it ended."""
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            work(json.loads(line))
            os._exit(0)
        _, status = os.waitpid(child, 0)
        sys.stdout.write(f"{os.waitstatus_to_exitcode(status)}\n")
        sys.stdout.flush()


def kill_at_call(number: int, functions: Iterable[tuple[Any, str]]) -> None:
    """Kill this process before the call of that number, counted over all functions: each an (owner, name)."""
    calls, lock = [0], threading.Lock()

    def counted(call: Callable[..., Any]) -> Callable[..., Any]:
        def count_then_call(*args: Any, **more: Any) -> Any:
            with lock:
                calls[0] += 1
                if calls[0] == number:
                    os.kill(os.getpid(), signal.SIGKILL)
            return call(*args, **more)

        return count_then_call

    for owner, name in functions:
        setattr(owner, name, counted(getattr(owner, name)))
