"""Who a running broker belongs to: one owner per data directory, and what happens when the owner is killed."""

import contextlib
import fcntl
import json
import os
import signal
import subprocess
import uuid
from dataclasses import dataclass
from io import TextIOWrapper
from pathlib import Path

import psutil

from marketpulse.errors import EnvironmentProblem
from marketpulse.kafka.broker_jvm import BrokerFiles
from marketpulse.kafka.broker_storage import write_atomically
from marketpulse.telemetry import get_logger

ORPHAN_S = 30  # a broker whose owner was killed waits this long for a new owner, then stops

# Reads until the owner's end of the pipe closes, by whatever death; then gives a new owner time to
# take the broker over, and stops the broker if none did.
_GUARD = """cat >/dev/null; sleep "$1"; if grep -q "$2" "$3" 2>/dev/null; then kill -TERM "$4"; fi"""


@dataclass(frozen=True, slots=True)
class Running:
    """A broker's Java process, found alive, and its port."""

    process: psutil.Process
    port: int


class Ownership:
    """Held from `take` to `release`. The system lets go of a killed owner's lock."""

    def __init__(self, files: BrokerFiles, data_dir: Path) -> None:
        self._files = files
        self._data_dir = data_dir
        self._lock: TextIOWrapper | None = None
        self._guard: subprocess.Popen[bytes] | None = None

    def take(self) -> None:
        """Raises EnvironmentProblem, with the address, when a broker with a living owner is there."""
        lock = self._files.lock.open("a+")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.close()
            running = self.left_running()
            where = f" at 127.0.0.1:{running.port} (process {running.process.pid})" if running else ""
            use = f"use it with KAFKA_BOOTSTRAP_SERVERS=127.0.0.1:{running.port}, " if running else ""
            raise EnvironmentProblem(
                f"a broker already runs on {self._data_dir}{where}: {use}stop it, "
                "or set MARKETPULSE_DATA_DIR to another directory"
            ) from None
        self._lock = lock

    def left_running(self) -> Running | None:
        """The broker that `process.json` tells of, if that very process still runs."""
        try:
            facts = json.loads(self._files.process.read_text())
            process = psutil.Process(int(facts["pid"]))
            if abs(process.create_time() - float(facts["created"])) < 1 and runs(process):
                return Running(process, int(facts["port"]))
        except (OSError, ValueError, KeyError, TypeError, psutil.Error):
            pass
        return None

    def watch_over(self, running: Running) -> None:
        """Record the broker as ours, and set a guard that stops it should we be killed."""
        owner = f"owner-{uuid.uuid4().hex}"
        process = running.process
        facts = {"pid": process.pid, "created": process.create_time(), "port": running.port, "owner": owner}
        write_atomically(self._files.process, json.dumps(facts))
        self._end_guard()
        self._guard = subprocess.Popen(
            ["sh", "-c", _GUARD, "guard", str(ORPHAN_S), owner, str(self._files.process), str(process.pid)],
            stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
        )  # fmt: skip

    def forget(self) -> None:
        """The broker has ended."""
        self._files.process.unlink(missing_ok=True)
        self._end_guard()

    def release(self) -> None:
        self._end_guard()
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def _end_guard(self) -> None:
        if self._guard is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._guard.pid, signal.SIGKILL)  # the shell and what it waits for
            self._guard.communicate()
            self._guard = None


def runs(process: psutil.Process) -> bool:
    """Whether it runs (a dead child that nobody has waited for does not)."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False


def end(process: psutil.Process, patience_s: float) -> bool:
    """SIGTERM, wait, then SIGKILL; True when it went by itself."""
    with contextlib.suppress(psutil.NoSuchProcess):
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(patience_s)
        except psutil.TimeoutExpired:
            get_logger().warning("broker_killed", pid=process.pid, after_s=patience_s)
            process.kill()
            process.wait(10)
            return False
    return True
