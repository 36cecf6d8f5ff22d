"""One query of a command, in a child process of its own with the page's limits (child.py)."""

import pickle
import socket
import time
from typing import Any

import orjson

from marketpulse.ports import SqlCall, SqlHead
from marketpulse.query.processes import LENGTH, ended_by_itself, error_of, remove_spill, start_process, took_too_long
from marketpulse.settings import Settings


def run_apart(settings: Settings, call: SqlCall) -> tuple[SqlHead, bytes]:
    """The answer and its body. Raises as ports.SqlPool.ask; Ctrl-C, and whatever else is raised here, ends the query."""
    process, calls = start_process("child", settings)
    try:
        with calls:
            if (fault := _read_head(calls).get("error")) is not None:
                raise error_of(fault)
            end = time.monotonic() + settings.sql.timeout_s
            calls.settimeout(settings.sql.timeout_s)
            data = pickle.dumps(call)
            calls.sendall(LENGTH.pack(len(data)) + data)
            head = _read_head(calls)
            if (fault := head.pop("error", None)) is not None:
                raise error_of(fault)
            calls.settimeout(max(1.0, end - time.monotonic()))
            del head["is_last"]
            return SqlHead(**head), _read(calls, head["size"])
    except TimeoutError:
        raise took_too_long(settings.sql) from None
    except (EOFError, ConnectionError):
        raise ended_by_itself(settings.sql) from None
    finally:
        process.kill()
        process.wait()
        remove_spill(settings.data_dir, process.pid)


def _read_head(calls: socket.socket) -> dict[str, Any]:
    head: dict[str, Any] = orjson.loads(_read(calls, *LENGTH.unpack(_read(calls, LENGTH.size))))
    return head


def _read(calls: socket.socket, size: int) -> bytes:
    data = bytearray(size)
    view = memoryview(data)
    while view:
        count = calls.recv_into(view)
        if count == 0:
            raise EOFError
        view = view[count:]
    return bytes(data)
