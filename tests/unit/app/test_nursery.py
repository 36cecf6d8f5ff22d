"""Children forked from one process that has loaded everything, and the kernels that it has loaded."""

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numba
import psutil
import pytest

from marketpulse import compiled
from marketpulse.app import nursery as module
from marketpulse.app import parent, patience
from marketpulse.app.nursery import UNKNOWN_END, ForkedChild, Nursery
from marketpulse.compiled import has_kernels, note_kernels
from waiting import wait_until

on_linux = pytest.mark.skipif(sys.platform != "linux", reason="children are forked on Linux only")
Pipe = tuple[int, int]


@pytest.fixture(scope="module")
def patient() -> Iterator[None]:
    """However busy the machine is, nobody gives a nursery up."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_SETTLED_WITHIN_S", 600.0)
        patch.setattr(module, "_ANSWER_WITHIN_S", 120.0)
        yield


def open_nursery() -> Nursery:
    nursery = Nursery.open()
    assert nursery is not None
    return nursery


@pytest.fixture(scope="module")
def opened(patient: None) -> Iterator[Nursery]:
    nursery = open_nursery()
    wait_until(nursery.settled)
    yield nursery
    nursery.close()


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    """The reading end for children, and the end whose closing means that the supervisor is gone."""
    ends = os.pipe()
    yield ends
    for end in ends:
        with contextlib.suppress(OSError):
            os.close(end)


def spawn(nursery: Nursery, log: Path, pipe: int, *arguments: str, **environment: str) -> ForkedChild:
    variables = {**os.environ, "MARKETPULSE_DATA_DIR": str(log.parent), **parent.variable(pipe, 0), **environment}
    with log.open("ab") as output:
        child = nursery.spawn(arguments, variables, output.fileno(), pipe)
    assert child is not None
    return child


def waiting(nursery: Nursery, log: Path, pipe: int) -> ForkedChild:
    """A child that runs until it is stopped: an engine that waits for a broker."""
    child = spawn(nursery, log, pipe, "process", "--slot", "3", **{patience.VARIABLE: "1"})
    wait_until(lambda: b"--slot" in Path(f"/proc/{child.pid}/cmdline").read_bytes(), "the child's own command line")
    return child


@on_linux
def test_a_forked_child_runs_the_command_and_its_code_comes_back(opened: Nursery, pipe: Pipe, tmp_path: Path) -> None:
    log = tmp_path / "log"
    assert spawn(opened, log, pipe[0], "indicators", "macd").wait() == 0
    assert "macd_12_26_9_hist" in log.read_text()
    assert spawn(opened, log, pipe[0], "indicators", "nonsense").wait() == 2
    assert "unknown indicator 'nonsense'" in log.read_text()


@on_linux
def test_a_forked_child_looks_and_ends_like_a_started_one(opened: Nursery, pipe: Pipe, tmp_path: Path) -> None:
    child = waiting(opened, tmp_path / "log", pipe[0])
    assert "marketpulse process --slot 3" in " ".join(psutil.Process(child.pid).cmdline())
    assert os.getsid(child.pid) == child.pid
    assert child.poll() is None
    wait_until(lambda: (tmp_path / "run").is_dir() or psutil.Process(child.pid).num_threads() > 2, "its work")
    child.send_signal(signal.SIGTERM)
    assert child.wait() in (0, -signal.SIGTERM)
    killed = waiting(opened, tmp_path / "log", pipe[0])
    os.kill(killed.pid, signal.SIGKILL)
    assert killed.wait() == -signal.SIGKILL
    orphan = waiting(opened, tmp_path / "log", pipe[0])
    os.close(pipe[1])
    wait_until(lambda: orphan.poll() is not None, "that a child notices its supervisor's end")


@on_linux
def test_a_light_child_is_early_and_children_outlive_the_nursery(patient: None, pipe: Pipe, tmp_path: Path) -> None:
    log = tmp_path / "log"
    for _ in range(5):  # a test that stands still for seconds misses the moment
        nursery = open_nursery()
        wait_until(lambda opening=nursery: opening.settled(light=True))  # type: ignore[misc]
        if is_early := not nursery.settled():
            break
        nursery.close()
    assert is_early
    child = spawn(nursery, log, pipe[0], "--version")
    wait_until(nursery.settled)
    assert child.wait() == 0
    assert log.read_text().startswith("marketpulse ")
    assert spawn(nursery, log, pipe[0], "indicators", "macd").wait() == 0

    child = waiting(nursery, log, pipe[0])
    os.kill(psutil.Process(child.pid).ppid(), signal.SIGKILL)
    wait_until(lambda: nursery.spawn([], {}, 1, pipe[0]) is None, "that no child can be had")
    assert child.poll() is None
    os.kill(child.pid, signal.SIGKILL)
    assert child.wait() == UNKNOWN_END
    nursery.close()


@on_linux
def test_an_order_that_was_not_answered_in_time_is_never_carried_out(
    opened: Nursery, pipe: Pipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log, late = tmp_path / "log", tmp_path / "late"
    server = psutil.Process(waiting(opened, log, pipe[0]).pid).parent()
    assert server is not None
    server.suspend()
    with monkeypatch.context() as patch, late.open("ab") as output:
        patch.setattr(module, "_ANSWER_WITHIN_S", 0.5)
        order = (["--version"], dict(os.environ), output.fileno(), pipe[0])
        assert opened.spawn(*order) is None
        assert opened.spawn(*order) is None, "whoever was late is not asked again"
    server.resume()
    wait_until(lambda: opened.settled() and not opened._is_late, "the child that was forked too late has ended")
    assert late.read_bytes() == b""
    assert spawn(opened, log, pipe[0], "--version").wait() == 0


def python(script: str, **environment: str) -> str:
    variables = {k: v for k, v in os.environ.items() if k != "NUMBA_CACHE_DIR"} | environment
    done = subprocess.run([sys.executable, "-c", script], env=variables, capture_output=True, text=True, check=True)
    return done.stdout.strip()


@on_linux
def test_a_process_with_another_thread_does_not_fork_and_loaded_kernels_leave_one_that_may(kernels: None) -> None:
    assert has_kernels("engine", "indicators", "kafka")
    script = (
        "import threading, time\nfrom marketpulse.app.nursery import may_fork\nfrom marketpulse.app.warm import load\n"
        "print(load('wire', 'engine'), may_fork())\n"
        "threading.Thread(target=time.sleep, args=(600,), daemon=True).start()\nprint(may_fork())\n"
    )
    assert python(script, OPENBLAS_NUM_THREADS="1").split() == ["True", "True", "False"]


@pytest.fixture
def new_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], None]]:
    """Kernels are looked for in a folder of this test; a call forgets what was looked up, as a new process would."""
    monkeypatch.delenv("NUMBA_CACHE_DIR", raising=False)
    monkeypatch.setenv("MARKETPULSE_CACHE_DIR", str(tmp_path))
    compiled._use_cache.cache_clear()
    yield compiled._use_cache.cache_clear
    compiled._use_cache.cache_clear()


@pytest.mark.parametrize("variable", ["MARKETPULSE_CACHE_DIR", "NUMBA_CACHE_DIR"])
def test_kernels_count_as_compiled_when_the_last_of_a_room_is_and_was_compiled_for_good(
    variable: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, new_process: Callable[[], None]
) -> None:
    monkeypatch.setenv(variable, str(tmp_path))
    (tmp_path / "left.by.a.stopped.compiler.nbi").touch()
    assert not has_kernels("engine")
    note_kernels("engine")
    for _ in range(2):
        assert [has_kernels("engine"), has_kernels("kafka"), has_kernels("engine", "kafka")] == [True, False, False]
        new_process()
    monkeypatch.setattr(numba.config, "DISABLE_JIT", 1)
    note_kernels("kafka")
    assert not has_kernels("kafka")


def test_loading_compiles_nothing(tmp_path: Path) -> None:
    script = "from marketpulse.app.warm import load\nprint(load('engine', 'wire'))"
    assert python(script, MARKETPULSE_CACHE_DIR=str(tmp_path)) == "False"
    assert not list(tmp_path.rglob("*.nbi"))
