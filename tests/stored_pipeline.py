"""Engine and lake on a real broker in one process, and the commands that a person would run beside them."""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from bare_clients import BareTopic
from market_rows import at
from marketpulse.app.lifecycle import Lifecycle
from marketpulse.app.pipeline import process, sink
from marketpulse.catalog import open_visible
from marketpulse.kafka.log_reader import LogReader
from marketpulse.settings import Settings
from marketpulse.telemetry import Health


class Pipeline:
    """Engine and lake in threads of their own, until everything written is stored."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings

    def run(self, records: list[Any]) -> None:
        """Write these, and have them taken and stored; then stop."""
        BareTopic.of(self.settings).write(records)
        with self.running():
            self.wait_until_taken()

    def wait_until_taken(self) -> None:
        """Until the engine has come to where the log ends now."""
        end = BareTopic.of(self.settings).ends()[0]
        log = LogReader(self.settings)
        waited = threading.Event()
        for _ in range(600):
            if log.committed().get(0, (0, None))[0] >= end:
                break
            waited.wait(0.1)
        log.close()

    def wait_until_stored(self) -> None:
        """Until the lake holds every row that the topics hold now."""
        wanted = {
            (topic.name, record.partition): record.offset + 1
            for topic in (BareTopic.of(self.settings, name) for name in ("market", "bars", "indicators", "alerts", "dead-letters"))
            for record in topic.committed()
        }  # fmt: skip
        waited = threading.Event()
        for _ in range(600):
            lake = open_visible(self.settings)
            lake.read()
            if all(lake.held_up_to(*key) >= end for key, end in wanted.items()):
                break
            waited.wait(0.1)

    @contextmanager
    def running(self) -> Iterator[None]:
        """Engine and lake run in the block, and have stored everything at its end."""
        lives = [
            Lifecycle(n, threading.Event(), Health(), self.settings.data_dir / "run" / f"{n}.json", 0) for n in "ab"
        ]
        pool = ThreadPoolExecutor(2)
        running = [
            pool.submit(process.run, self.settings, lives[0]),
            pool.submit(sink.run, self.settings, lives[1], "lake"),
        ]
        try:
            yield
        finally:
            for life, done in zip(lives, running, strict=True):
                life.stop.set()
                assert done.result(60) == 0
            pool.shutdown()

    def marketpulse(self, *words: str) -> subprocess.CompletedProcess[str]:
        """A command, as a person runs it."""
        s = self.settings
        environment = {
            **{k: v for k, v in os.environ.items() if not k.startswith(("MARKETPULSE_", "KAFKA_"))},
            "MARKETPULSE_DATA_DIR": str(s.data_dir), "MARKETPULSE_KAFKA__BOOTSTRAP_SERVERS": str(s.kafka.bootstrap_servers),
            "MARKETPULSE_KAFKA__TOPIC_PREFIX": s.kafka.topic_prefix,
            "MARKETPULSE_ENGINE__TIMEFRAMES": json.dumps(s.engine.timeframes),
            "MARKETPULSE_ENGINE__INDICATORS": s.engine.indicators, "MARKETPULSE_ENGINE__FILL": s.engine.fill,
            "MARKETPULSE_ENGINE__ALERTS": json.dumps(s.engine.alerts),
            "MARKETPULSE_ENGINE__CORRECTION_WINDOW_S": str(s.engine.correction_window_s),
        }  # fmt: skip
        command = [sys.executable, "-m", "marketpulse", *words]
        return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=120, check=False)

    def tamper(self, table: str, column: str, since: float = 0) -> dict[str, Any]:
        """Change the last digit of one value (of a bar that opens since then) in a file of the lake; gives the row
        as it was."""
        for path in self._files(table):
            stored = pq.read_table(path, partitioning=None)
            values = stored[column].to_pylist()
            for place, value in enumerate(values):
                if value is not None and stored["open_time_ns"][place].as_py() >= at(since):
                    values[place] = value * (1 + 2**-52)
                    changed = pa.array(values, pa.float64())
                    field = stored.schema.field(column)
                    pq.write_table(stored.set_column(stored.column_names.index(column), field, changed), path)
                    return dict(stored.slice(place, 1).to_pylist()[0])
        raise AssertionError("the lake has no such value")

    def rewrite(self, table: str, change: Callable[[pa.Table], pa.Table]) -> pa.Table:
        """Change the largest file of a table; gives its rows as they were."""
        path = max(self._files(table), key=lambda path: path.stat().st_size)
        stored = pq.read_table(path, partitioning=None)
        pq.write_table(change(stored), path)
        return stored

    def _files(self, table: str) -> list[Path]:
        return [Path(file.path) for file in open_visible(self.settings).read([table])[table].files]
