"""A process that gets a share of one core, as on a small or a crowded machine, and a worker that has little time there."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest.mock import patch

import psutil

from forked import command
from marketpulse.app.pace import Pace
from marketpulse.app.pipeline import working
from marketpulse.kafka import transaction

_TICK_S = 0.01


@contextmanager
def throttled(pid: int, share: float) -> Iterator[None]:
    """Inside, the process is stopped whenever it has had more processor time than `share` of the time that has passed."""
    process, over = psutil.Process(pid), threading.Event()

    def hold_back() -> None:
        began, used = time.monotonic(), sum(process.cpu_times()[:2])
        while not over.wait(_TICK_S):
            process.suspend()
            while sum(process.cpu_times()[:2]) - used > share * (time.monotonic() - began) and not over.wait(_TICK_S):
                pass
            process.resume()

    thread = threading.Thread(target=hold_back)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def hurried_command(timed_out: Path, *words: str) -> None:
    """`marketpulse WORDS…` with a second for each transaction at first; those that run out of it are noted."""
    transaction.TRANSACTION_S = 1.0

    class NotedPace(Pace):
        def slow_down(self) -> None:
            super().slow_down()
            with timed_out.open("a") as file:
                file.write(f"{self.transaction_s}\n")

    with patch.object(working, "Pace", NotedPace):
        command(*words)
