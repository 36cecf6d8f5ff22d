"""Engine and lake on a real broker in one process, and the records that a source named `test` writes for them."""

import json
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from confluent_kafka import TopicPartition
from confluent_kafka.admin import AdminClient

import market_rows
from bare_clients import BareTopic, rows
from given_settings import Done, command
from market_rows import at
from marketpulse.app.lifecycle import Lifecycle
from marketpulse.app.loading import load as module
from marketpulse.app.loading import storing
from marketpulse.app.pipeline import process, sink
from marketpulse.catalog import open_visible
from marketpulse.kafka.log_reader import LogReader
from marketpulse.settings import Settings
from marketpulse.sources import history
from marketpulse.telemetry import Health
from waiting import wait_until

Row = dict[str, Any]
HELLO: Row = {"type": "hello", "source": "test", "mode": "historical", "run_id": "1", "event_time_ns": at(0)}
TOPICS = ("market", "bars", "indicators", "alerts", "dead-letters")
trade = partial(market_rows.trade, source="test")
quote = partial(market_rows.quote, source="test")


def heartbeat(seconds: float) -> Row:
    return {"type": "heartbeat", "source": "test", "event_time_ns": at(seconds)}


TIME = ("heartbeat", "clock")


class Working:
    """A process's work in a thread of its own, from now on until `stop`, where it has to end well."""

    def __init__(self, settings: Settings, work: Callable[..., int], *given: Any, name: str = "process") -> None:
        self.life = self.life_of(settings, name)
        self._pool = ThreadPoolExecutor(1)
        self._done = self._pool.submit(work, settings, self.life, *given)

    @staticmethod
    def life_of(settings: Settings, name: str) -> Lifecycle:
        run_file = settings.data_dir / "run" / f"{name}.json"
        return Lifecycle(name, threading.Event(), Health(), run_file, metrics_port=0)

    def facts(self) -> Row:
        """What it announces, once it does its work."""
        wait_until(lambda: self._done.done() or self.life.run_file.exists(), "it does its work")
        assert not self._done.done(), self._done.result()
        return dict(json.loads(self.life.run_file.read_text()))

    def stop(self) -> None:
        self.life.stop.set()
        assert self._done.result(60) == 0
        self._pool.shutdown()

    def __enter__(self) -> "Working":
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


def wait_until_taken(settings: Settings) -> None:
    """Until the engine has come to where every partition of `market` ends now."""
    ends, log = BareTopic.of(settings).ends(), LogReader(settings)

    def taken() -> bool:
        committed = log.committed()
        return all(committed.get(partition, (0, None))[0] >= end for partition, end in ends.items() if end)

    wait_until(taken, "the engine has taken everything")
    log.close()


class Pipeline:
    """Engine and lake in threads of their own, until everything written is stored."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings

    def write(self, *records: Any) -> None:
        BareTopic.of(self.settings).write(records)

    def run(self, records: list[Any]) -> None:
        """Write these, and have them taken and stored; then stop."""
        self.write(*records)
        with self.running():
            self.wait_until_taken()

    def wait_until_taken(self) -> None:
        wait_until_taken(self.settings)

    def wait_until_stored(self) -> None:
        """Until the lake holds every row that the topics hold now. Time's own records are none: how far they were read
        without any row is stored once a minute."""
        topics = [BareTopic.of(self.settings, name) for name in TOPICS]
        records = [(topic.name, one) for topic in topics for one in topic.committed()]
        wanted = {(name, r.partition): r.offset + 1 for name, r in records if r.row.get("type") not in TIME}

        def stored() -> bool:
            lake = open_visible(self.settings)
            lake.read()
            return all(lake.held_up_to(*key) >= end for key, end in wanted.items())

        wait_until(stored, "the lake holds every row")

    @contextmanager
    def running(self) -> Iterator[None]:
        """Engine and lake run in the block, and have stored everything at its end."""
        with Working(self.settings, sink.run, "lake", name="b"), Working(self.settings, process.run, name="a"):
            yield

    def told(self, topic: str) -> list[Row]:
        """The committed rows of a topic."""
        return rows(BareTopic.of(self.settings, topic).committed())

    def told_of(self, topic: str, symbol: str, timeframe: str) -> list[Row]:
        return [row for row in self.told(topic) if (row["symbol"], row["timeframe"]) == (symbol, timeframe)]

    def forget_log(self, before: int | None = None) -> None:
        """The broker drops the records of `market` before this offset, as by its retention; without one, all."""
        topic = BareTopic.of(self.settings)
        place = TopicPartition(topic.name, 0, topic.ends()[0] if before is None else before)
        admin = AdminClient({"bootstrap.servers": str(topic.bootstrap)})  # it has to live until it has answered
        admin.delete_records([place])[place].result(20)

    def marketpulse(self, *words: str) -> Done:
        return command(self.settings, *words)

    def json(self, *words: str, code: int = 0) -> Any:
        """What a command writes for programs; it ends with this code."""
        done = self.marketpulse(*words, "--format", "json")
        assert done.returncode == code, done.stdout + done.stderr
        return json.loads(done.stdout)

    @contextmanager
    def tampered(self, table: str, column: str, since: float = 0) -> Iterator[Row]:
        """In the block the last digit of one value (of a bar that opens since then) is another in a file of the lake;
        gives the row as it was."""

        def change(stored: pa.Table) -> pa.Table:
            values = stored[column].to_pylist()
            times = stored["open_time_ns"].to_pylist()
            place = next((i for i, v in enumerate(values) if v is not None and times[i] >= at(since)), None)
            if place is None:
                return None
            was.update(stored.slice(place, 1).to_pylist()[0])
            values[place] *= 1 + 2**-52
            number, field = stored.column_names.index(column), stored.schema.field(column)
            return stored.set_column(number, field, pa.array(values, pa.float64()))

        was: Row = {}
        with self._written(self._files(table), change):
            yield was

    @contextmanager
    def rewritten(self, table: str, change: Callable[[pa.Table], pa.Table]) -> Iterator[pa.Table]:
        """In the block the largest file of a table is another; gives its rows as they were."""
        path = max(self._files(table), key=lambda path: path.stat().st_size)
        stored = pq.read_table(path, partitioning=None)
        with self._written([path], change):
            yield stored

    @contextmanager
    def _written(self, paths: list[Path], change: Callable[[pa.Table], pa.Table | None]) -> Iterator[None]:
        """The first file that `change` gives other rows for has them in the block."""
        for path in paths:
            if (rows := change(pq.read_table(path, partitioning=None))) is not None:
                kept = path.read_bytes()
                pq.write_table(rows, path)
                try:
                    yield
                finally:
                    path.write_bytes(kept)
                return
        raise AssertionError("the lake has no such value")

    def _files(self, table: str) -> list[Path]:
        return [Path(file.path) for file in open_visible(self.settings).read([table])[table].files]


def load_in_small_steps(settings: Settings, path: Path) -> None:
    steps = history.stretches
    module.__dict__["stretches"] = lambda runs, **_: steps(runs, 1_024)
    storing._WAITING_ROWS = 1
    module.load(settings, module.Request([str(path)], lake_only=True), lambda at: print(at.done, flush=True))  # noqa: T201


def lines(file: Path) -> int:
    """How many lines a file has, none where it is not there yet."""
    return file.read_text().count("\n") if file.exists() else 0
