"""Stores the known topics (log_of_rows.py); as a program, in children that get killed (killed_child.py).

Such a child says the offset that each flush has reached, and tries again for as long as the store is away.
"""

import importlib
import os
import pkgutil
import sys
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from killed_child import say, serve_orders
from log_of_rows import TOPICS, stretch
from marketpulse import sinks
from marketpulse.errors import Retryable
from marketpulse.ports import Sink, SinkBatch
from marketpulse.settings import Settings
from marketpulse.sinks import open_sink
from sink_stores import settings_for


def write(sink: Sink, batches: Iterable[SinkBatch]) -> None:
    """Those of the sink's tables."""
    for one in batches:
        if one.table in sink.tables:
            sink.write(one)


def store(sink: Sink, end: int, cut: int, partitions: Sequence[int] = (0, 1), *, tell: bool = False) -> None:
    """Store every topic up to the offset `end`, `cut` offsets a flush, from where the sink wants it."""
    wanted = sink.resume() or {}
    for first in range(0, end, cut):
        for topic in TOPICS:
            for partition in partitions:
                begin = max(first, wanted.get((topic, partition), 0))
                if begin < min(first + cut, end):
                    write(sink, stretch(topic, partition, begin, min(first + cut, end)))
        sink.flush()
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
