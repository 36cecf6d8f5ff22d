import os
import subprocess
import sys
from pathlib import Path

import pytest

from marketpulse.app import warm
from marketpulse.compiled import has_kernels


def python(script: str, **environment: str) -> str:
    variables = {k: v for k, v in os.environ.items() if k != "NUMBA_CACHE_DIR"} | environment
    done = subprocess.run([sys.executable, "-c", script], env=variables, capture_output=True, text=True, check=True)
    return done.stdout.strip()


@pytest.mark.parametrize("variable", ["MARKETPULSE_CACHE_DIR", "NUMBA_CACHE_DIR"])
def test_kernels_count_as_compiled_when_the_last_of_a_room_is(variable: str, tmp_path: Path) -> None:
    (tmp_path / "left.by.a.stopped.compiler.nbi").touch()
    script = (
        "from marketpulse.compiled import has_kernels as has, note_kernels\n"
        "print(has('engine'), end=' ')\nnote_kernels('engine')\n"
        "print(has('engine'), has('kafka'), has('engine', 'kafka'))\n"
    )
    assert python(script, **{variable: str(tmp_path)}) == "False True False False"
    assert python(script, **{variable: str(tmp_path)}) == "True True False False"


def test_loading_compiles_nothing(tmp_path: Path) -> None:
    script = "from marketpulse.app.warm import load\nprint(load('engine', 'wire'))"
    assert python(script, MARKETPULSE_CACHE_DIR=str(tmp_path)) == "False"
    assert not list(tmp_path.rglob("*.nbi"))


def test_kernels_that_were_not_compiled_for_good_do_not_count(tmp_path: Path) -> None:
    script = (
        "from marketpulse.compiled import has_kernels, note_kernels\nnote_kernels('kafka')\nprint(has_kernels('kafka'))"
    )
    assert python(script, MARKETPULSE_CACHE_DIR=str(tmp_path), NUMBA_DISABLE_JIT="1") == "False"


def test_loaded_kernels_leave_a_process_that_may_fork() -> None:
    warm.compile_parts("wire", "engine")
    assert has_kernels("engine", "indicators", "kafka")
    script = (
        "from marketpulse.app.nursery import may_fork\nfrom marketpulse.app.warm import load\n"
        "print(load('wire', 'engine'), may_fork())\n"
    )
    assert python(script, OPENBLAS_NUM_THREADS="1") == "True True"
