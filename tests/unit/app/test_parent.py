import os
import signal
import subprocess
import sys
import time

from marketpulse.app import parent

STUBBORN = (
    "import signal, time\n"
    "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
    "from marketpulse.app import parent\n"
    "parent.watch(grace_s=0.2)\n"
    "print('watching', flush=True)\n"
    "time.sleep(60)\n"
)


def start(script: str, pipe: int | None) -> subprocess.Popen[str]:
    variables = parent.variable(pipe, 0.1) if pipe is not None else {}
    child = subprocess.Popen(
        [sys.executable, "-c", script], env={**os.environ, **variables}, pass_fds=() if pipe is None else (pipe,),
        stdout=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip
    assert child.stdout is not None
    assert child.stdout.readline() == "watching\n"
    return child


def test_a_child_is_asked_to_stop_when_the_last_writer_of_the_pipe_is_gone() -> None:
    read, write = os.pipe()
    child = start(STUBBORN.replace("signal.SIG_IGN", "signal.SIG_DFL"), read)
    os.close(read)
    time.sleep(0.1)
    assert child.poll() is None
    os.close(write)
    assert child.wait(10) == -signal.SIGTERM


def test_a_child_that_does_not_stop_in_time_ends_itself() -> None:
    read, write = os.pipe()
    child = start(STUBBORN, read)
    os.close(read)
    os.close(write)
    assert child.wait(10) == -signal.SIGKILL


def test_without_a_supervisor_nothing_is_watched() -> None:
    child = start(STUBBORN, None)
    time.sleep(0.5)
    assert child.poll() is None
    child.kill()
    child.wait()
