"""A running pipeline as faults and their recovery see it: its processes by their run files, the log by its own reader.

What chaos does not own (somebody's broker, disk, stores) cannot be harmed here: such a fault raises NotInjected.
"""

import json
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from marketpulse.app.observing.readings import read_processes
from marketpulse.app.receipts.verify import verify
from marketpulse.errors import MarketPulseError
from marketpulse.kafka.client import LogProducer, client_config
from marketpulse.kafka.log_reader import LogReader
from marketpulse.query.stored_rows import ALWAYS, Wanted
from marketpulse.settings import Settings

_LOOK_EVERY_S = 0.4
_GIVES_UP_S = 180.0  # a crowded machine takes a minute for three starts of a process


class NotInjected(Exception):
    """The fault cannot be had here; the message says why."""


@dataclass(frozen=True, slots=True)
class Look:
    """The pipeline at one moment: processes that do their work, what is wrong with others, and for each partition of `market`
    its end and how far the engine has committed (empty: the log did not answer)."""

    began_s: float
    names: frozenset[str] = frozenset()
    troubles: tuple[str, ...] = ()
    ends: dict[int, int] = field(default_factory=dict)
    committed: dict[int, int] = field(default_factory=dict)

    def is_behind(self, ends: dict[int, int]) -> bool:
        """Whether the engine has not committed all up to these ends."""
        return not self.committed or any(self.committed.get(p, -1) < end for p, end in ends.items())


class RunningPipeline:
    """Somebody's own `marketpulse up`, which its configuration marks as one that may be harmed."""

    restarts_up = has_clock = False

    def __init__(self, settings: Settings) -> None:
        """`settings`: with the address of the log itself, with no proxy in front."""
        self.settings, self.run = settings, settings.data_dir / "run"
        self.optional = frozenset(
            name for name in self.processes() if name.startswith("produce-")
        )  # they may end by themselves
        self.look = Look(0.0)
        self._over = threading.Event()
        self._watching = threading.Thread(target=self._watch, name="chaos watch", daemon=True)

    def processes(self) -> list[str]:
        """Names of what may be killed and stopped: what runs now."""
        names = sorted(path.stem for path in self.run.glob("*.json"))
        return [name for name in names if name != "up" or self.restarts_up]

    def process(self, name: str) -> psutil.Process:
        try:
            return psutil.Process(int(json.loads((self.run / f"{name}.json").read_text())["pid"]))
        except (OSError, ValueError, KeyError, psutil.Error):
            raise NotInjected(f"{name} does not run at this moment") from None

    def java(self) -> psutil.Process:
        """The embedded Kafka, a child of the process `broker`."""
        if self.settings.kafka.bootstrap_servers:
            raise NotInjected("Kafka is a cluster of its own")
        children = self.process("broker").children()
        if not children:
            raise NotInjected("the embedded Kafka does not run at this moment")
        return children[0]

    def poison_topics(self) -> list[str]:
        """Topics that may get records that cannot be read."""
        return [self.settings.topic("market")]

    def produce(self, topic: str, value: bytes) -> None:
        """Write a record to a topic of the log, as any other program could."""
        producer = LogProducer(client_config(self.settings, "producer"))
        producer.produce(topic, value)
        if producer.flush(_GIVES_UP_S):
            raise NotInjected("the log does not answer")

    def turn(self) -> None:
        """Do what is due between faults."""

    def start_watching(self) -> None:
        self._watching.start()

    def stop_watching(self) -> None:
        self._over.set()

    def _watch(self) -> None:
        reader: LogReader | None = None
        while not self._over.wait(_LOOK_EVERY_S):
            began_s = time.monotonic()
            readings = read_processes(self.run)
            ends: dict[int, int] = {}
            committed: dict[int, int] = {}
            try:
                reader = reader or LogReader(self.settings)
                ends = {p: reader.span(p).end for p in range(reader.partitions())}
                committed = {p: offset for p, (offset, _) in reader.committed().items()}
            except MarketPulseError:
                if reader is not None:
                    reader.close()
                reader = None  # the log may come back at another address
            self.look = Look(
                began_s, frozenset(r.name for r in readings if r.trouble is None),
                tuple(f"{r.name}: {r.trouble}" for r in readings if r.trouble is not None), ends, committed,
            )  # fmt: skip
        if reader is not None:
            reader.close()

    def until_well(self, names: frozenset[str]) -> Iterator[None]:
        """Turn until processes of these names do their work, none is in trouble, and the engine has taken in all that stood
        in the log when this began. Raises TimeoutError with what is wrong."""
        began_s = time.monotonic()
        ends: dict[int, int] = {}
        while True:
            look = self.look
            if look.began_s > began_s and look.ends:
                ends = ends or look.ends
                if names - self.optional <= look.names and not look.troubles and not look.is_behind(ends):
                    return
            if time.monotonic() - began_s > _GIVES_UP_S:
                missing = sorted(names - self.optional - look.names)
                behind = "the engine does not go on" if look.is_behind(ends or {0: 0}) else "the engine goes on"
                raise TimeoutError(f"{', '.join([*look.troubles, *missing, behind])}")
            yield

    def drift(self) -> list[str]:
        """What `verify` finds, a line a row."""
        report = verify(self.settings, Wanted(*ALWAYS, None))
        lines = [
            f"verify: {d.table} {d.symbol} {d.timeframe} {d.rule} {d.open_time_ns} {d.column or 'row'}: {d.stored} stored, {d.recomputed} computed"
            for d in report.differences
        ]
        return lines or ([f"verify: {report.drift} rows differ"] if report.drift else [])

    # --- what is not ours to harm ---

    def start_kafka(self) -> "Future[Any]":
        """Start a killed Kafka: this one's supervisor does."""
        done: Future[Any] = Future()
        done.set_result(None)
        return done

    def disks(self) -> list[Path]:
        """File systems of limited size that only this pipeline uses."""
        raise NotInjected("the disk is not one of limited size for chaos alone")
