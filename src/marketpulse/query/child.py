"""The process that runs what people write: one query at a time, inside hard limits, answered over a socket.

    page ── call ──> child: parse, check, run, render ── head, then the body ──> page, in pieces ──> client

A query may do its worst here. The kernel bounds the address space and the processor's time, this process is the first
that dies where memory is short, and who has asked ends it by SIGKILL. While the client reads slowly, it waits.

A frame is its length (4 bytes) and that many bytes: a call is pickled, a head is JSON. A body has no frame: its head has its size.
"""

import contextlib
import ctypes
import hashlib
import math
import os
import pickle
import re
import resource
import signal
import socket
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa

from marketpulse.errors import Fatal, MarketPulseError, QueryLimit, QueryRefused
from marketpulse.ports import SqlCall, SqlMistake, SqlQuestion
from marketpulse.query.desk import LakeDesk
from marketpulse.query.processes import LENGTH
from marketpulse.settings import Settings, SqlSettings

_ERROR_CHARACTERS_MAX = 20_000
_MEGABYTE = 1_000_000
_PR_SET_PDEATHSIG = 1
_NICE = 5  # the log, the engine and the page come first
_BESIDES_MB, _BESIDES_EACH_CORE_MB = 1_024, 16  # address space of threads' stacks and arenas: mapped, hardly used
_VOLATILE = re.compile(
    r"\b(now|today|random|rand|uuid\w*|gen_random_uuid|current_\w+|local(time\w*)?|get_current_\w+|transaction_timestamp)\b",
    re.IGNORECASE,
)

Answer = tuple[dict[str, Any], Sequence[bytes]]
"""The head's fields, and the body in parts."""


def serve_calls(calls: socket.socket, settings: Settings) -> None:
    """Answer calls until the other end closes, or a query has left this process larger than it should be.

    A head without a body is sent first: an empty one when calls can be answered, an error when they cannot.
    """
    limits = settings.sql
    _limit_this_process(limits)
    try:
        desk = LakeDesk(settings.model_copy(update={"sql": limits.model_copy(update={"timeout_s": math.inf})}))
    except (MarketPulseError, OSError) as error:
        _send(calls, {"error": _fields_of(error)})
        return
    try:
        with contextlib.suppress(MarketPulseError):  # a call will meet it again, and answer it
            desk.version()
            desk.answer(SqlQuestion("SELECT 1"))
        resident_max = _resident_bytes() + limits.memory_limit_mb * _MEGABYTE // 4
        os.nice(_NICE)
        _send(calls, {})
        while (call := _receive(calls)) is not None:
            _limit_processor_time(limits)
            head, body = _answer(desk, call, limits)
            is_last = head.pop("is_last", False) or _resident_bytes() > resident_max
            _send(calls, {**head, "size": sum(map(len, body)), "is_last": is_last})
            for part in body:
                calls.sendall(part)
            del body
            if is_last:
                return
    except ConnectionError:
        return  # who has asked does not want to know any more
    finally:
        desk.close()


def _limit_this_process(limits: SqlSettings) -> None:
    """Set the kernel's limits. Where it has none of them, the time limit and SIGKILL of who has asked remain."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        Path("/proc/self/oom_score_adj").write_text("1000")
        most = (
            _pages(0) + (_BESIDES_MB + 2 * limits.memory_limit_mb) * _MEGABYTE
        )  # DuckDB's, and the rows that it gives
        resource.setrlimit(resource.RLIMIT_AS, (most, most))


def _limit_processor_time(limits: SqlSettings) -> None:
    """Have the kernel end this process where its query works on, whatever became of who has asked."""
    most = math.ceil(time.process_time() + limits.timeout_s * (os.cpu_count() or 1)) + 1
    resource.setrlimit(resource.RLIMIT_CPU, (most, resource.RLIM_INFINITY))


def _resident_bytes() -> int:
    return _pages(1) if sys.platform == "linux" else 0


def _pages(field: int) -> int:
    """Bytes that are mapped (0), or in memory (1)."""
    return int(Path("/proc/self/statm").read_text().split()[field]) * resource.getpagesize()


def _answer(desk: LakeDesk, call: SqlCall, limits: SqlSettings) -> Answer:
    try:
        return _ANSWERS[call.what](desk, call, limits)
    except MemoryError:
        fault: MarketPulseError = QueryLimit(
            f"the query and its rows need more than {limits.memory_limit_mb} MB: narrow it, add LIMIT, or raise "
            "sql.memory_limit_mb"
        )
    except RecursionError:
        fault = QueryRefused("the query is nested too deeply: write it with WITH")
    except pa.ArrowException as error:
        fault = QueryRefused(f"these rows cannot be written ({error}): cast the column to VARCHAR")
    except MarketPulseError as error:
        fault = error
    except Exception:  # noqa: BLE001  (a mistake of ours, answered as one)
        traceback.print_exc()
        fault = Fatal("this should not happen: see the log, and report it")
    return {"error": _fields_of(fault), "is_last": isinstance(fault, QueryLimit)}, ()


def _fields_of(error: Exception) -> dict[str, Any]:
    mistake = getattr(error, "mistake", None)
    return {
        "type": type(error).__name__, "message": str(error)[:_ERROR_CHARACTERS_MAX],
        "mistake": asdict(mistake) if isinstance(mistake, SqlMistake) else None,
    }  # fmt: skip


def _rows(desk: LakeDesk, call: SqlCall, limits: SqlSettings) -> Answer:  # noqa: ARG001
    question, etag = call.question, None
    if question.named is not None or not _VOLATILE.search(question.sql):
        etag = _etag(desk.version(), call)
        if etag in call.cached:
            return {"etag": etag, "is_cached": True}, ()
    answer = desk.answer(question)
    rows = answer.rows
    fields = {
        "etag": etag,
        "rows": rows.num_rows,
        "more": answer.more,
        "committed_ms": answer.committed_ms,
        "note": answer.note,
    }
    body = desk.render(rows, call.form)
    if call.form != "rows":
        return fields, [body]
    head = {
        "id": call.id, "dialect": answer.dialect, "took_ms": round((time.monotonic() - call.asked_s) * 1_000, 1),
        "offset": question.skip, "limit": question.limit, "row_count": rows.num_rows, "more": answer.more,
        "columns": [{"name": f.name, "type": str(f.type)} for f in rows.schema],
        "committed_ms": answer.committed_ms, "note": answer.note,
    }  # fmt: skip
    return fields, [orjson.dumps(head)[:-1], b',"rows":', body, b"}"]


def _plan(desk: LakeDesk, call: SqlCall, limits: SqlSettings) -> Answer:  # noqa: ARG001
    return {}, [orjson.dumps(desk.plan(call.question))]


def _explanation(desk: LakeDesk, call: SqlCall, limits: SqlSettings) -> Answer:  # noqa: ARG001
    return {}, [desk.explain(call.question).encode()]


def _schema(desk: LakeDesk, call: SqlCall, limits: SqlSettings) -> Answer:  # noqa: ARG001
    tables = [
        {"name": t.name, "meaning": t.meaning, "columns": [{"name": n, "type": kind} for n, kind in t.columns]}
        for t in desk.tables()
    ]
    names = ("timeout_s", "memory_limit_mb", "rows_max", "at_once", "waiting")
    return {}, [orjson.dumps({"tables": tables, "limits": {name: getattr(limits, name) for name in names}})]


def _library(desk: LakeDesk, call: SqlCall, limits: SqlSettings) -> Answer:  # noqa: ARG001
    return {}, [orjson.dumps({"queries": desk.library()})]


_ANSWERS: dict[str, Callable[[LakeDesk, SqlCall, SqlSettings], Answer]] = {
    "rows": _rows, "plan": _plan, "explanation": _explanation, "schema": _schema, "library": _library,
}  # fmt: skip


def _etag(version: str, call: SqlCall) -> str:
    question = call.question
    about = (
        version, call.form, question.sql, question.named, sorted(question.parameters.items()), question.dialect,
        question.skip, question.limit,
    )  # fmt: skip
    return f'"{hashlib.sha256(repr(about).encode()).hexdigest()[:32]}"'


def _send(calls: socket.socket, head: dict[str, Any]) -> None:
    data = orjson.dumps(head)
    calls.sendall(LENGTH.pack(len(data)) + data)


def _receive(calls: socket.socket) -> SqlCall | None:
    """The next call; None: the other end has closed."""
    length = calls.recv(LENGTH.size, socket.MSG_WAITALL)
    if len(length) < LENGTH.size:
        return None
    (size,) = LENGTH.unpack(length)
    call: SqlCall = pickle.loads(calls.recv(size, socket.MSG_WAITALL))  # noqa: S301  (who asks is trusted, the query in it is not)
    return call


def main() -> None:
    """Serve calls over the socket that the command line names, with the settings on standard input."""
    settings: Settings = pickle.load(sys.stdin.buffer)  # noqa: S301  (as above)
    serve_calls(socket.socket(fileno=int(sys.argv[1])), settings)
    os._exit(0)  # an orderly end would look for leaks in libraries, at length
