"""Where a trade's microsecond goes: the processor time of the engine's thread, stage by stage.

    python bench/stages.py [--trades 1000000] [--symbols 500] [--rounds 2]

One worker catches up as in bench/catchup.py, with a timer around each stage; the second round and later ones are told,
of those the quickest. The thread's own clock counts, so that other work beside it changes little. The client's threads
and the broker are not in it.
"""

import argparse
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

from catchup import MINUTES, TIMEFRAMES, with_timeframes, write
from own_broker import own_broker
from results import report

from marketpulse.app import worker as worker_module
from marketpulse.app.engine_config import engine_config
from marketpulse.app.worker import Worker
from marketpulse.clock import SystemClock
from marketpulse.engine import rewind, step, step_rows
from marketpulse.engine.record_rows import ResultRows
from marketpulse.kafka.market_reader import MarketReader
from marketpulse.kafka.row_writer import RowWriter
from marketpulse.kafka.topics import ensure_topics
from marketpulse.kafka.transaction import TransactionalLog
from marketpulse.settings import Settings

STAGES: tuple[tuple[str, Any, str], ...] = (
    ("consume", TransactionalLog, "poll"),
    ("decode", MarketReader, "_decode"),
    ("bars", step, "take_rows"),
    ("bars", step, "close_due"),
    ("window", step_rows, "make_room"),
    ("indicators", step_rows, "indicate"),
    ("alerts", step_rows, "watch"),
    ("rows", ResultRows, "bars"),
    ("rows", ResultRows, "indicators"),
    ("rows", worker_module, "told_alert_rows"),
    ("encode", RowWriter, "lay_out"),
    ("encode", worker_module, "lay_out_rows"),
    ("produce", TransactionalLog, "write_rows"),
    ("snapshots", rewind, "move_anchor"),
    ("commit", TransactionalLog, "commit"),
)
"""What is timed: the stage, and the function of ours that does it. What else the thread does is `other`."""


@contextmanager
def timed(spent: dict[str, float]) -> Iterator[None]:
    """Adds the thread's seconds in each stage to `spent`; a stage inside another one counts for itself."""
    inside = [0.0]

    def around(stage: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*given: Any, **named: Any) -> Any:
            began, inner = time.thread_time(), inside[0]
            inside[0] = 0.0
            try:
                return function(*given, **named)
            finally:
                took = time.thread_time() - began
                spent[stage] += took - inside[0]
                inside[0] = inner + took

        return call

    patches = [patch.object(owner, name, around(stage, getattr(owner, name))) for stage, owner, name in STAGES]
    for each in patches:
        each.start()
    try:
        yield
    finally:
        for each in patches:
            each.stop()


def measure(settings: Settings, records: int, rounds: int, name: str) -> dict[str, float]:
    """Seconds by stage of the quickest round after the first."""
    best: dict[str, float] = {}
    for turn in range(rounds + 1):
        process = settings.process.model_copy(update={"group": f"{name}-{turn}", "live_per_s": 0.0})
        spent: dict[str, float] = defaultdict(float)
        with timed(spent):
            worker = Worker(
                settings.model_copy(update={"process": process}), engine_config(settings.engine), 0, SystemClock()
            )
            worker.start()
            seen = 0
            while not seen:
                spent.clear()
                began = time.thread_time()
                seen = worker.turn()
            while seen < records:
                seen += worker.turn()
            whole = time.thread_time() - began
            stages = dict(spent)
            worker.stop()
        stages["other"] = whole - sum(stages.values())
        if turn and (not best or whole < sum(best.values())):
            best = stages
    return best


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trades", type=int, default=1_000_000)
    parser.add_argument("--symbols", type=int, default=500)
    parser.add_argument("--rounds", type=int, default=2)
    given = parser.parse_args()
    for wire in ("json", "arrow"):
        with own_broker() as settings:
            ensure_topics(settings)
            records = write(settings, given.trades, given.symbols, wire)
            for frames in (TIMEFRAMES, MINUTES):
                name = f"stages_{wire}_from_{frames[0]}"
                found = measure(with_timeframes(settings, frames), records, given.rounds, name)
                whole = sum(found.values())
                for stage, seconds in sorted(found.items(), key=lambda item: -item[1]):
                    report({
                        "name": f"{name}_{stage}", "value": round(seconds / given.trades * 1e6, 4), "unit": "us/trade",
                        "ratio": round(seconds / whole, 3), "ratio_to": f"the thread's {whole / given.trades * 1e6:.3f} us/trade",
                    })  # fmt: skip


if __name__ == "__main__":
    main()
