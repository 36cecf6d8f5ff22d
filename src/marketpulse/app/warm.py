"""Compile every kernel once per machine, so that no first batch waits: `python -m marketpulse.app.warm`.

With the word `catalogue`, the indicators that no setting asks for too: the tests compute all of them.
The engine's kernels and the wire's compile side by side, each in a process of its own. With a warm
cache this takes a second. A process that finds the cache cold compiles what it needs before its work
begins, and one of several that need the same does it for all.
"""

import contextlib
import fcntl
import subprocess
import sys
from collections.abc import Iterator
from typing import Literal

from marketpulse.app.lifecycle import Lifecycle, ending_at_once, keep_out_of_the_collector
from marketpulse.cache import cache_dir, keep_bytecode
from marketpulse.settings import EngineSettings

Part = Literal["engine", "wire", "failover"]
_ROOMS: dict[Part, tuple[str, ...]] = {
    "engine": ("engine", "indicators", "alerts"),
    "wire": ("kafka",),
    "failover": ("failover",),
}
"""Where the kernels are that are needed together."""


def load(*parts: Part) -> bool:
    """Bring the machine code of these parts in, where it is kept (0.4 s). Whether it all is."""
    from marketpulse.compiled import has_kernels

    kept = [part for part in parts if has_kernels(*_ROOMS[part])]
    for part in kept:
        _exercise(part)
    return len(kept) == len(parts)


def prepare(life: Lifecycle, *parts: Part, indicators: EngineSettings | None = None) -> None:
    """Have these kernels, and those of the indicators, ready before the work begins: load them, or compile them,
    which takes a minute.

    A stop signal meanwhile ends the process at once: it holds nothing yet, and a compiler cannot be asked.
    """
    kept = load(*parts)
    with ending_at_once(life, "compiling, once on this machine"):
        if not kept:
            compile_parts(*parts)
        if indicators is not None:
            _compile_indicators(indicators)
    keep_out_of_the_collector()


def _compile_indicators(settings: EngineSettings) -> None:
    """A second for each that was never asked for on this machine, else some milliseconds."""
    from marketpulse.app.engine_config import specs_of
    from marketpulse.app.exercise import exercise_indicators

    with _alone("indicators"):
        exercise_indicators(specs_of(settings))


def compile_parts(*parts: Part) -> None:
    """Compile and keep the kernels, unless another process does it: then load them when it has."""
    from marketpulse.compiled import note_kernels

    for part in parts:
        with _alone(part):
            _exercise(part)
            note_kernels(*_ROOMS[part])


def _exercise(part: Part) -> None:
    from marketpulse.app.exercise import exercise_engine, exercise_failover, exercise_wire

    {"engine": exercise_engine, "wire": exercise_wire, "failover": exercise_failover}[part]()


@contextlib.contextmanager
def _alone(part: str) -> Iterator[None]:
    """One process at a time; without a place for the lock, each for itself."""
    try:
        folder = cache_dir() / "kernels"
        folder.mkdir(parents=True, exist_ok=True)
        lock = (folder / f"{part}.lock").open("a")
    except OSError:
        yield
        return
    with lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def warm_up(*more: str) -> None:
    """Compile everything, in parallel processes. Raises RuntimeError when a kernel does not compile."""
    parts = (*_ROOMS, *more)
    running = [subprocess.Popen([sys.executable, "-m", "marketpulse.app.warm", "only", part]) for part in parts]
    codes = [child.wait() for child in running]
    if any(codes):
        raise RuntimeError("a kernel does not compile on this machine: see above")


def _compile_catalogue() -> None:
    from marketpulse.app.exercise import exercise_indicators
    from marketpulse.indicators.catalogue import CATALOGUE, Spec

    with _alone("catalogue"):
        exercise_indicators([Spec(indicator, indicator.defaults()) for indicator in CATALOGUE.values()])


if __name__ == "__main__":
    keep_bytecode()
    words = sys.argv[1:]
    if "only" not in words:
        warm_up(*words)
    elif "catalogue" in words:
        _compile_catalogue()
    else:
        compile_parts(*(part for part in _ROOMS if part in words))
