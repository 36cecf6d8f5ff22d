"""A short start: one process imports what all children need, and forks each child from there (Linux).

Seven processes that each import the same libraries and load the same machine code keep two cores busy
for ten seconds; doing it once and forking takes a third of that, and they share the memory of the code
(docs/decisions/002-processes-and-fork-server.md).

    supervisor ── order ──> nursery (one thread, everything imported)
        └─ ticket ───────────── fork ──> marketpulse process, serve, sink …

Each order carries a ticket, one end of a socket of its own. A forked child writes its process id there and
waits for a byte before it begins; the supervisor sends one byte at most, or closes its end. So an order
that was not answered in time is withdrawn for good: whoever is forked for it later reads the end, and ends.

A fork copies one thread only, so it is safe only where no other thread can hold a lock. The nursery
looks before it offers itself: with any thread beside its own (but the allocator's, which knows about
forks) it withdraws, and the children are started as processes of their own. So they are on macOS,
and when the nursery dies.
"""

import contextlib
import importlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from marketpulse.cache import keep_bytecode

LIGHT = (
    "marketpulse.app.cli.main",
    "marketpulse.settings",
    "marketpulse.app.lifecycle",
    "marketpulse.app.pipeline.broker",
)
"""Imported first: all that the broker's process needs, which is not kept waiting for the rest."""
HEAVY = (
    "numpy",
    "pyarrow",
    "numba",
    "marketpulse.app.pipeline.process",
    "marketpulse.app.pipeline.serve",
    "uvicorn.loops.auto",
    "uvicorn.protocols.http.auto",
    "uvicorn.protocols.websockets.websockets_sansio_impl",
    "uvicorn.lifespan.off",
    "marketpulse.app.pipeline.sink",
    "marketpulse.app.pipeline.verify",
    "marketpulse.kafka.producer",
    "marketpulse.query",
)
"""What the others need. Polars is not among them: it starts a thread when it is imported."""

_FORK_SAFE_THREADS = {"jemalloc_bg_thd"}
_MESSAGE_BYTES_MAX = 256_000
_ANSWER_WITHIN_S = 5.0
_SETTLED_WITHIN_S = 30.0
_PID_BYTES, _BEGIN = 8, b"\0"  # what a child and the supervisor say on a ticket
UNKNOWN_END = -int(signal.SIGKILL)  # how a child ended whose nursery was gone by then


class Nursery:
    """The supervisor's end. All methods are called from one thread."""

    def __init__(self) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._process = subprocess.Popen(
            [sys.executable, "-m", __name__, str(theirs.fileno())],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            pass_fds=(theirs.fileno(),), start_new_session=True,
            env={**os.environ, "OPENBLAS_NUM_THREADS": "1"},
        )  # fmt: skip
        theirs.close()
        ours.setblocking(False)
        self._socket = ours
        self._settled_by = time.monotonic() + _SETTLED_WITHIN_S
        self._ready: str | None = None
        self._gone = False
        self._is_late = False  # with an order; until it reports something again it is not asked
        self._ends: dict[int, int] = {}

    @classmethod
    def open(cls) -> "Nursery | None":
        """A nursery, where the system has what it takes."""
        return cls() if sys.platform == "linux" else None

    def settled(self, light: bool = False) -> bool:
        """Whether it is known if children can be had from it; `light`: those that need little."""
        self._listen()
        return self._is_ready(light) or self._gone or time.monotonic() > self._settled_by

    def _is_ready(self, light: bool) -> bool:
        return self._ready == "heavy" or (light and self._ready == "light")

    def spawn(
        self, arguments: Sequence[str], environment: Mapping[str, str], log: int, pipe: int
    ) -> "ForkedChild | None":
        """`marketpulse ARGUMENTS…` as a new process in a session of its own; None when it cannot be had here, and then
        nobody will be forked for it.

        `log` becomes its output; `pipe` is the descriptor that tells of the supervisor's end, whose
        number in the child stands in the environment variable that it is named by there.
        """
        self._listen()
        if self._ready is None or self._gone or self._is_late:
            return None
        message = json.dumps({"arguments": list(arguments), "environment": dict(environment)}).encode()
        self._is_late = True  # until it has answered
        ours, theirs = socket.socketpair()
        with ours, contextlib.suppress(OSError):
            with theirs:
                socket.send_fds(self._socket, [message], [log, pipe, theirs.fileno()])
            ours.settimeout(_ANSWER_WITHIN_S)
            pid = int.from_bytes(ours.recv(_PID_BYTES), sys.byteorder)  # 0: it died before it could say so
            if pid:
                self._listen()
                self._ends.pop(pid, None)  # of an earlier process with this number
                ours.sendall(_BEGIN)
                self._is_late = False
                return ForkedChild(self, pid)
        return None

    def end_of(self, pid: int) -> int | None:
        """How the child ended, as Popen says it; None while it runs."""
        self._listen()
        if pid in self._ends:
            return self._ends[pid]
        if self._gone and not _runs(pid):
            return self._ends.setdefault(pid, UNKNOWN_END)
        return None

    def close(self) -> None:
        """Let it end. Children that still run go on."""
        self._gone = True
        self._socket.close()
        try:
            self._process.wait(2)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _listen(self) -> None:
        while not self._gone:
            try:
                data = self._socket.recv(_MESSAGE_BYTES_MAX)
            except BlockingIOError:
                return
            except OSError:
                data = b""
            if not data:
                self._gone = True
                return
            self._take(json.loads(data))

    def _take(self, said: dict[str, Any]) -> None:
        self._is_late = False
        self._ready = said.get("ready", self._ready)
        if "ended" in said:
            self._ends[int(said["ended"])] = int(said["code"])


@dataclass(frozen=True, slots=True)
class ForkedChild:
    """A child of the nursery, with those methods of Popen that the supervisor uses."""

    nursery: Nursery
    pid: int

    def poll(self) -> int | None:
        return self.nursery.end_of(self.pid)

    def wait(self) -> int:
        while (code := self.poll()) is None:
            time.sleep(0.005)
        return code

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)


def _runs(pid: int) -> bool:
    """Whether the process exists and is more than a zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in ("Z", "X")
    except OSError:
        return False


# --- the other end --------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Birth:
    """What a forked process is to become."""

    arguments: list[str]
    environment: dict[str, str]
    log: int
    pipe: int
    ticket: int


def nurse(control: socket.socket) -> Birth | None:
    """Fork children as they are asked for, between imports too. Returns in each child with its Birth, at
    the end with None."""
    keep_bytecode()
    import setproctitle

    setproctitle.getproctitle()  # finds its place in memory, which it cannot once the environment has changed
    wake_read, wake_write = os.pipe()
    os.set_blocking(wake_write, False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(wake_write, warn_on_full_buffer=False)
    growing = _grow(control)
    grown = False
    while True:
        ready, _, _ = select.select([control.fileno(), wake_read], [], [], None if grown else 0)
        if wake_read in ready:
            os.read(wake_read, 4_096)
            _report_ends(control)
        if control.fileno() in ready:
            data, descriptors, _, _ = socket.recv_fds(control, _MESSAGE_BYTES_MAX, 3)
            if not data:
                return None
            if os.fork() == 0:
                signal.set_wakeup_fd(-1)
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                for end in (wake_read, wake_write):
                    os.close(end)
                control.close()
                log, pipe, ticket = descriptors
                return Birth(**json.loads(data), log=log, pipe=pipe, ticket=ticket)
            for descriptor in descriptors:
                os.close(descriptor)
        elif not grown:
            safe = next(growing, None)
            if safe is False:
                return None
            grown = safe is None


def _grow(control: socket.socket) -> Iterator[bool]:
    """Import step by step, and say how far it is; yields whether this process may fork still."""
    for names, size in ((LIGHT, "light"), (HEAVY, "heavy")):
        for name in names:
            importlib.import_module(name)
            yield True
        if size == "heavy":
            from marketpulse.app import warm

            warm.load("wire", "engine")  # a second for each child; what was never compiled is left to them
        if not may_fork():
            yield False
        control.send(json.dumps({"ready": size}).encode())


def may_fork() -> bool:
    """Whether this process has no thread that a fork would tear out of its work."""
    names = [(task / "comm").read_text().strip() for task in Path("/proc/self/task").iterdir()]
    return len([name for name in names if name not in _FORK_SAFE_THREADS]) == 1


def _report_ends(control: socket.socket) -> None:
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if pid == 0:
            return
        with contextlib.suppress(OSError):
            control.send(json.dumps({"ended": pid, "code": os.waitstatus_to_exitcode(status)}).encode())


def may_begin(birth: Birth) -> bool:
    """Whether the order still stands: say who was forked for it, and wait until the supervisor has seen that."""
    with socket.socket(fileno=birth.ticket) as ticket, contextlib.suppress(OSError):
        ticket.sendall(os.getpid().to_bytes(_PID_BYTES, sys.byteorder))
        return ticket.recv(1) == _BEGIN
    return False


def become(birth: Birth) -> None:
    """Turn the forked process into what it would be had it been started by itself."""
    os.dup2(birth.log, 1)
    os.dup2(birth.log, 2)
    os.close(birth.log)
    os.environ.clear()
    os.environ.update(birth.environment)
    from marketpulse.app import parent

    if (watched := os.environ.get(parent.VARIABLE)) is not None:
        os.environ.update(parent.variable(birth.pipe, float(watched.split(",")[1])))
    import setproctitle

    sys.argv = ["marketpulse", *birth.arguments]
    setproctitle.setproctitle(f"{sys.executable} -m marketpulse {' '.join(birth.arguments)}")


def run(control: socket.socket) -> None:
    """The nursery's whole life, and in each child the command that it was born for."""
    birth = nurse(control)
    if birth is None:
        return
    os.setsid()
    if not may_begin(birth):
        os._exit(0)
    become(birth)
    from marketpulse.app.cli.main import main

    main()


if __name__ == "__main__":
    run(socket.socket(fileno=int(sys.argv[1])))
