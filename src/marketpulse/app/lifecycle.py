"""What every process does around its work: logs, signals, health, metrics, and its run file."""

import contextlib
import gc
import json
import os
import select
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from marketpulse.app.disk import LossyText
from marketpulse.app.lock import keep_private
from marketpulse.settings import Settings
from marketpulse.telemetry import Health, TelemetryServer, configure_logging, get_logger

_STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)
_OVER = b"\0"  # no signal has this number
_BEAT_S = 1.0


@dataclass(frozen=True, slots=True)
class Lifecycle:
    """Handed to a process's work: `stop` is set when it shall finish what it holds and return."""

    name: str
    stop: threading.Event
    health: Health
    run_file: Path
    metrics_port: int

    def announce(self, **facts: Any) -> None:
        """Say that the work is being done now; the supervisor reads it (`url`, `bootstrap_servers` …)."""
        self.health.set_ready()
        self._write_run_file(facts)

    def report_waiting(self, reason: str) -> None:
        """Say what the work waits for before it can begin: the supervisor, `doctor` and the page show it."""
        self.health.set_not_ready(reason)
        if not _is_of_another(self.run_file):
            self._write_run_file({"waiting_for": reason})

    def _write_run_file(self, facts: dict[str, Any]) -> None:
        self.run_file.parent.mkdir(parents=True, exist_ok=True)
        partial = self.run_file.with_suffix(f".{os.getpid()}.tmp")
        partial.write_text(
            json.dumps({"name": self.name, "pid": os.getpid(), "metrics_port": self.metrics_port, **facts})
        )
        partial.replace(self.run_file)


@contextmanager
def lifecycle(settings: Settings, name: str) -> Iterator[Lifecycle]:
    """Run a process's work inside: SIGTERM and Ctrl-C set `stop`; a second one ends it at once."""
    if not isinstance(sys.stderr, LossyText):  # a full disk shall not end a process for its log's sake
        sys.stderr = LossyText(sys.stderr)
    configure_logging(name, settings.telemetry.log_level, settings.telemetry.log_format)
    if closed := keep_private(settings.data_dir):
        get_logger().warning("data_directory_closed", directory=str(settings.data_dir), entries=closed)
    health = Health()
    server = TelemetryServer(health, settings.telemetry.metrics_port)
    life = Lifecycle(name, threading.Event(), health, settings.data_dir / "run" / f"{name}.json", server.port)

    def ask_to_stop(number: int, frame: object) -> None:  # noqa: ARG001
        if life.stop.is_set():
            os._exit(128 + number)
        life.stop.set()

    previous = {number: signal.signal(number, ask_to_stop) for number in _STOP_SIGNALS}
    _remove_own_or_stale(life.run_file)
    keep_out_of_the_collector()
    try:
        yield life
    finally:
        gc.unfreeze()  # an end that lets nothing go is told as leaks by libraries
        _remove_own_or_stale(life.run_file)
        server.close()
        for number, handler in previous.items():
            signal.signal(number, handler)


@contextmanager
def ending_at_once(life: Lifecycle, doing: str) -> Iterator[None]:
    """Inside, a stop signal ends the process at once, with exit code 0.

    For what comes before the work, holds nothing that could be lost, and cannot be asked to stop. A
    signal's handler waits until the compiler's C code returns, so a thread listens for the signal itself.
    """
    read, write = os.pipe()
    os.set_blocking(write, False)
    previous = signal.set_wakeup_fd(write, warn_on_full_buffer=False)
    life.health.set_not_ready(doing)

    def listen() -> None:
        while True:
            ready, _, _ = select.select([read], [], [], _BEAT_S)
            life.health.beat()
            heard = os.read(read, 1) if ready else b""
            if heard == _OVER:
                return
            if heard and heard[0] in _STOP_SIGNALS:
                os._exit(0)

    listener = threading.Thread(target=listen, name="stop", daemon=True)
    listener.start()
    try:
        if life.stop.is_set():  # it came just before
            os._exit(0)
        yield
    finally:
        signal.set_wakeup_fd(previous)
        os.write(write, _OVER)
        listener.join()
        for end in (read, write):
            os.close(end)


def keep_out_of_the_collector() -> None:
    """What a process has loaded stays: to look through it takes Python's collector 50 ms each time, while the work stands.

    For before the work begins: what is in a cycle now is never let go.
    """
    gc.freeze()


def _remove_own_or_stale(run_file: Path) -> None:
    if not _is_of_another(run_file):
        run_file.unlink(missing_ok=True)


def _is_of_another(run_file: Path) -> bool:
    """Whether a process of the same name that lives has written it: a second one must not take its file away."""
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        pid = int(json.loads(run_file.read_text())["pid"])
        return pid != os.getpid() and psutil.pid_exists(pid)
    return False
