"""Kernels: the functions that become machine code, all with the same promises.

No fast-math, so the bits are the same on every machine; without the interpreter's lock, so other
threads go on; compiled once per machine and version, never per start.

A kernel calls kernels of other files of its room, and numba's own cache only watches the calling
file. So each room's cache folder is named after the size and time of all its source files: a change
of any starts a new one.
"""

import contextlib
import hashlib
import inspect
import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar, cast

import numba
from llvmlite import ir  # type: ignore[import-untyped]
from llvmlite.binding import get_host_cpu_name  # type: ignore[import-untyped]
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from marketpulse.cache import cache_dir

F = TypeVar("F", bound=Callable[..., Any])

_PACKAGE = Path(__file__).parent
_CACHES_KEPT = 4
_CACHE_LINE = 64  # bytes that a processor asks of memory at once


@lru_cache
def _stamp(room: Path) -> str:
    """What the room's machine code is made from, and for which processor."""
    stamp = hashlib.sha256(f"{numba.__version__} {get_host_cpu_name()} {room}".encode())
    for path in sorted([Path(__file__), *room.glob("*.py"), *(_PACKAGE / "model").glob("*.py")]):
        facts = path.stat()
        stamp.update(f"{path.name} {facts.st_size} {facts.st_mtime_ns}\n".encode())
    return stamp.hexdigest()[:16]


def _cache_folder(room: Path) -> Path:
    return cache_dir() / "kernels" / room.name / _stamp(room)


@lru_cache
def _use_cache(room: Path) -> str | None:
    """The folder for a room's kernels; drops the oldest ones of earlier versions.

    With no place to write there is None: numba falls back to a folder of its own, or compiles at each start.
    """
    if "NUMBA_CACHE_DIR" in os.environ:
        return os.environ["NUMBA_CACHE_DIR"]
    try:
        folder = _cache_folder(room)
        folder.mkdir(parents=True, exist_ok=True)
        others = sorted((p for p in folder.parent.iterdir() if p != folder), key=lambda p: p.stat().st_mtime)
    except OSError:
        return None
    for old in others[: max(0, len(others) - _CACHES_KEPT)]:
        shutil.rmtree(old, ignore_errors=True)
    return str(folder)


def has_kernels(*rooms: str) -> bool:
    """Whether all kernels of the rooms (`engine`, `kafka` …), as their sources are now, were compiled before."""
    marks = [_mark(_PACKAGE / room) for room in rooms]
    return all(mark is not None and mark.is_file() for mark in marks)


def note_kernels(*rooms: str) -> None:
    """Say that all kernels of the rooms are compiled and kept."""
    if numba.config.DISABLE_JIT:  # type: ignore[attr-defined]
        return
    for mark in (_mark(_PACKAGE / room) for room in rooms):
        if mark is not None:
            with contextlib.suppress(OSError):
                mark.touch()


def _mark(room: Path) -> Path | None:
    """Stands beside the kernels from when the last one is there: a stopped compiler leaves some of them."""
    folder = _use_cache(room)
    return None if folder is None else Path(folder) / f"{room.name}-{_stamp(room)}.complete"


def kernel(function: F) -> F:
    """Compile a loop over arrays at its first call (`@kernel`)."""
    return _compiled(function)


def bare_kernel(function: F) -> F:
    """As `kernel`, for a loop that makes no arrays: without counting references to those it is given.

    Counting costs two locked instructions per array and call; in a scan over bytes that is most of
    the time (0.13 against 0.47 µs a record in the JSON scanner).
    """
    return _compiled(function, _nrt=False)


def inlined(function: F) -> F:
    """A helper that becomes part of each bare kernel that calls it; it makes no arrays either."""
    return _compiled(function, _nrt=False, forceinline=True)


def _compiled(function: F, **options: Any) -> F:
    folder = _use_cache(Path(inspect.getfile(function)).parent)
    if folder is not None:
        numba.config.CACHE_DIR = folder  # type: ignore[attr-defined]  # made from the environment at import
    made = numba.njit(cache=True, nogil=True, error_model="numpy", **options)(function)
    if not numba.config.DISABLE_JIT:  # type: ignore[attr-defined]
        made.get_call_template = _of_wide_types(made.get_call_template)
    return cast(F, made)


def _of_wide_types(template_for: Callable[..., Any]) -> Callable[..., Any]:
    """Kernels call each other with whole numbers of 64 bits and with values that are not known beforehand.

    Else a kernel is compiled anew for each constant that it is called with, and for each width of number: a third of
    the compiler's time, for the same code.
    """

    def widened(arguments: Sequence[Any], named: Mapping[str, Any]) -> Any:
        return template_for(tuple(map(_widened, arguments)), {k: _widened(v) for k, v in named.items()})

    return widened


_NARROW = (types.int8, types.int16, types.int32)


def _widened(kind: Any) -> Any:
    kind = types.unliteral(kind)  # type: ignore[no-untyped-call]
    return types.int64 if kind in _NARROW else kind


def _prefetch(_typing: Any, array: Any, _index: Any) -> Any:
    lines = 2 if array.ndim > 1 else -(-array.dtype.bitwidth // (8 * _CACHE_LINE))

    def code(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        kind = signature.args[0]
        view = context.make_array(kind)(context, builder, given[0])
        index = [given[1], *[context.get_constant(types.intp, 0)] * (kind.ndim - 1)]
        place = cgutils.get_item_pointer(context, builder, kind, view, index)  # type: ignore[no-untyped-call]
        byte, number = ir.IntType(8).as_pointer(), ir.IntType(32)
        asks = ir.FunctionType(ir.VoidType(), [byte, number, number, number])
        ask = cgutils.get_or_insert_function(builder.module, asks, "llvm.prefetch.p0")  # type: ignore[no-untyped-call]
        read, keep, data = (ir.Constant(number, n) for n in (0, 3, 1))
        start = builder.bitcast(place, byte)
        for line in range(lines):
            at = builder.gep(start, [ir.Constant(ir.IntType(64), line * _CACHE_LINE)])
            builder.call(ask, [at, read, keep, data])
        return context.get_dummy_value()

    return types.void(array, types.int64), code


prefetch = cast("Callable[[Any, Any], None]", intrinsic(_prefetch))
"""`prefetch(array, index)`, in a kernel: soon `array[index]` will be read or written, so that it may be asked of
memory now. Of an array of two dimensions, the beginning of the row. Changes nothing."""
