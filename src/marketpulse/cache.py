"""The user's cache directory: what can be made again at any time, made once."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

import platformdirs

_LARGE_LIBRARY = "numba"  # its bytecode tells of all: an installer compiles everything or nothing


def cache_dir() -> Path:
    """Where compiled kernels, tables of calendars, bytecode and the broker's jars are kept.

    The settings may name another place for the jars (`Settings.cache_dir`).
    """
    named = os.environ.get("MARKETPULSE_CACHE_DIR")
    return Path(named) if named else Path(platformdirs.user_cache_dir("marketpulse", appauthor=False))


def keep_bytecode() -> None:
    """Keep the libraries' bytecode in the cache where Python would compile it anew in every process.

    That is so where the installer compiled none and Python may not write beside the sources
    (PYTHONDONTWRITEBYTECODE, as many container images have it, or a directory of somebody else).
    Compiling takes three quarters of a start then: 5.4 s of processor time up to the first engine
    step, and 1.5 s with bytecode. Nothing is written beside the sources here either.
    """
    library = find_spec(_LARGE_LIBRARY)
    if sys.pycache_prefix is not None or library is None or library.origin is None:
        return
    here = Path(library.cached or "")
    if here.is_file() or not (sys.dont_write_bytecode or not os.access(Path(library.origin).parent, os.W_OK)):
        return
    sys.pycache_prefix = str(cache_dir() / "bytecode")
    sys.dont_write_bytecode = False


@contextmanager
def kept_bytecode() -> Iterator[None]:
    """`keep_bytecode` for the imports of a block or function; the interpreter of a caller stays as it was."""
    before = sys.pycache_prefix, sys.dont_write_bytecode
    keep_bytecode()
    try:
        yield
    finally:
        sys.pycache_prefix, sys.dont_write_bytecode = before
