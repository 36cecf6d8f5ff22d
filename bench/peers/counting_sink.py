"""Where a peer's result rows end: they are counted, and the last of the symbols that are compared is kept.

Rows are timed from the first to the last; where they come in batches, from the end of the first batch on.
"""

import argparse
import json
import os
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass

MEASURE_S = 60.0  # a peer that is not through by then is judged by what it did


@dataclass(frozen=True, slots=True)
class Given:
    """What the bench tells a peer: where the trades are, how many, and whose values to keep."""

    bootstrap: str
    topic: str
    partitions: int
    trades: int
    compared: tuple[str, ...]
    work: str  # a folder for what the peer writes
    jars: tuple[str, ...]


def given() -> Given:
    parser = argparse.ArgumentParser()
    parser.add_argument("--bootstrap", required=True)
    parser.add_argument("--topic", required=True)
    parser.add_argument("--partitions", type=int, required=True)
    parser.add_argument("--trades", type=int, required=True)
    parser.add_argument("--compared", required=True)
    parser.add_argument("--work", required=True)
    parser.add_argument("--jars", default="")
    found = parser.parse_args()
    jars = tuple(jar for jar in found.jars.split(",") if jar)
    compared = tuple(found.compared.split(","))
    return Given(found.bootstrap, found.topic, found.partitions, found.trades, compared, found.work, jars)


class CountingSink:
    def __init__(self, given: Given) -> None:
        self._wanted = given.trades
        self._last: dict[str, tuple[int, Sequence[float] | None]] = dict.fromkeys(given.compared, (0, None))
        self._rows = self._before = 0
        self._began, self._timing = 0.0, False

    def start(self) -> None:
        """Time from now on, all rows: for an engine that may give everything in its first batch."""
        self._began, self._timing = time.perf_counter(), True

    def take(self, symbol: str, values: Sequence[float] | None) -> None:
        """One row. The last one ends the process: streaming engines read on without end."""
        if symbol in self._last:
            self._last[symbol] = (self._last[symbol][0] + 1, values)
        self._rows += 1
        if self._rows == 1:
            self._began, self._before = time.perf_counter(), 1
        elif self._rows >= self._wanted or (not self._rows & 255 and self._over()):
            self._end()

    def take_batch(self, rows: int, last: dict[str, tuple[int, Sequence[float]]]) -> None:
        """So many rows; and of each compared symbol among them how many, and its last values."""
        for symbol, (count, values) in last.items():
            self._last[symbol] = (self._last[symbol][0] + count, values)
        self._rows += rows
        if self._rows and not self._timing:
            self._began, self._before, self._timing = time.perf_counter(), self._rows, True
        if self._rows >= self._wanted or (self._timing and self._over()):
            self._end()

    def _over(self) -> bool:
        return time.perf_counter() - self._began > MEASURE_S

    def _end(self) -> None:
        finish(time.perf_counter() - self._began, self._rows - self._before, self._rows, self._last)


def finish(seconds: float, timed: int, rows: int, last: dict[str, tuple[int, Sequence[float] | None]]) -> None:
    """Tell the bench, and end at once: engines that read without end have no other way out."""
    kept = {symbol: [count, None if values is None else list(values)] for symbol, (count, values) in last.items()}
    said = json.dumps({"seconds": seconds, "timed": timed, "rows": rows, "last": kept})
    os.write(1, f"\n{said}\n".encode())  # the descriptor: some engines put a log of theirs behind sys.stdout
    sys.stderr.flush()
    os._exit(0)
