"""What a process of ours does around its work: one of its kind, stops, its parent's end, hangs, a wait, ports, a full
disk; and children forked from one process that has loaded everything, with the kernels that it has loaded."""

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import numba
import psutil
import pytest

from marketpulse import compiled
from marketpulse.app import nursery as module
from marketpulse.app import parent, patience
from marketpulse.app.console import PlainScreen
from marketpulse.app.disk import Disk, LossyText, Space, lossy, naming_a_full_disk
from marketpulse.app.lifecycle import Lifecycle
from marketpulse.app.lock import only_one
from marketpulse.app.nursery import UNKNOWN_END, ForkedChild, Nursery
from marketpulse.app.patience import VARIABLE, await_broker
from marketpulse.app.port import free_port, is_free
from marketpulse.app.supervisor import Event, open_log
from marketpulse.app.watchdog import Watchdog
from marketpulse.compiled import has_kernels, note_kernels
from marketpulse.errors import EnvironmentProblem
from marketpulse.settings import load_settings
from marketpulse.telemetry import Health
from waiting import wait_until

LIVES = (
    "import pathlib, signal, sys, time\nfrom marketpulse.app.lifecycle import ending_at_once, lifecycle\n"
    "from marketpulse.settings import Settings\n"
    "with lifecycle(Settings(data_dir=pathlib.Path(sys.argv[1])), 'worker') as life:\n"
)
# A signal's handler runs, and the sleep goes on: as it is with a compiler.
PREPARES = "    with ending_at_once(life, 'compiling'):\n        print('there', flush=True)\n        time.sleep(600)\n"
WORKS = (
    "    with ending_at_once(life, 'compiling'):\n        pass\n"
    "    print('there', flush=True)\n    while not life.stop.is_set():\n        time.sleep(0.01)\n"
    "    print('finished what it held', flush=True)\n"
)
COLLECTS = (
    "    import gc\n    loaded, seen = gc.get_freeze_count(), len(gc.get_objects())\n"
    "    class Made: pass\n    made = Made()\n    made.itself = made\n    del made\n"
    "    print(loaded > 10_000, seen < loaded / 10, gc.collect() > 0)\n"
)
STUBBORN = (
    "import signal, time\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\nfrom marketpulse.app import parent\n"
    "parent.watch(grace_s=0.2)\nprint('watching', flush=True)\ntime.sleep(600)\n"
)
HOLDS = (
    "import pathlib, sys, time\nfrom marketpulse.app.lock import only_one\n"
    "with only_one(pathlib.Path(sys.argv[1])):\n    print('held', flush=True)\n    time.sleep(600)\n"
)
HANGS = (
    "import threading\nfrom marketpulse.app.watchdog import Watchdog\nwith Watchdog(within_s=0.2) as watchdog:\n"
    "    watchdog.turned()\n    threading.Event().wait()\n"
)
SLOT = LIVES + (
    "    from marketpulse.app.pipeline.working import work\n"
    "    class Idle:\n        def start(self): pass\n        def stop(self): pass\n"
    "        def turn(self): print('works', flush=True), time.sleep(0.01)\n"
    "    work(life, 0, lambda pace: Idle())\n"
)
# Stands in for the first of the heavy libraries until it may be imported.
GATE = (
    "import pathlib, sys, time\nwhile not pathlib.Path(__file__).with_name('open').exists():\n    time.sleep(0.01)\n"
    "sys.path.remove(str(pathlib.Path(__file__).parent))\ndel sys.modules['numba']\nimport numba\n"
)
MIB = 1024 * 1024
DEADLINE_S = 120  # that only a fault reaches


def start(script: str, *arguments: str, says: str, pipe: int | None = None) -> subprocess.Popen[str]:
    """A Python that has come to where it says so; `pipe` tells it of its supervisor's end."""
    variables = {} if pipe is None else parent.variable(pipe, 0.1)
    child = subprocess.Popen(
        [sys.executable, "-c", script, *arguments], env={**os.environ, **variables}, stdout=subprocess.PIPE, text=True,
        pass_fds=() if pipe is None else (pipe,), start_new_session=True,
    )  # fmt: skip
    assert child.stdout is not None
    assert child.stdout.readline() == f"{says}\n"
    return child


def run(script: str, *arguments: str) -> tuple[int, str, str]:
    command = [sys.executable, "-c", script, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=DEADLINE_S, check=False)
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize(("script", "said"), [
    pytest.param(PREPARES, "", id="ends preparations at once and cleanly"),
    pytest.param(WORKS, "finished what it held\n", id="lets the work finish after preparations"),
])  # fmt: skip
def test_a_stop(script: str, said: str, number: int, tmp_path: Path) -> None:
    process = start(LIVES + script, str(tmp_path), says="there")
    process.send_signal(number)
    rest, _ = process.communicate(timeout=DEADLINE_S)
    assert (process.returncode, rest) == (0, said)


def test_a_stop_before_preparations_ends_them_and_the_collector_looks_at_what_the_work_makes(tmp_path: Path) -> None:
    before = (
        "    signal.raise_signal(signal.SIGTERM)\n    with ending_at_once(life, 'compiling'):\n        print('began')\n"
    )
    assert run(LIVES + before, str(tmp_path))[:2] == (0, "")
    _, said, fault = run(LIVES + COLLECTS, str(tmp_path))
    assert said == "True True True\n", fault


@pytest.mark.parametrize(("script", "end"), [
    pytest.param(STUBBORN.replace("SIG_IGN", "SIG_DFL"), -signal.SIGTERM, id="asked to stop"),
    pytest.param(STUBBORN, -signal.SIGKILL, id="and ends itself when it does not in time"),
])  # fmt: skip
def test_when_the_last_writer_of_the_pipe_is_gone_a_child_is(script: str, end: int) -> None:
    read, write = os.pipe()
    child = start(script, says="watching", pipe=read)
    os.close(read)
    with pytest.raises(subprocess.TimeoutExpired):  # there is a writer still
        child.wait(0.1)
    os.close(write)
    assert child.wait(DEADLINE_S) == end


def test_without_a_supervisor_nothing_is_watched(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(parent.VARIABLE, raising=False)
    parent.watch(grace_s=0)
    assert "parent" not in {thread.name for thread in threading.enumerate()}


def test_a_second_supervisor_over_the_same_directory_is_refused_and_told_who_holds_it(tmp_path: Path) -> None:
    holder = start(HOLDS, str(tmp_path), says="held")
    try:
        with pytest.raises(EnvironmentProblem, match=f"already runs on .*{holder.pid}"), only_one(tmp_path):
            pass
    finally:
        holder.kill()
        holder.wait()
    with only_one(tmp_path):  # a killed one leaves no lock behind
        pass
    (tmp_path / "file").write_text("")
    with pytest.raises(EnvironmentProblem, match="MARKETPULSE_DATA_DIR"), only_one(tmp_path / "file"):
        pass


def test_a_worker_waits_for_the_one_of_its_slot_says_for_which_and_begins_once_that_is_killed(tmp_path: Path) -> None:
    first, run_file = start(SLOT, str(tmp_path), says="works"), tmp_path / "run" / "worker.json"
    run_file.unlink()  # as a supervisor does before it starts a child
    second = subprocess.Popen([sys.executable, "-c", SLOT, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    try:
        facts = json.loads(
            wait_until(lambda: run_file.read_text() if run_file.exists() else "", "it says what it waits for")
        )
        assert (facts["pid"], facts["waiting_for"].partition(":")[0]) == (
            second.pid, f"process {first.pid} still works as worker",
        )  # fmt: skip
        first.kill()
        assert second.stdout is not None
        assert second.stdout.readline() == "works\n"
        wait_until(lambda: json.loads(run_file.read_text()).get("slot") == 0, "it announces its work")
        second.terminate()
        assert second.wait(DEADLINE_S) == 0
    finally:
        for child in (first, second):
            child.kill()
            child.wait()


def test_the_data_directory_is_its_owners_alone_whatever_the_umask_and_left_overs_are_removed(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        (tmp_path / "data" / "lake").mkdir(parents=True)
        (tmp_path / "data" / "lake" / "catalog.db").write_text("")
        (tmp_path / "data" / "run.sh").symlink_to("/bin/sh")
        ended = subprocess.Popen(["/bin/true"])
        ended.wait()
        for owner in (ended.pid, os.getpid()):
            (tmp_path / "data" / f"sql-{owner}-x").mkdir()
        with only_one(tmp_path / "data") as closed:
            assert closed == 5  # two directories, a file, what two queries have
            (tmp_path / "data" / "new").write_text("")
        with only_one(tmp_path / "data") as closed:
            assert closed == 0
        everything = [p for p in (tmp_path / "data", *(tmp_path / "data").rglob("*")) if not p.is_symlink()]
        assert {oct(path.stat().st_mode & 0o777) for path in everything} == {"0o700", "0o600"}
        assert [path.name for path in (tmp_path / "data").glob("sql-*")] == [f"sql-{os.getpid()}-x"]
    finally:
        os.umask(before)


def test_a_process_that_hangs_ends_and_says_where_it_stood() -> None:
    code, said, fault = run(HANGS)
    assert (code, said) == (1, "")
    assert "Timeout" in fault
    assert "line 5" in fault  # of the program: where it waits


def test_a_process_that_turns_or_has_left_its_work_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """By what the alarm is told: each setting takes the place of the one before (docs.python.org, faulthandler)."""
    told: list[tuple[str, float]] = []
    now = 100.0
    alarm = SimpleNamespace(
        dump_traceback_later=lambda within_s, **_: told.append(("in", now + within_s)),
        cancel_dump_traceback_later=lambda: told.append(("never", now)),
    )
    monkeypatch.setattr("marketpulse.app.watchdog.faulthandler", alarm)
    monkeypatch.setattr("marketpulse.app.watchdog.time", SimpleNamespace(monotonic=lambda: now))
    with Watchdog(within_s=4.0) as dog:
        for now in (100.2, 100.5, 103.0):  # noqa: B007  (the clock)
            dog.turned()
    assert told == [("in", 104.0), ("in", 104.5), ("in", 107.0), ("never", 103.0)]


def test_a_supervised_process_waits_until_the_broker_announces_itself_but_none_that_shall_stop_or_has_no_supervisor(
    own_place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, "1")
    settings = load_settings(data_dir=own_place)
    life = Lifecycle("serve", threading.Event(), Health(), settings.data_dir / "run" / "serve.json", 0)
    life.stop.set()
    await_broker(settings, life)
    life.stop.clear()
    with monkeypatch.context() as by_hand:
        by_hand.delenv(VARIABLE)
        await_broker(settings, life)
    waiting = threading.Thread(target=await_broker, args=(settings, life), daemon=True)
    waiting.start()
    wait_until(lambda: life.health.ready() == (False, "waiting for the broker"))
    with pytest.raises(AssertionError):
        wait_until(lambda: not waiting.is_alive(), within_s=0.2)
    run = settings.data_dir / "run"
    run.mkdir()
    (run / "new").write_text(json.dumps({"pid": os.getpid(), "bootstrap_servers": "127.0.0.1:1"}))
    (run / "new").rename(run / "broker.json")
    waiting.join(DEADLINE_S)
    assert not waiting.is_alive()


def test_a_port_that_is_listened_on_is_not_free_and_0_is_any_free_one() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        taken = server.getsockname()[1]
        assert not is_free("127.0.0.1", taken)
        assert free_port("127.0.0.1", taken) is None

    def is_given_back() -> bool:
        with socket.create_server(("127.0.0.1", 0)) as server:
            released = int(server.getsockname()[1])
        return free_port("127.0.0.1", released) == released  # unless somebody else has taken it meanwhile

    wait_until(is_given_back)
    wait_until(lambda: is_free("127.0.0.1", free_port("127.0.0.1", 0) or 1))


def test_a_change_of_the_space_is_told_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def leave(free: int) -> None:
        monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(total=1_000 * MIB, used=0, free=free * MIB))

    disk = Disk(tmp_path)
    for free, now, told in (
        (300, 0, None),  # there is enough, as there was
        (200, 0.5, None),  # it has just looked
        (200, 1.0, Space.LITTLE), (200, 2.0, None), (63, 3.0, Space.NONE), (255, 4.0, Space.LITTLE), (256, 5.0, Space.ENOUGH),
    ):  # fmt: skip
        leave(free)
        assert disk.look(now) == told, now
    leave(10)
    said = f"the disk of {tmp_path} is full (10 MiB left, 256 needed): free some space"
    assert str(Disk(tmp_path).problem()).startswith(said)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_a_write_without_space_is_named_and_ends_no_log_and_no_screen(tmp_path: Path) -> None:
    with pytest.raises(EnvironmentProblem, match="is full"), naming_a_full_disk(tmp_path):
        Path("/dev/full").write_text("x")
    with Path("/dev/full").open("w", buffering=1) as full:
        log = LossyText(full)
        print("lost", file=log, flush=True)
        assert log.write("lost too\n") == 9
        with lossy():
            full.close()
    screen = Path("/dev/full").open("w")  # noqa: SIM115  (closing it raises: what was written is still held)
    PlainScreen(screen).event(Event("disk", "is full", bad=True))
    with lossy():
        screen.close()


def test_other_faults_keep_their_name_and_lines_are_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for caught in (naming_a_full_disk(tmp_path), lossy()):
        with pytest.raises(FileNotFoundError), caught:
            (tmp_path / "missing").read_text()
    print("kept", file=LossyText(sys.stderr), flush=True)
    assert capsys.readouterr().err == "kept\n"
    (tmp_path / "log").write_bytes(b"before ")
    with open_log(tmp_path / "log") as log:
        log.write(b"after")
    assert (tmp_path / "log").read_bytes() == b"before after"


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
def test_a_light_child_is_early_and_children_outlive_the_nursery(
    patient: None, pipe: Pipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = tmp_path / "log"
    (tmp_path / "numba.py").write_text(GATE)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    nursery = open_nursery()
    wait_until(lambda: nursery.settled(light=True))
    assert not nursery.settled()
    (tmp_path / "open").touch()
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
