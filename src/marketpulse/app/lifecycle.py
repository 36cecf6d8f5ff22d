"""What every process does around its work: logs, signals, health, metrics, and its run file."""

import contextlib
import json
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from marketpulse.settings import Settings
from marketpulse.telemetry import Health, TelemetryServer, configure_logging


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
        self.run_file.parent.mkdir(parents=True, exist_ok=True)
        partial = self.run_file.with_suffix(f".{os.getpid()}.tmp")
        partial.write_text(
            json.dumps({"name": self.name, "pid": os.getpid(), "metrics_port": self.metrics_port, **facts})
        )
        partial.replace(self.run_file)


@contextmanager
def lifecycle(settings: Settings, name: str) -> Iterator[Lifecycle]:
    """Run a process's work inside: SIGTERM and Ctrl-C set `stop`; a second one ends it at once."""
    configure_logging(name, settings.telemetry.log_level, settings.telemetry.log_format)
    health = Health()
    server = TelemetryServer(health, settings.telemetry.metrics_port)
    life = Lifecycle(name, threading.Event(), health, settings.data_dir / "run" / f"{name}.json", server.port)

    def ask_to_stop(number: int, frame: object) -> None:  # noqa: ARG001
        if life.stop.is_set():
            os._exit(128 + number)
        life.stop.set()

    previous = {number: signal.signal(number, ask_to_stop) for number in (signal.SIGTERM, signal.SIGINT)}
    _remove_own_or_stale(life.run_file)
    try:
        yield life
    finally:
        _remove_own_or_stale(life.run_file)
        server.close()
        for number, handler in previous.items():
            signal.signal(number, handler)


def _remove_own_or_stale(run_file: Path) -> None:
    """A second process of the same name (it will refuse to run) must not take the first one's file away."""
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        pid = int(json.loads(run_file.read_text())["pid"])
        if pid != os.getpid() and psutil.pid_exists(pid):
            return
    run_file.unlink(missing_ok=True)
