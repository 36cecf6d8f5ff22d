"""Kernels: the functions that become machine code, all with the same promises.

No fast-math, so the bits are the same on every machine; without the interpreter's lock, so other
threads go on; compiled once per machine and version, never per start.

A kernel calls kernels of other files, and numba's own cache only watches the calling file. So the
cache's folder is named after the size and time of every source file here: any change starts a new one.
"""

import contextlib
import hashlib
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar, cast

import numba
import platformdirs

F = TypeVar("F", bound=Callable[..., Any])

_PACKAGE = Path(__file__).parent
_CACHES_KEPT = 4


def _cache_folder() -> Path:
    stamp = hashlib.sha256(numba.__version__.encode())
    for path in sorted(
        [
            _PACKAGE / "compiled.py",
            *(p for room in ("engine", "indicators", "kafka") for p in (_PACKAGE / room).glob("*.py")),
        ]
    ):
        facts = path.stat()
        stamp.update(f"{path.name} {facts.st_size} {facts.st_mtime_ns}\n".encode())
    named = os.environ.get("MARKETPULSE_CACHE_DIR")
    base = Path(named) if named else Path(platformdirs.user_cache_dir("marketpulse", appauthor=False))
    return base / "kernels" / stamp.hexdigest()[:16]


def _use_cache(folder: Path) -> None:
    """Point numba at the folder; drop the oldest ones of earlier versions."""
    folder.mkdir(parents=True, exist_ok=True)
    numba.config.CACHE_DIR = str(folder)
    others = sorted((p for p in folder.parent.iterdir() if p != folder), key=lambda p: p.stat().st_mtime)
    for old in others[: max(0, len(others) - _CACHES_KEPT)]:
        shutil.rmtree(old, ignore_errors=True)


if "NUMBA_CACHE_DIR" not in os.environ:
    # With no place to write, numba falls back to a folder of its own, or compiles at each start.
    with contextlib.suppress(OSError):
        _use_cache(_cache_folder())


def kernel(function: F) -> F:
    """Compile a loop over arrays at its first call (`@kernel`)."""
    return cast(F, numba.njit(cache=True, nogil=True, error_model="numpy")(function))


def bare_kernel(function: F) -> F:
    """As `kernel`, for a loop that makes no arrays: without counting references to those it is given.

    Counting costs two locked instructions per array and call; in a scan over bytes that is most of
    the time (0.13 against 0.47 µs a record in the JSON scanner).
    """
    return cast(F, numba.njit(cache=True, nogil=True, error_model="numpy", _nrt=False)(function))


def inlined(function: F) -> F:
    """A helper that becomes part of each bare kernel that calls it; it makes no arrays either."""
    options = {"cache": True, "nogil": True, "error_model": "numpy", "forceinline": True, "_nrt": False}
    return cast(F, numba.njit(**options)(function))
