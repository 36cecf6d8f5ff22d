"""A pipeline of chaos' own, in a directory of its own: Kafka, the proxy in front of it, `up` with a lake and an archive, and
rows that come as long as faults do.

    a topic that chaos fills ─┐
    a file at a steady pace  ─┴─> up (through the proxy) ─> lake, archive, on small disks where they can be mounted
"""

import contextlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from types import TracebackType

import psutil

from marketpulse.app import parent
from marketpulse.app.chaos.proxy import KafkaProxy, Schedule
from marketpulse.app.chaos.rows import ALERTS, INDICATORS, TIMEFRAMES, draw_rows
from marketpulse.app.chaos.running import NotInjected, RunningPipeline
from marketpulse.kafka.broker import EmbeddedBroker
from marketpulse.kafka.broker_probe import is_free
from marketpulse.kafka.client import LogProducer, client_config, connected_to
from marketpulse.kafka.topic_admin import create_topic
from marketpulse.settings import Settings, load_settings

PROCESSES = ("process-0", "produce-file", "produce-ticks", "serve", "sink-archive", "sink-lake", "up", "verify")
TOPIC = "ticks"
_RATE, _FILE_RATE = 100, 50  # rows a second
_SYMBOLS, _FILE_SYMBOLS = [f"T{i}" for i in range(5)], [f"F{i}" for i in range(3)]
_DISKS = {"data": "300m", "stores": "150m"}
_STOPS_S, _SENDS_S = 90.0, 60.0
_CONFIG = f"""
[kafka]
bootstrap_servers = "{{address}}"
partitions = 2
[engine]
timeframes = {json.dumps(TIMEFRAMES)}
indicators = "{INDICATORS}"
source_timeout_s = 3600
[process]
snapshot_records = 200
[sinks.lake]
url = "{{stores}}/lake"
flush_s = 1
[sinks.archive]
enabled = true
url = "{{stores}}/archive"
format = "parquet"
flush_s = 1
[sources.{TOPIC}]
kind = "kafka"
topic = "{TOPIC}"
mode = "historical"
[sources.file]
kind = "replay"
files = ["{{home}}/file.jsonl"]
speed = "{_FILE_RATE}/s"
"""
_RULE = "[[engine.alerts]]\n"
_CLOCKS = [
    path
    for folder in ("lib", "lib64", "local/lib")
    for path in Path("/usr", folder).glob("*/faketime/libfaketimeMT.so.1")
]
"""libfaketime, where the machine has it."""


class OwnPipeline(RunningPipeline):
    """Everything is started inside `with`, and nothing of it is left behind, unless it `keeps` its directory."""

    restarts_up, has_clock = True, bool(_CLOCKS)

    def __init__(self, home: Path, cache_dir: Path, seed: int, seconds: float) -> None:
        self.home, self.kafka_home = home, home / "kafka"
        self.rows = draw_rows(seed, max(200, int(seconds * _RATE)), _SYMBOLS, quotes=True)
        self.file_rows = draw_rows(seed, max(100, int(seconds * _FILE_RATE)), _FILE_SYMBOLS, quotes=False)
        (home / "file.jsonl").write_text("".join(json.dumps(row) + "\n" for row in self.file_rows))
        self.poison: Counter[str] = Counter()
        self.up: subprocess.Popen[bytes] | None = None
        self._mounts = [home / name for name, size in _DISKS.items() if _mount(home / name, size)]
        self._output = (home / "up.out").open("ab")
        self.clock = home / "clock"
        self._sent, self._began_s = 0, 0.0
        self.keeps = True  # the directory, when this ends: until all is known to be as it should be
        self.broker = EmbeddedBroker(
            Settings(data_dir=self.kafka_home, cache_dir=cache_dir, broker={"heap_mb": 256, "port": _quiet_port(seed)})
        )
        self._starter = ThreadPoolExecutor(1)
        self._starting: Future[str] | None = None
        self._cache_dir, self._pipe = cache_dir, os.pipe()  # who was started ends with this process

    def __enter__(self) -> "OwnPipeline":
        self.start_kafka().result()
        self.proxy = KafkaProxy(self.broker.bootstrap, Schedule(0, most=0)).__enter__()
        rules = "".join(
            _RULE + "".join(f"{name} = {json.dumps(value)}\n" for name, value in rule.items()) for rule in ALERTS
        )
        config = _CONFIG.format(address=self.proxy.address, stores=self.home / "stores", home=self.home)
        (self.home / "marketpulse.toml").write_text(config + rules)
        super().__init__(connected_to(self.settings_of(self.home / "data"), self.broker.bootstrap))
        self.optional = frozenset({"produce-file"})
        create_topic(self.settings, TOPIC, partitions=2)
        self._producer = LogProducer(client_config(self.settings, "producer"))
        self._start_up()
        return self

    def settings_of(self, data_dir: Path) -> Settings:
        """As `up` reads them, for this data directory."""
        return load_settings(self.home / "marketpulse.toml", data_dir=data_dir, cache_dir=self._cache_dir)

    def processes(self) -> list[str]:
        return list(PROCESSES)

    def start_kafka(self) -> "Future[str]":
        """Start it unless it runs, in a thread; one start at a time."""
        if self._starting is None or self._starting.done():
            self._starting = self._starter.submit(self._start_kafka)
        return self._starting

    def _start_kafka(self) -> str:
        self.broker.wait(0.5)  # who was killed with -9 may still be seen for a moment
        return self.broker.start()

    def java(self) -> psutil.Process:
        if self.broker.pid is None or not self.broker.alive() or not (self._starting is None or self._starting.done()):
            raise NotInjected("Kafka does not run at this moment")
        return psutil.Process(self.broker.pid)

    def disks(self) -> list[Path]:
        if not self._mounts:
            raise NotInjected("this user may not mount a small disk")
        return self._mounts

    # --- `up` ---

    def environment(self, data_dir: Path) -> dict[str, str]:
        """This process's (cli/chaos.py has taken out what configures another pipeline), and what is this one's own."""
        own = {"MARKETPULSE_DATA_DIR": str(data_dir), "MARKETPULSE_CACHE_DIR": str(self._cache_dir)}
        own |= parent.variable(self._pipe[0], 0.0)
        if _CLOCKS:
            own |= {
                "LD_PRELOAD": str(_CLOCKS[0]), "FAKETIME_TIMESTAMP_FILE": str(self.clock), "FAKETIME_NO_CACHE": "1",
                "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            }  # fmt: skip
        return {**os.environ, **own}

    def _start_up(self) -> None:
        self.clock.write_text("+0")
        self.up = self.run_command("up", "--no-browser", "--port", "0")

    def run_command(self, *words: str, apart: Path | None = None) -> "subprocess.Popen[bytes]":
        """`marketpulse WORDS` in a session of its own, on the pipeline's data, or `apart` from it in a directory of its own."""
        environment = self.environment(apart or self.home / "data")
        if apart is not None:
            environment["MARKETPULSE_SINKS__LAKE__URL"] = str(apart / "lake")
        return subprocess.Popen(
            [sys.executable, "-m", "marketpulse", *words], stdin=subprocess.DEVNULL, stdout=self._output, stderr=self._output,
            env=environment, cwd=self.home, start_new_session=True, pass_fds=(self._pipe[0],),
        )  # fmt: skip

    def turn(self) -> None:
        """Send the rows that are due, and start `up` again where it has ended, as a service manager does."""
        if self.up is not None and self.up.poll() is not None:
            self._start_up()
        if not self._began_s:
            return
        due = min(len(self.rows), int((time.monotonic() - self._began_s) * _RATE))
        for row in self.rows[self._sent : due]:
            self._send(TOPIC, json.dumps(row).encode(), str(row["symbol"]))
        self._sent = max(self._sent, due)
        self._producer.poll(0)

    def start_rows(self) -> None:
        self._began_s = time.monotonic()

    def finish_rows(self) -> None:
        """Send what is left. Raises TimeoutError when the log does not take it."""
        for row in self.rows[self._sent :]:
            self._send(TOPIC, json.dumps(row).encode(), str(row["symbol"]))
        self._sent = len(self.rows)
        if left := self._producer.flush(_SENDS_S):
            raise TimeoutError(f"Kafka did not take {left} rows within {_SENDS_S:.0f} s")

    def poison_topics(self) -> list[str]:
        return [*super().poison_topics(), TOPIC]

    def produce(self, topic: str, value: bytes) -> None:
        self.poison[value.decode()] += 1
        self._send(topic, value, "poison")

    def _send(self, topic: str, value: bytes, key: str) -> None:
        self._producer.produce(topic, value, key)

    def stop_up(self) -> None:
        """As Ctrl-C does. Raises TimeoutError when it does not end."""
        assert self.up is not None  # noqa: S101  it was started
        up, self.up = self.up, None
        up.send_signal(signal.SIGINT)
        try:
            up.wait(_STOPS_S)
        except subprocess.TimeoutExpired:
            self.up = up
            raise TimeoutError(f"`up` did not stop within {_STOPS_S:.0f} s") from None

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop_watching()
        if self.up is not None and self.up.poll() is None:
            tree = psutil.Process(self.up.pid).children(recursive=True)
            self.up.kill()
            for process in tree:
                with contextlib.suppress(psutil.Error):
                    process.kill()
        self.proxy.__exit__(None, None, None)
        self._starter.shutdown()
        self.broker.stop()
        self._output.close()
        for end in self._pipe:
            os.close(end)
        for path in self._mounts:
            kept = path.with_suffix(".kept")
            if self.keeps:
                shutil.copytree(path, kept)
            subprocess.run(["umount", "--lazy", str(path)], check=False, capture_output=True)
            if self.keeps:
                kept.rename(path)
        if not self.keeps:
            shutil.rmtree(self.home, ignore_errors=True)


def _quiet_port(seed: int) -> int:
    """A free port that no connection is given by the system while Kafka is away: all clients are led to it."""
    draw = random.Random(f"{seed}/{os.getpid()}")
    return next(port for port in iter(lambda: draw.randrange(20_000, 32_000), 0) if is_free(port))


def _mount(path: Path, size: str) -> bool:
    """Make the directory, a file system of this size where this user may mount one."""
    path.mkdir()
    if shutil.which("mount") is None:
        return False
    command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(path)]
    return subprocess.run(command, check=False, capture_output=True).returncode == 0
