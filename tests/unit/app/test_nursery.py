import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from marketpulse.app import parent, patience
from marketpulse.app.nursery import UNKNOWN_END, ForkedChild, Nursery

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="children are forked on Linux only")


@pytest.fixture(scope="module")
def opened() -> Iterator[Nursery]:
    nursery = Nursery.open()
    assert nursery is not None
    until(nursery.settled, 120)
    yield nursery
    nursery.close()


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    """The reading end for children, and the end whose closing means that the supervisor is gone."""
    ends = os.pipe()
    yield ends
    for end in ends:
        try:
            os.close(end)
        except OSError:
            continue


def until(condition: Callable[[], object], within_s: float = 30) -> None:
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline, "it did not come to that"
        time.sleep(0.02)


def spawn(nursery: Nursery, log: Path, pipe: int, *arguments: str, **environment: str) -> ForkedChild:
    variables = {**os.environ, "MARKETPULSE_DATA_DIR": str(log.parent), **parent.variable(pipe, 0), **environment}
    with log.open("ab") as output:
        child = nursery.spawn(arguments, variables, output.fileno(), pipe)
    assert child is not None
    return child


def waiting(nursery: Nursery, log: Path, pipe: int) -> ForkedChild:
    """A child that runs until it is stopped: an engine that waits for a broker."""
    child = spawn(nursery, log, pipe, "process", "--slot", "3", **{patience.VARIABLE: "1"})
    until(lambda: b"--slot" in Path(f"/proc/{child.pid}/cmdline").read_bytes())
    return child


def test_a_forked_child_runs_the_command_and_its_exit_code_comes_back(
    opened: Nursery, pipe: tuple[int, int], tmp_path: Path
) -> None:
    log = tmp_path / "log"
    child = spawn(opened, log, pipe[0], "indicators", "macd")
    assert child.wait() == 0
    assert "macd_12_26_9_hist" in log.read_text()
    assert spawn(opened, log, pipe[0], "indicators", "nonsense").wait() == 2
    assert "unknown indicator 'nonsense'" in log.read_text()


def test_a_forked_child_looks_and_stops_like_one_that_was_started(
    opened: Nursery, pipe: tuple[int, int], tmp_path: Path
) -> None:
    child = waiting(opened, tmp_path / "log", pipe[0])
    assert "marketpulse process --slot 3" in " ".join(psutil.Process(child.pid).cmdline())
    assert os.getsid(child.pid) == child.pid
    assert child.poll() is None
    until(lambda: (tmp_path / "run").is_dir() or psutil.Process(child.pid).num_threads() > 2)
    child.send_signal(signal.SIGTERM)
    assert child.wait() in (0, -signal.SIGTERM)


def test_a_light_child_is_born_before_the_nursery_has_everything(pipe: tuple[int, int], tmp_path: Path) -> None:
    nursery = Nursery.open()
    assert nursery is not None
    until(lambda: nursery.settled(light=True), 120)
    assert not nursery.settled()
    log = tmp_path / "log"
    child = spawn(nursery, log, pipe[0], "--version")
    until(nursery.settled, 120)
    assert child.wait() == 0
    assert log.read_text().startswith("marketpulse ")
    assert spawn(nursery, log, pipe[0], "indicators", "macd").wait() == 0
    nursery.close()


def test_a_killed_child_is_reported_as_killed(opened: Nursery, pipe: tuple[int, int], tmp_path: Path) -> None:
    child = waiting(opened, tmp_path / "log", pipe[0])
    os.kill(child.pid, signal.SIGKILL)
    assert child.wait() == -signal.SIGKILL


def test_a_forked_child_notices_the_supervisors_end(opened: Nursery, pipe: tuple[int, int], tmp_path: Path) -> None:
    child = waiting(opened, tmp_path / "log", pipe[0])
    os.close(pipe[1])
    until(lambda: child.poll() is not None)


def test_when_the_nursery_dies_its_children_go_on_and_new_ones_are_refused(
    pipe: tuple[int, int], tmp_path: Path
) -> None:
    nursery = Nursery.open()
    assert nursery is not None
    until(nursery.settled, 120)
    child = waiting(nursery, tmp_path / "log", pipe[0])
    nurse = psutil.Process(child.pid).ppid()
    os.kill(nurse, signal.SIGKILL)
    until(lambda: nursery.spawn([], {}, 1, pipe[0]) is None)
    assert child.poll() is None
    os.kill(child.pid, signal.SIGKILL)
    assert child.wait() == UNKNOWN_END
    nursery.close()


def test_a_process_with_another_thread_does_not_fork() -> None:
    script = (
        "import threading, time\nfrom marketpulse.app.nursery import may_fork\nalone = may_fork()\n"
        "threading.Thread(target=time.sleep, args=(5,), daemon=True).start()\nprint(alone, may_fork())\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "True False\n"
