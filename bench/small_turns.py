"""What a turn of the worker costs when little has come: the processor time of its thread, by partition.

    python bench/small_turns.py [--trades 4 16 64] [--turns 300] [--partitions 12] [--symbols 100]

No broker: prepared records of each partition are taken in, and rows are laid out and then dropped. Full work as in
bench/latency.py: each trade closes a bar (`1t`) and so gives two rows with receipts. At 10,000 trades a second over
twelve partitions, 16 trades of each are a turn of 20 ms.
"""

import argparse
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any
from unittest.mock import MagicMock, patch

import numpy as np
from results import report

from marketpulse.app import worker as worker_module
from marketpulse.app.engine_config import engine_config
from marketpulse.app.warm import compile_parts
from marketpulse.app.worker import Worker
from marketpulse.clock import SystemClock
from marketpulse.kafka.partitioner import partitions_of
from marketpulse.kafka.records import Records, records_of
from marketpulse.kafka.transaction import Taken
from marketpulse.settings import Settings, load_settings

MIDNIGHT_NS = 1_767_225_600 * 10**9
HELLO = b'{"type":"hello","source":"bench","mode":"historical","run_id":"1"}'
TRADE = b'{"type":"trade","symbol":"%s","source":"bench","event_time_ns":%d,"price":%.2f,"size":%d,"trade_id":"%d"}'
FIRST = 20  # turns that are not counted: what grows at first has grown


class Log:
    """Hands out the prepared turns, and counts what is written."""

    def __init__(self, turns: list[list[Records]]) -> None:
        self._turns = iter(turns)
        self.rows = 0

    def poll(self, _timeout_s: float, _most: int) -> list[Records]:
        return next(self._turns)

    def write_rows(self, _topic: str, rows: Any) -> None:
        self.rows += len(rows)

    def write(self, _topic: str, rows: list[tuple[bytes, bytes]]) -> None:
        self.rows += len(rows)

    def serve(self) -> None:
        pass


def turns_of(trades: int, given: argparse.Namespace) -> Iterator[list[Records]]:
    """Each turn's records of all partitions: so many trades of each, over its symbols in turn."""
    random = np.random.default_rng(1)
    names = [f"SYM{i:05d}".encode() for i in range(given.symbols)]
    of = partitions_of(names, given.partitions)
    own = [[name for name, place in zip(names, of, strict=True) if place == p] for p in range(given.partitions)]
    for turn in range(given.turns):
        records = []
        for partition, symbols in enumerate(own):
            first = turn * trades
            values = [HELLO] if turn == 0 else []
            values += [
                TRADE
                % (symbols[i % len(symbols)], MIDNIGHT_NS + i * 1_200_000, 100 + random.random() * 10, 100 + i % 9, i)
                for i in range(first, first + trades)
            ]
            offsets = first + (turn > 0) + np.arange(len(values))
            records.append(replace(records_of(values), partition=partition, offsets=offsets))
        yield records


def measure(settings: Settings, trades: int, given: argparse.Namespace) -> tuple[float, int]:
    """The median turn's microseconds, and the rows that all gave."""
    log = Log(list(turns_of(trades, given)))
    with (
        patch.object(worker_module, "TransactionalLog", lambda *_: log),
        patch.object(worker_module, "ClockWriter", MagicMock()),
    ):
        worker = Worker(settings, engine_config(settings.engine), 0, SystemClock())
    worker._take([Taken(partition, None, None) for partition in range(given.partitions)])
    took = []
    for _ in range(given.turns):
        began = time.thread_time()
        worker.turn()
        took.append(time.thread_time() - began)
    return float(np.median(took[FIRST:])) * 1e6, log.rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trades", type=int, nargs="+", default=[4, 16, 64], help="of a partition in a turn")
    parser.add_argument("--turns", type=int, default=300)
    parser.add_argument("--partitions", type=int, default=12)
    parser.add_argument("--symbols", type=int, default=100)
    given = parser.parse_args()
    compile_parts("engine", "wire")
    base = load_settings()
    settings = base.model_copy(update={
        "engine": base.engine.model_copy(update={"timeframes": ("1t", "1s")}),
        "process": base.process.model_copy(update={"live_per_s": 0.0, "commit_ms": 10**9}),
    })  # fmt: skip
    for trades in given.trades:
        turn_us, rows = measure(settings, trades, given)
        report({
            "name": f"small_turns_{trades}_trades", "value": round(turn_us / given.partitions), "unit": "us/partition",
            "ratio": None, "ratio_to": None, "rows": rows,
        })  # fmt: skip


if __name__ == "__main__":
    main()
