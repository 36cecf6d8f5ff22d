"""A process that stores the known topics (log_of_rows.py) and gets killed.

    python storing_child.py NAME SECTION_JSON DATA_DIR END CUT

Prints the offset that each flush has reached. It takes what it is told to be away for as long as it takes.
"""

import json
import sys
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

from log_of_rows import TOPICS, stretch
from marketpulse.errors import Retryable
from marketpulse.ports import Sink, SinkBatch
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
            print(min(first + cut, end), flush=True)  # noqa: T201


def main(name: str, section: str, data_dir: str, end: str, cut: str) -> None:
    sink = open_sink(settings_for(name, json.loads(section), Path(data_dir)), name)
    while True:
        try:
            store(sink, int(end), int(cut), tell=True)
            return
        except Retryable as error:
            print(f"waits: {error}", file=sys.stderr, flush=True)  # noqa: T201
            time.sleep(0.1)


if __name__ == "__main__":
    main(*sys.argv[1:])
