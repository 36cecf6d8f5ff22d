"""Kernels: the functions that become machine code, all with the same promises.

No fast-math, so the bits are the same on every machine; cached on disk, so a machine compiles
each once; without the interpreter's lock, so other threads go on.
"""

from collections.abc import Callable
from typing import Any, TypeVar, cast

import numba

F = TypeVar("F", bound=Callable[..., Any])


def kernel(function: F) -> F:
    """Compile a loop over arrays at its first call (`@kernel`)."""
    return cast(F, numba.njit(cache=True, nogil=True, error_model="numpy")(function))
