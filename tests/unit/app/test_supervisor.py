"""The supervisor over small scripts: who is ready, who is started again, and in which order they stop."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from marketpulse.app import supervisor as module
from marketpulse.app.exit_codes import FAILED
from marketpulse.app.supervisor import Child, ChildSpec, Event, Stage, State, Supervisor
from marketpulse.app.up import exit_code, status
from marketpulse.clock import SystemClock
from marketpulse.telemetry import CHILD_RESTARTS
from waiting import wait_until

IDLE = "import time; time.sleep(600)"
WORKS = """
import json, os, pathlib, signal, sys
run, name, journal = pathlib.Path(sys.argv[1]), sys.argv[2], pathlib.Path(sys.argv[3])
def stop(number, frame):
    with journal.open("a") as file:
        file.write(name + "\\n")
    sys.exit(0)
signal.signal(signal.SIGTERM, stop)
(run / f"{name}.json").write_text(json.dumps({"pid": os.getpid(), "url": "http://here"}))
while True:
    signal.pause()
"""


class LeapingClock(SystemClock):
    """The machine's clock, which a test can put forward."""

    ahead_s = 0.0

    def monotonic(self) -> float:
        return super().monotonic() + self.ahead_s


class Tree:
    """A supervisor over small scripts, and what it said."""

    def __init__(self, home: Path) -> None:
        self.home, self.journal, self.clock = home, home / "journal", LeapingClock()
        self.events: list[Event] = []
        self.specs: list[ChildSpec] = []

    def add(self, name: str, script: str = WORKS, stage: Stage = Stage.ENGINE, patient: bool = False) -> None:
        command = [sys.executable, "-S", "-c", script, str(self.home / "run"), name, str(self.journal)]
        self.specs.append(ChildSpec(name, command, stage, patient=patient))

    def start(self) -> Supervisor:
        self.supervisor = Supervisor(self.home, self.specs, self.events.append, self.clock)
        self.supervisor.start()
        return self.supervisor

    def until(self, condition: Callable[[], bool]) -> None:
        def ticked() -> bool:
            self.supervisor.tick()
            return condition()

        wait_until(ticked, "what the children shall come to")

    def much_later(self) -> None:
        """Whatever was due to start again has been started."""
        self.clock.ahead_s += 3_600
        self.supervisor.tick()

    def child(self, name: str) -> Child:
        found = self.supervisor.child(name)
        assert found is not None
        return found

    def state(self, name: str) -> tuple[State, int]:
        return self.child(name).state, self.child(name).restarts

    def pid(self, name: str) -> int:
        process = self.child(name).process
        assert process is not None
        return process.pid


@pytest.fixture
def tree(tmp_path: Path) -> Iterator[Tree]:
    tree = Tree(tmp_path)
    yield tree
    tree.supervisor.kill()
    tree.supervisor.close()


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BACKOFF_FIRST_S", 0.01)


def is_running(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def test_a_child_is_ready_once_it_announces_itself_and_a_killed_one_is_started_again_visibly(tree: Tree) -> None:
    tree.add("engine")
    supervisor = tree.start()
    assert not supervisor.all_ready()
    tree.until(supervisor.all_ready)
    assert tree.child("engine").facts["url"] == "http://here"
    assert tree.events == [Event("engine", "is ready")]
    killed = CHILD_RESTARTS.labels("engine", "SIGKILL")
    before, first = killed._value.get(), tree.pid("engine")
    os.kill(first, signal.SIGKILL)
    tree.until(lambda: tree.child("engine").state == State.WAITING)
    tree.until(supervisor.all_ready)
    assert tree.pid("engine") != first
    assert tree.child("engine").restarts == 1
    assert killed._value.get() == before + 1
    died, back = tree.events[-2:]
    assert (died.bad, "SIGKILL" in died.what, back.what) == (True, True, "is back")


def test_what_a_child_waits_for_is_said_once_and_holds_up_nobody(tree: Tree) -> None:
    tree.add("lake", stage=Stage.READER, patient=True)
    tree.add("prices", IDLE, Stage.SOURCE)
    supervisor = tree.start()
    run_file = tree.home / "run" / "prices.json"
    run_file.write_text(json.dumps({"pid": tree.pid("prices"), "waiting_for": "the topic is missing"}))
    tree.until(supervisor.all_ready)
    waits = Event("prices", "waits: the topic is missing", bad=True)
    assert tree.events == [waits, Event("lake", "is ready")]
    assert status(supervisor, None).text() == "in trouble: prices"
    facts = {"pid": tree.pid("prices"), "note": "may not make a role", "do": "CREATE ROLE r;"}
    run_file.write_text(json.dumps(facts))
    tree.until(lambda: tree.child("prices").state == State.READY)
    assert tree.events[2:] == [
        Event("prices", "is back; it may not make a role", bad=True, details=("CREATE ROLE r;",))
    ]
    assert status(supervisor, None).text() == ""
    run_file.write_text(json.dumps({"pid": tree.pid("prices"), "note": "reads trades of A"}))
    tree.until(lambda: len(tree.events) > 3)
    tree.until(supervisor.all_ready)
    assert tree.events[3:] == [Event("prices", "reads trades of A")], "what is found out later is said once"


def test_an_announcement_left_behind_by_an_earlier_life_counts_for_nothing_but_patience_has_an_end(tree: Tree) -> None:
    tree.add("lake", stage=Stage.READER, patient=True)
    tree.add("engine", IDLE)
    supervisor = tree.start()
    (tree.home / "run" / "engine.json").write_text('{"pid": 1}')
    for _ in range(5):
        supervisor.tick()
    assert not supervisor.all_ready()
    assert tree.state("lake") == (State.PLANNED, 0)
    tree.clock.ahead_s += module.PATIENCE_S
    tree.until(lambda: tree.child("lake").state == State.READY)


def test_a_patient_child_starts_last_and_after_a_stop_all_start_again_but_what_had_finished(tree: Tree) -> None:
    tree.add("replay", "pass", Stage.SOURCE)
    tree.add("lake", stage=Stage.READER, patient=True)
    tree.add("engine")
    supervisor = tree.start()
    tree.until(supervisor.all_ready)
    assert [event.child for event in tree.events if event.child != "replay"] == ["engine", "lake"]
    first = tree.pid("engine")
    assert supervisor.stop()
    assert {tree.child(name).state for name in ("lake", "engine")} == {State.STOPPED}
    supervisor.start()
    tree.until(supervisor.all_ready)
    assert tree.pid("engine") != first
    assert tree.child("replay").process is None
    assert [child.restarts for child in supervisor.children] == [0, 0, 0]
    assert [event.child for event in tree.events].count("replay") == 1


def test_a_source_that_finishes_is_done_but_an_engine_that_returns_is_started_again(tree: Tree) -> None:
    tree.add("replay", "pass", Stage.SOURCE)
    tree.add("engine", "pass")
    tree.start()
    tree.until(lambda: tree.child("replay").state == State.DONE and tree.child("engine").restarts >= 1)
    assert tree.child("replay").restarts == 0


def test_a_child_that_dies_again_and_again_is_called_failing_with_its_last_words(tree: Tree, quick: None) -> None:
    tree.add("engine", "import sys; sys.exit('the disk is full')")
    tree.start()
    tree.until(lambda: tree.child("engine").state == State.FAILING)
    assert "fails again and again (3 times" in tree.events[-1].what
    assert [event.details for event in tree.events] == [["the disk is full"], (), ()]  # said once
    restarts = tree.child("engine").restarts
    tree.until(lambda: tree.child("engine").restarts > restarts)


def test_a_child_that_says_what_it_was_told_is_wrong_is_named_once_and_not_started_again(tree: Tree) -> None:
    tree.add("engine", "import sys; print('unknown indicator', flush=True); sys.exit(2)")
    tree.add("lake", stage=Stage.READER)
    supervisor = tree.start()
    tree.until(lambda: supervisor.refused() and tree.child("lake").state == State.READY)
    tree.much_later()
    assert (tree.child("engine").process, tree.child("engine").restarts) == (None, 0)
    said = [event for event in tree.events if event.child == "engine"]
    assert said == [Event("engine", "cannot begin", bad=True, details=["unknown indicator"])]
    assert supervisor.stop()
    assert supervisor.refused(), "after the stop too"


def test_a_source_whose_key_is_wrong_is_left_out_and_the_others_go_on(tree: Tree) -> None:
    tree.add("vendor", "import sys; print('the key is wrong', flush=True); sys.exit(3)", Stage.SOURCE)
    tree.add("lake", stage=Stage.READER)
    supervisor = tree.start()
    tree.until(supervisor.all_ready)
    tree.much_later()
    assert tree.state("vendor") == (State.LEFT, 0)
    assert not supervisor.refused()
    (said,) = [event for event in tree.events if event.child == "vendor"]
    assert said == Event("vendor", "is left out until you start again", bad=True, details=["the key is wrong"])
    assert exit_code(supervisor) == FAILED
    assert supervisor.stop()
    assert tree.child("vendor").state == State.LEFT, "after the stop too"


def test_a_child_that_has_worked_before_is_started_again_whatever_it_says(tree: Tree, quick: None) -> None:
    works_once = "marker = __import__('pathlib').Path(__import__('sys').argv[3] + '.once')\n"
    works_once += "if marker.exists(): __import__('sys').exit(2)\n"
    tree.add("engine", f"{works_once}marker.touch()\n{WORKS}")
    supervisor = tree.start()
    tree.until(supervisor.all_ready)
    os.kill(tree.pid("engine"), signal.SIGKILL)
    tree.until(lambda: tree.child("engine").restarts >= 2)
    assert not supervisor.refused()
    assert "exit code 2; starting it again" in tree.events[-1].what


def test_stages_are_stopped_one_after_the_other_and_the_broker_last(tree: Tree) -> None:
    stages = {"broker": Stage.BROKER, "lake": Stage.READER, "engine": Stage.ENGINE, "replay": Stage.SOURCE}
    for name, stage in stages.items():
        tree.add(name, stage=stage)
    supervisor = tree.start()
    tree.until(supervisor.all_ready)
    pauses: list[Stage] = []
    assert supervisor.stop(pauses.append)
    assert tree.journal.read_text().split() == ["replay", "engine", "lake", "broker"]
    assert pauses == list(Stage)


def test_a_child_that_does_not_stop_is_killed_and_that_is_said(tree: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(module.STOP_WITHIN_S, Stage.ENGINE, 0.2)
    deaf = "import signal, time\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\nprint('deaf', flush=True)\n"
    tree.add("engine", f"{deaf}time.sleep(600)")
    supervisor = tree.start()
    tree.until(lambda: tree.child("engine").last_words() == ["deaf"])
    pid = tree.pid("engine")
    assert not supervisor.stop()
    assert not psutil.pid_exists(pid)
    assert "was killed" in tree.events[-1].what


def test_what_a_dead_child_had_started_ends_with_it(tree: Tree) -> None:
    starts = f"import subprocess, sys\nprint(subprocess.Popen([sys.executable, '-c', {IDLE!r}]).pid, flush=True)\n"
    tree.add("engine", starts + IDLE)
    tree.start()
    tree.until(lambda: bool(tree.child("engine").last_words()))
    grandchild = int(tree.child("engine").last_words()[0])
    os.kill(tree.pid("engine"), signal.SIGKILL)
    tree.until(lambda: not is_running(grandchild))


def test_when_the_supervisor_is_killed_its_children_end_too(tmp_path: Path) -> None:
    child = f"from marketpulse.app import parent; import os; parent.watch(); print(os.getpid(), flush=True); {IDLE}"
    script = (
        "import pathlib, sys\nfrom marketpulse.app.supervisor import ChildSpec, Stage, Supervisor\n"
        f"specs = [ChildSpec(n, [sys.executable, '-c', {child!r}], Stage.ENGINE) for n in ('a', 'b')]\n"
        f"s = Supervisor(pathlib.Path(sys.argv[1]), specs, print)\ns.start()\n{IDLE}\n"
    )
    supervisor = subprocess.Popen([sys.executable, "-c", script, str(tmp_path)])
    logs = [tmp_path / "logs" / f"{name}.log" for name in ("a", "b")]
    try:
        wait_until(lambda: all(log.is_file() and log.read_text().endswith("\n") for log in logs), "both children")
        pids = [int(log.read_text()) for log in logs]
        assert all(is_running(pid) for pid in pids)
    finally:
        supervisor.kill()
        supervisor.wait()
    wait_until(lambda: not any(is_running(pid) for pid in pids), "that no child outlives its supervisor")


def test_full_logs_move_aside_backoff_doubles_an_end_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LOG_BYTES_MAX", 10)
    log = tmp_path / "engine.log"
    with log.open("ab") as writer:
        writer.write(b"0123456789ABC\n")
        writer.flush()
        module.bound_log(log)
        writer.write(b"next\n")
    assert (tmp_path / "engine.log.1").read_bytes() == b"0123456789ABC\n"
    assert log.read_bytes() == b"next\n"
    assert [module.backoff_s(n) for n in (1, 2, 3, 4, 5, 6, 7, 8, 1_000)] == [0.5, 1, 2, 4, 8, 16, 30, 30, 30]
    assert (module.how_it_ended(3), module.how_it_ended(-9)) == ("exit code 3", "SIGKILL")
