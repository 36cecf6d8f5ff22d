"""The watchdog, in processes of its own: it ends them."""

import subprocess
import sys

PROGRAM = """
import threading, time
from marketpulse.app.watchdog import Watchdog

with Watchdog(within_s=1.0) as watchdog:
    for _ in range({turns}):
        time.sleep(0.1)
        watchdog.turned()
    {then}
time.sleep(1.5)
print("came to its end")
"""


def run(turns: int, then: str) -> "subprocess.CompletedProcess[str]":
    program = PROGRAM.format(turns=turns, then=then)
    return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)


def test_a_process_that_hangs_ends_and_says_where_it_stood() -> None:
    ended = run(turns=3, then="threading.Event().wait(50)")
    assert (ended.returncode, ended.stdout) == (1, "")
    assert "Timeout" in ended.stderr
    assert "line 9" in ended.stderr  # of the program: where it waits


def test_a_process_that_turns_is_left_alone_and_so_is_one_that_has_left_its_work() -> None:
    ended = run(turns=20, then="pass")
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "came to its end\n", "")
