"""The process that starts the children that run queries (child.py): it has imported all that they need, and forks them.

A child is there in hundredths of a second, however many were killed before it, and shares the memory of the code. One thread,
so a fork is safe (docs/decisions/002-processes-and-fork-server.md). Whoever closes the other end of its socket ends it
and every child.

    in:   F + number, with the child's socket      fork a child        K + number      kill it
    out:  number, exit code as subprocess has it   a child has ended
"""

import contextlib
import gc
import importlib
import os
import pickle
import select
import signal
import socket
import sys
from pathlib import Path

from marketpulse.query.child import serve_calls
from marketpulse.query.processes import ENDED, ORDER, remove_spill
from marketpulse.settings import Settings

_AHEAD = (
    "marketpulse.durable",
    "pyiceberg.catalog.sql",
    "sqlalchemy.dialects.sqlite",
    "sqlglot.generators.duckdb",
    "sqlglot.generators.athena",
)
"""What a child would import with its first query: a second of the processor's time for each."""


def serve_forks(control: socket.socket, data_dir: Path) -> socket.socket | None:
    """Fork and kill children as ordered. Gives a child's socket in each child, None at the end."""
    wake_read, wake_write = os.pipe()
    os.set_blocking(wake_write, False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(wake_write, warn_on_full_buffer=False)
    children: dict[int, int] = {}  # number by process id
    while True:
        ready, _, _ = select.select([control.fileno(), wake_read], [], [])
        if wake_read in ready:
            os.read(wake_read, 4_096)
            _reap(control, children, data_dir)
        if control.fileno() not in ready:
            continue
        order, descriptors, _, _ = socket.recv_fds(control, ORDER.size, 1)
        if len(order) < ORDER.size:
            break
        kind, number = ORDER.unpack(order)
        if kind == b"K":
            for pid in [pid for pid, one in children.items() if one == number]:
                os.kill(pid, signal.SIGKILL)
            continue
        pid = os.fork()
        if pid == 0:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            control.close()
            os.close(wake_read)
            os.close(wake_write)
            return socket.socket(fileno=descriptors[0])
        os.close(descriptors[0])
        children[pid] = number
    for pid in children:
        os.kill(pid, signal.SIGKILL)
    for pid in children:
        os.waitpid(pid, 0)
        remove_spill(data_dir, pid)
    return None


def _reap(control: socket.socket, children: dict[int, int], data_dir: Path) -> None:
    while children:
        pid, status = os.waitpid(-1, os.WNOHANG)
        if pid == 0:
            return
        with contextlib.suppress(OSError):  # nobody is there any more: the loop will meet the end of the socket
            control.send(ENDED.pack(children.pop(pid), os.waitstatus_to_exitcode(status)))
        remove_spill(data_dir, pid)


def main() -> None:
    """Serve forks over the socket that the command line names, with the settings on standard input."""
    settings: Settings = pickle.load(sys.stdin.buffer)  # noqa: S301  (from who has started this process)
    for name in _AHEAD:
        importlib.import_module(name)
    gc.freeze()  # what is there now is never looked at again, so it stays shared
    calls = serve_forks(socket.socket(fileno=int(sys.argv[1])), settings.data_dir)
    if calls is not None:
        serve_calls(calls, settings)
    os._exit(0)  # as child.main
