import signal
import subprocess
import sys
import time
from pathlib import Path

HEAD = """
import pathlib, sys, time
from marketpulse.app.lifecycle import ending_at_once, lifecycle
from marketpulse.settings import Settings
with lifecycle(Settings(data_dir=pathlib.Path(sys.argv[1])), "worker") as life:
"""
# A signal's handler runs, and the sleep goes on: as it is with a compiler.
PREPARES = "    with ending_at_once(life, 'compiling'):\n        print('there', flush=True)\n        time.sleep(60)\n"
WORKS = (
    "    with ending_at_once(life, 'compiling'):\n        pass\n"
    "    print('there', flush=True)\n    while not life.stop.is_set():\n        time.sleep(0.01)\n"
    "    print('finished what it held', flush=True)\n"
)


def told_to_stop(script: str, home: Path, number: int) -> tuple[int, str, float]:
    """(exit code, what else it printed, seconds to its end) of a process that was told to stop once it was there."""
    process = subprocess.Popen([sys.executable, "-c", HEAD + script, str(home)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "there\n"
    began = time.monotonic()
    process.send_signal(number)
    said, _ = process.communicate(timeout=30)
    return process.returncode, said, time.monotonic() - began


def test_a_stop_ends_preparations_at_once_and_cleanly(tmp_path: Path) -> None:
    for number in (signal.SIGTERM, signal.SIGINT):
        code, said, seconds = told_to_stop(PREPARES, tmp_path, number)
        assert (code, said) == (0, "")
        assert seconds < 10


def test_a_stop_after_preparations_lets_the_work_finish(tmp_path: Path) -> None:
    for number in (signal.SIGTERM, signal.SIGINT):
        code, said, _ = told_to_stop(WORKS, tmp_path, number)
        assert (code, said) == (0, "finished what it held\n")


def test_a_stop_that_came_before_preparations_ends_them_too(tmp_path: Path) -> None:
    script = (
        "    import os, signal\n    os.kill(os.getpid(), signal.SIGTERM)\n"
        "    with ending_at_once(life, 'compiling'):\n        print('began')\n        time.sleep(60)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", HEAD + script, str(tmp_path)], capture_output=True, text=True, timeout=30, check=False
    )
    assert (done.returncode, done.stdout) == (0, "")


def test_the_collector_looks_only_at_what_the_work_makes(tmp_path: Path) -> None:
    script = (
        "    import gc\n    loaded, seen = gc.get_freeze_count(), len(gc.get_objects())\n"
        "    class Made: pass\n    made = Made()\n    made.itself = made\n    del made\n"
        "    print(loaded > 10_000, seen < loaded / 10, gc.collect() > 0)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", HEAD + script, str(tmp_path)], capture_output=True, text=True, timeout=60
    )
    assert done.stdout == "True True True\n", done.stderr
