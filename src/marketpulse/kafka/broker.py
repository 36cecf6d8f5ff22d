"""The embedded broker: the real Apache Kafka as a child process on loopback, its data under the data directory.

    with EmbeddedBroker(settings) as broker:      # ready: it answers metadata requests
        client = {"bootstrap.servers": broker.bootstrap}

A repeated start takes 1 to 1.5 s, the first one (format included) 3 to 4 s, both on 2 cores; what
makes the difference stands in broker_jvm.py.
"""

import contextlib
import signal
import subprocess
import time
from pathlib import Path
from types import TracebackType

import psutil

from marketpulse.errors import EnvironmentProblem, MarketPulseError, Retryable, disk_is_full
from marketpulse.kafka.broker_faults import check_disk, disk_full, explain, port_taken, tail
from marketpulse.kafka.broker_jvm import BrokerFiles, ClassArchive, java_command, log_properties, server_properties
from marketpulse.kafka.broker_owner import Ownership, Running, end, runs
from marketpulse.kafka.broker_probe import (
    accepts,
    answers,
    elect_missing_leaders,
    free_port,
    is_free,
    make_coordinator_topics,
)
from marketpulse.kafka.broker_settings import broker_properties, heap_options
from marketpulse.kafka.broker_storage import prepare_storage, write_atomically
from marketpulse.kafka.jars import Progress, kafka_jars, no_progress
from marketpulse.kafka.java import find_java
from marketpulse.settings import Settings
from marketpulse.telemetry import get_logger

_STOP_S = 12.0  # Kafka stops in 0.3 s; while it makes the class archive, in 3 to 6. Less than the supervisor's patience
_CLEAN_ENDS = (0, 143, -signal.SIGTERM)
_PORT_TRIES = 3


class EmbeddedBroker:
    """One broker for one data directory. Not for use from several threads at once.

    The broker outlives a killed owner for 30 s: the next start on the same data directory takes it
    over, running, so that a killed `marketpulse broker` costs its clients nothing.
    """

    def __init__(self, settings: Settings, progress: Progress = no_progress) -> None:
        """`progress` is told of each jar that the first start fetches. Raises SettingsError for `[broker.properties]`."""
        self._settings = settings
        self._progress = progress
        self._chosen = broker_properties(settings.broker)
        self._data_dir = settings.data_dir.absolute()
        self._files = BrokerFiles(self._data_dir / "broker", self._data_dir / "logs")
        self._owner = Ownership(self._files, self._data_dir)
        self._process: psutil.Process | None = None
        self._archive: ClassArchive | None = None
        self._port = 0
        self._log_begin = 0  # where this start's part of the log begins

    @property
    def bootstrap(self) -> str:
        """`127.0.0.1:port`."""
        return f"127.0.0.1:{self._port}"

    @property
    def log_file(self) -> Path:
        return self._files.log

    @property
    def pid(self) -> int | None:
        """Of the Java process; None when it is not started."""
        return None if self._process is None else self._process.pid

    def start(self) -> str:
        """Start it (again, if it died), or take over one that lost its owner; returns the bootstrap
        address once it answers.

        Raises EnvironmentProblem (port taken, disk full, a live broker on this data directory …), SettingsError
        (no Java, a property that Kafka does not take) or Retryable (the jars cannot be fetched now, it died while starting).
        """
        if self.alive():
            return self.bootstrap
        self.stop()  # what is left of one that died
        with contextlib.ExitStack() as undo:
            undo.callback(self.stop)  # unless all of it succeeds: a Ctrl-C leaves no Java behind either
            try:
                for directory in (self._files.home, self._files.logs):
                    directory.mkdir(parents=True, exist_ok=True)
                self._owner.take()
                if not self._take_over():
                    check_disk(self._data_dir)
                    self._start_new()
                make_coordinator_topics(self._port)
                elect_missing_leaders(self._port)
            except OSError as error:
                if disk_is_full(error):
                    raise disk_full(self._data_dir) from None
                raise EnvironmentProblem(
                    f"the broker cannot keep its data in {self._data_dir} ({error.strerror}): "
                    "make it writable, or set MARKETPULSE_DATA_DIR to another directory"
                ) from None
            undo.pop_all()
        return self.bootstrap

    def stop(self) -> None:
        """Ask it to stop, wait until it has flushed and gone, then (after 12 s) kill it. Twice is fine."""
        self._end(_STOP_S)
        self._owner.release()

    def alive(self) -> bool:
        """Whether the broker's process runs."""
        process = self._process
        if isinstance(process, psutil.Popen):
            return process.poll() is None
        return process is not None and runs(process)

    def wait(self, timeout_s: float | None = None) -> bool:
        """Wait for the broker's end; False when it still runs after `timeout_s`."""
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        while self.alive():
            if deadline is not None and time.monotonic() >= deadline:
                return False
            time.sleep(0.05)
        return True

    def why_it_died(self) -> MarketPulseError:
        """What to tell a person when `alive()` has become False without `stop()`."""
        code = self._process.poll() if isinstance(self._process, psutil.Popen) else None
        how = "has ended"
        if code is not None:
            how = f"was killed by signal {-code}" if code < 0 else f"ended with code {code}"
        said = self._said() + tail(self._files.output)
        return self._explain(said, how)

    def _explain(self, said: list[str], how: str) -> MarketPulseError:
        return explain(
            said, how, data_dir=self._data_dir, port=self._port, log=self._files.log, chosen=self._chosen
        )  # fmt: skip

    def _said(self) -> list[str]:
        return tail(self._files.log, begin=self._log_begin)

    def check_disk(self) -> None:
        """Raises EnvironmentProblem when the disk is about to be full: the broker would give up next."""
        check_disk(self._data_dir)

    def __enter__(self) -> "EmbeddedBroker":
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _end(self, patience_s: float) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        went = end(process, patience_s)
        if self._archive is not None:
            whole = went and isinstance(process, psutil.Popen) and process.returncode in _CLEAN_ENDS
            self._archive.keep() if whole else self._archive.drop_partial()
        self._owner.forget()

    def _take_over(self) -> bool:
        """Take over a broker whose owner is gone. One that does not answer, or not on the wanted port, is ended."""
        running = self._owner.left_running()
        if running is None:
            return False
        good = self._settings.broker.port in (0, running.port)
        if good and accepts(running.port) and answers(running.port, timeout_s=5):
            self._process, self._port = running.process, running.port
            self._owner.watch_over(running)
            get_logger().warning("broker_taken_over", pid=running.process.pid, bootstrap=self.bootstrap)
            return True
        end(running.process, _STOP_S)
        self._owner.forget()
        return False

    def _start_new(self) -> None:
        java = find_java(self._settings)
        jars = kafka_jars(self._settings.cache_dir.absolute(), self._progress)
        archive = self._archive = ClassArchive.of(java, jars)
        heap = heap_options(self._settings.broker)
        write_atomically(self._files.log_config, log_properties(self._files))

        def format_storage(directory: Path, cluster: str) -> None:
            write_atomically(self._files.properties, server_properties(directory, 1, 2, self._chosen))
            command = java_command(java, jars, self._files, heap, archive.options(may_make=False))
            config = ["--cluster-id", cluster, "--config", str(self._files.properties)]
            self._run([*command, "kafka.tools.StorageTool", "format", *config], "could not format its storage")

        storage = prepare_storage(self._files.home, format_storage)
        command = java_command(java, jars, self._files, heap, archive.options(may_make=True))
        self._serve([*command, "kafka.Kafka", str(self._files.properties)], storage)
        write_atomically(self._files.port, str(self._port))

    def _serve(self, command: list[str], storage: Path) -> None:
        """Start Java and wait until it answers. Another program may take a port between our look and
        Java's; then look again, unless it is the port that a person asked for."""
        for turn in range(1, _PORT_TRIES + 1):
            self._port = self._choose_port()
            write_atomically(self._files.properties, server_properties(storage, self._port, free_port(), self._chosen))
            self._spawn(command)
            try:
                self._wait_until_ready()
                return
            except EnvironmentProblem:
                if turn == _PORT_TRIES or not any("Address already in use" in line for line in self._said()):
                    raise
                self._owner.forget()
                if self._settings.broker.port:
                    _refuse_taken(self._settings.broker.port)

    def _run(self, command: list[str], failed: str) -> None:
        timeout_s = self._settings.broker.start_timeout_s
        try:
            done = subprocess.run(
                command, capture_output=True, text=True, errors="replace", timeout=timeout_s, check=False,
                cwd=self._files.home,
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            raise Retryable(f"the broker {failed} within {timeout_s:g} s: start again") from None
        if done.returncode != 0:
            said = (done.stdout + done.stderr).splitlines()
            how = f"{failed} (code {done.returncode})"
            raise self._explain(said, how)

    def _choose_port(self) -> int:
        """The configured port, else the last used one if it is free, else a free one."""
        if wanted := self._settings.broker.port:
            _refuse_taken(wanted)
            return wanted
        with contextlib.suppress(FileNotFoundError, ValueError):
            last = int(self._files.port.read_text())
            if 0 < last < 65_536 and is_free(last):
                return last
            get_logger().warning("broker_port_changed", last=last)
        return free_port()

    def _spawn(self, command: list[str]) -> None:
        """Start Java in a session of its own: a Ctrl-C in the terminal reaches us, and we stop it in order."""
        self._log_begin = self._files.log.stat().st_size if self._files.log.exists() else 0
        with self._files.output.open("wb") as output:
            self._process = psutil.Popen(
                command, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT,
                start_new_session=True, cwd=self._files.home,
            )  # fmt: skip
        self._owner.watch_over(Running(self._process, self._port))

    def _wait_until_ready(self) -> None:
        """Until it answers a metadata request; it opens its port when it is ready for them."""
        timeout_s = self._settings.broker.start_timeout_s
        deadline = time.monotonic() + timeout_s
        while self.alive():
            if accepts(self._port) and answers(self._port, timeout_s=5):
                return
            if time.monotonic() > deadline:
                self._end(patience_s=5)
                raise EnvironmentProblem(
                    f"the broker was not ready after {timeout_s:g} s: raise broker.start_timeout_s on a slow machine, "
                    f"or look at {self._files.log}:\n" + "\n".join(self._said()[-5:])
                )
            time.sleep(0.01)
        raise self.why_it_died()


def _refuse_taken(port: int) -> None:
    if not is_free(port):
        raise port_taken(port)
