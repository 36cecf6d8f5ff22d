"""Stores the known topics (log_of_rows.py); as a program, in children that are killed with -9: by themselves at their
n-th call of some functions, or by the test. Such a child says the offset that each flush has reached, and tries again
for as long as the store is away.

A test starts a file as a program through `KilledChildren`; there, `serve_orders` reads orders as lines of JSON and
forks for each, so that what is slow to import is imported once.
"""

import importlib
import json
import os
import pkgutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from log_of_rows import TOPICS, stretch
from marketpulse import sinks
from marketpulse.errors import Retryable
from marketpulse.ports import Sink, SinkBatch
from marketpulse.settings import Settings
from marketpulse.sinks import open_sink
from sink_stores import settings_for

FULL = os.environ.get("MARKETPULSE_HYPOTHESIS") == "full"
STRIDE = 1 if FULL else 3
"""How many moments of a kill a test goes on from one to the next: every one in the long campaign, else each third."""


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

    def start(self, **order: Any) -> int:
        """Carry out an order in a new child, whose pid it gives; `read` and `wait` follow it."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(order, default=str) + "\n")
        self._process.stdin.flush()
        return int(self.read().removeprefix("began "))

    def read(self) -> str:
        """Give the next line that the child prints, or `ended N`, its exit code: -9 when it was killed."""
        assert self._process.stdout is not None
        return self._process.stdout.readline().strip()

    def wait(self) -> int:
        """Read on to the child's end; its exit code."""
        while not (line := self.read()).startswith("ended "):
            pass
        return int(line.removeprefix("ended "))

    def run(self, **order: Any) -> int:
        """Carry out one order; how it ended. `kill_at` is the call to be killed before, 0 for never."""
        self.start(**order)
        return self.wait()

    def close(self) -> None:
        self._process.communicate()


def serve_orders(work: Callable[[dict[str, Any]], None]) -> None:
    """Fork a child for each order on standard input. It says that it began, this process how it ended."""
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            say(f"began {os.getpid()}")
            work(json.loads(line))
            os._exit(0)
        say(f"ended {os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])}")


def say(line: str) -> None:
    """Answer with a line that `KilledChildren.read` gives."""
    sys.stdout.write(line + "\n")
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


def write(sink: Sink, batches: Iterable[SinkBatch]) -> None:
    """Those of the sink's tables."""
    for one in batches:
        if one.table in sink.tables:
            sink.write(one)


def store(
    sink: Sink, end: int, cut: int, partitions: Sequence[int] = (0, 1), *, tell: bool = False,
    flush: Callable[[Sink], None] = lambda sink: sink.flush(),
) -> None:  # fmt: skip
    """Store every topic up to the offset `end`, `cut` offsets a flush, from where the sink wants it."""
    wanted = sink.resume() or {}
    for first in range(0, end, cut):
        for topic in TOPICS:
            for partition in partitions:
                begin = max(first, wanted.get((topic, partition), 0))
                if begin < min(first + cut, end):
                    write(sink, stretch(topic, partition, begin, min(first + cut, end)))
        flush(sink)
        if tell:
            say(str(min(first + cut, end)))


def store_in(settings: Settings, name: str, end: int, cut: int, partitions: Sequence[int]) -> None:
    """As `store`, into the sink of that name."""
    store(open_sink(settings, name), end, cut, partitions)


def _store_until_killed(order: dict[str, Any]) -> None:
    os.environ.update(order["environment"])
    sink = open_sink(settings_for(order["name"], order["section"], Path(order["data_dir"])), order["name"])
    while True:
        try:
            return store(sink, order["end"], order["cut"], tell=True)
        except Retryable as error:
            print(f"waits: {error}", file=sys.stderr, flush=True)  # noqa: T201
            time.sleep(0.1)


if __name__ == "__main__":
    for module in pkgutil.iter_modules(sinks.__path__, "marketpulse.sinks."):
        importlib.import_module(module.name)
    serve_orders(_store_until_killed)
