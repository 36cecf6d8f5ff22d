"""One process tree: starts children, restarts those that die, stops them in order, leaves none behind.

Each child runs in a session of its own, so Ctrl-C in the terminal reaches only the supervisor, which
then stops the stages one after the other. Each holds the reading end of a pipe that ends with the
supervisor (app/parent.py). What a child prints goes to `logs/NAME.log` in the data directory.
"""

import contextlib
import json
import os
import shutil
import signal
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum, StrEnum
from pathlib import Path
from typing import IO, Any

from marketpulse.app import parent
from marketpulse.app.disk import lossy
from marketpulse.app.exit_codes import WRONG_KEY, WRONG_USAGE
from marketpulse.app.nursery import ForkedChild, Nursery
from marketpulse.clock import Clock, SystemClock
from marketpulse.telemetry import CHILD_RESTARTS

BACKOFF_FIRST_S = 0.5
BACKOFF_MAX_S = 30.0
STABLE_S = 60.0  # a child that ran this long starts its backoff anew
FAILING_DEATHS = 3  # deaths in a row from which on a child is called failing
LOG_BYTES_MAX = 10_000_000  # then the log moves to NAME.log.1
LOG_CHECK_S = 10.0
PATIENCE_S = 10.0  # then patient children start too, whatever the others do


class Stage(IntEnum):
    """In this order children are stopped: what feeds the log first, the log itself last."""

    SOURCE = 0
    SELECT = 1
    ENGINE = 2
    READER = 3
    BROKER = 4


ORPHAN_WAITS_S = {
    Stage.SOURCE: 0.0, Stage.SELECT: 0.5, Stage.ENGINE: 1.0, Stage.READER: 2.0, Stage.BROKER: 4.0,
}  # fmt: skip
STOP_WITHIN_S = {
    Stage.SOURCE: 10.0, Stage.SELECT: 15.0, Stage.ENGINE: 15.0, Stage.READER: 30.0, Stage.BROKER: 20.0,
}  # fmt: skip


class State(StrEnum):
    """What a child does now."""

    PLANNED = "planned"  # it starts when the others are ready
    STARTING = "starting"
    READY = "ready"  # it announced that it does its work
    WAITING = "restarting"  # it died and is started again soon
    FAILING = "failing"  # it died again and again, and is still started again
    DONE = "done"  # it finished by itself
    REFUSED = "refused"  # what it was told is wrong, and stays so: it is not started again
    LEFT = "left"  # a person must look (a vendor does not take its key); the others go on without it
    STOPPED = "stopped"


SETTLED = (State.READY, State.DONE, State.LEFT)  # nobody waits for these


@dataclass(frozen=True, slots=True)
class ChildSpec:
    """What to run: a name (also of its log and run file), its command line, its place in the order of stopping."""

    name: str
    command: Sequence[str]
    stage: Stage
    environment: Mapping[str, str] = field(default_factory=dict)
    log: str = ""  # its log's file name; empty: NAME.log
    patient: bool = False  # start it when the others are ready: nobody waits for it
    forked: bool = False  # `command` is `python -m marketpulse …`, and may be forked from the nursery
    light: bool = False  # … as soon as the nursery has what the broker needs


@dataclass(slots=True)
class Child:
    """One child and its history."""

    spec: ChildSpec
    log: Path
    process: subprocess.Popen[bytes] | ForkedChild | None = None
    state: State = State.PLANNED
    started_at: float = 0.0
    log_begin: int = 0  # where in its log its present life begins
    start_again_at: float = 0.0
    deaths_in_a_row: int = 0
    restarts: int = 0
    end: str = ""  # how it ended last
    was_ready: bool = False  # in this life or in one before
    said: list[str] = field(default_factory=list)  # its last words when it last died: shown once
    waiting_for: str = ""  # what it says it needs before it can begin; empty: nothing
    announced_ns: int = 0  # when its run file was written that was read last
    facts: dict[str, Any] = field(default_factory=dict)
    """What it announced: `url`, `bootstrap_servers`, `metrics_port` …"""

    @property
    def alive(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def last_words(self, lines: int = 5) -> list[str]:
        """The end of what it has said since it was last started."""
        try:
            with self.log.open("rb") as log:
                size = log.seek(0, os.SEEK_END)
                begin = self.log_begin if self.log_begin <= size else 0
                log.seek(max(begin, size - 8_000))
                text = log.read().decode(errors="replace")
        except OSError:
            return []
        return [line for line in text.splitlines() if line.strip()][-lines:]


@dataclass(frozen=True, slots=True)
class Event:
    """Something that a person wants to see: a child was ready, died, was started again …"""

    child: str
    what: str
    bad: bool = False
    details: Sequence[str] = ()


class Supervisor:
    """Owns the children. One thread calls `start`, then `tick` again and again, then `stop`."""

    def __init__(
        self,
        data_dir: Path,
        specs: Sequence[ChildSpec],
        say: Callable[[Event], None],
        clock: Clock | None = None,
        nursery: Nursery | None = None,
    ) -> None:
        self._run_dir = data_dir / "run"
        self._say = say
        self._clock = clock or SystemClock()
        self._nursery = nursery
        self._log_check_at = 0.0
        self._patient_until = 0.0
        self._pipe_read, self._pipe_write = os.pipe()
        logs = data_dir / "logs"
        logs.mkdir(parents=True, exist_ok=True)
        self._run_dir.mkdir(parents=True, exist_ok=True)
        self.children = [Child(spec, logs / (spec.log or f"{spec.name}.log")) for spec in specs]

    def start(self) -> None:
        """Start the children (again, after `stop`), but for those that `tick` starts when their time has
        come, and for sources that have finished.

        Nobody waits for the broker here: those that need it wait for it themselves.
        """
        self._patient_until = self._clock.monotonic() + PATIENCE_S
        for child in self.children:
            if child.state == State.STOPPED:
                child.state, child.deaths_in_a_row = State.PLANNED, 0
        for child in self.children:
            if child.state == State.PLANNED and self._may_start(child):
                self._start(child)

    def tick(self) -> None:
        """Look after the children once: who became ready, who died, who is due to start again."""
        now = self._clock.monotonic()
        for child in self.children:
            if child.process is None:
                again = child.state in (State.WAITING, State.FAILING) and now >= child.start_again_at
                if again or (child.state == State.PLANNED and self._may_start(child)):
                    self._start(child)
            elif (code := child.process.poll()) is not None:
                self._ended(child, code, now)
            elif not child.facts:
                self._read_announcement(child, child.process.pid)
            elif child.spec.stage == Stage.SOURCE:
                self._read_note(child)
        if now >= self._log_check_at:
            self._log_check_at = now + LOG_CHECK_S
            for child in self.children:
                bound_log(child.log)

    def child(self, name: str) -> Child | None:
        return next((child for child in self.children if child.spec.name == name), None)

    def refused(self) -> bool:
        """Whether a child says that a setting has to change before it can begin: nothing is left but to stop."""
        return any(child.state == State.REFUSED for child in self.children)

    def all_ready(self) -> bool:
        """Whether nothing is left to wait for; a child that waits for something outside is not waited for."""
        return all(child.state in SETTLED or child.waiting_for for child in self.children)

    def _may_start(self, child: Child) -> bool:
        """Whether nothing is left to wait for: the nursery, or for a patient child the others."""
        if child.spec.forked and self._nursery is not None and not self._nursery.settled(child.spec.light):
            return False
        patience_ends = self._clock.monotonic() >= self._patient_until
        return not child.spec.patient or patience_ends or self._others_are_ready()

    def _others_are_ready(self) -> bool:
        others = [child for child in self.children if not child.spec.patient]
        return all(child.state in SETTLED or child.waiting_for for child in others)

    def stop(self, between: Callable[[Stage], None] = lambda _: None) -> bool:
        """Stop stage after stage; `between` runs after each (to let the next one catch up).

        Returns False when a child had to be killed.
        """
        clean = True
        for stage in Stage:
            members = [child for child in self.children if child.spec.stage == stage]
            for child in members:
                self._ask(child, signal.SIGTERM)
            clean &= self._await(members, STOP_WITHIN_S[stage])
            between(stage)
        return clean

    def kill(self) -> None:
        """End everything at once."""
        for child in self.children:
            self._kill(child)

    def close(self) -> None:
        """Let the pipe go: a child that should still run notices, and ends."""
        for end in (self._pipe_read, self._pipe_write):
            with contextlib.suppress(OSError):
                os.close(end)

    # --- one child ---

    def _start(self, child: Child) -> None:
        if child.deaths_in_a_row:
            child.restarts += 1
            CHILD_RESTARTS.labels(child.spec.name, child.end).inc()
        (self._run_dir / f"{child.spec.name}.json").unlink(missing_ok=True)
        bound_log(child.log)
        watching = parent.variable(self._pipe_read, ORPHAN_WAITS_S[child.spec.stage])
        environment = {**os.environ, **child.spec.environment, **watching}
        with open_log(child.log) as log:
            child.log_begin = log.tell()
            child.process = self._forked(child, environment, log.fileno()) or subprocess.Popen(
                child.spec.command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=environment,
                start_new_session=True,
                pass_fds=(self._pipe_read,),
            )
        child.state = State.FAILING if child.deaths_in_a_row >= FAILING_DEATHS else State.STARTING
        child.started_at = self._clock.monotonic()
        child.facts, child.waiting_for = {}, ""

    def _forked(self, child: Child, environment: Mapping[str, str], log: int) -> ForkedChild | None:
        """The child, forked from the nursery where that can be had."""
        if not child.spec.forked or self._nursery is None:
            return None
        arguments = child.spec.command[child.spec.command.index("marketpulse") + 1 :]
        return self._nursery.spawn(arguments, environment, log, self._pipe_read)

    def _read_announcement(self, child: Child, pid: int) -> None:
        try:
            facts = json.loads((self._run_dir / f"{child.spec.name}.json").read_text())
        except (OSError, ValueError):
            return
        if facts.get("pid") != pid:
            return  # left behind by an earlier life
        if reason := facts.get("waiting_for"):
            if reason != child.waiting_for:
                self._say(Event(child.spec.name, f"waits: {reason}", bad=True))
            child.waiting_for = reason
            return
        again = child.deaths_in_a_row > 0 or child.waiting_for
        child.facts, child.waiting_for = facts, ""
        child.state, child.was_ready = State.READY, True
        note = f"; it {facts['note']}" if "note" in facts else ""
        do = (facts["do"],) if "do" in facts else ()  # what a person has to run, on a line of its own to copy
        self._say(Event(child.spec.name, ("is back" if again else "is ready") + note, bad=bool(do), details=do))

    def _read_note(self, child: Child) -> None:
        """Say what a source has found out about its rows since it was ready."""
        with contextlib.suppress(OSError, ValueError):
            run_file = self._run_dir / f"{child.spec.name}.json"
            written_ns = run_file.stat().st_mtime_ns
            if written_ns == child.announced_ns:
                return
            note = json.loads(run_file.read_text()).get("note")
            child.announced_ns = written_ns
            if note and note != child.facts.get("note"):
                child.facts["note"] = note
                self._say(Event(child.spec.name, note))

    def _ended(self, child: Child, code: int, now: float) -> None:
        self._kill(child)  # whatever it had started and left behind in its session
        child.process, child.waiting_for = None, ""
        if code == 0 and child.spec.stage == Stage.SOURCE:
            child.state = State.DONE
            self._say(Event(child.spec.name, "has finished"))
            return
        if code == WRONG_USAGE and not child.was_ready:  # later someone may be at the configuration just now
            child.state = State.REFUSED
            self._say(Event(child.spec.name, "cannot begin", bad=True, details=child.last_words()))
            return
        if code == WRONG_KEY and child.spec.stage == Stage.SOURCE:
            child.state = State.LEFT
            self._say(Event(child.spec.name, "is left out until you start again", bad=True, details=child.last_words()))
            return
        if now - child.started_at >= STABLE_S:
            child.deaths_in_a_row = 0
        child.deaths_in_a_row += 1
        child.end = how_it_ended(code)
        wait = backoff_s(child.deaths_in_a_row)
        child.start_again_at = now + wait
        failing = child.deaths_in_a_row >= FAILING_DEATHS
        child.state = State.FAILING if failing else State.WAITING
        what = f"ended with {child.end}; starting it again in {wait:.1f} s"
        if failing:
            what = f"fails again and again ({child.deaths_in_a_row} times; log: {child.log}); {what}"
        words = child.last_words()
        self._say(Event(child.spec.name, what, bad=True, details=words if words != child.said else ()))
        child.said = words

    def _ask(self, child: Child, number: int) -> None:
        if child.process is not None and child.process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                child.process.send_signal(number)

    def _await(self, members: Sequence[Child], within_s: float) -> bool:
        """Wait until all have ended; kill and name those that do not."""
        deadline = self._clock.monotonic() + within_s
        while any(child.alive for child in members) and self._clock.monotonic() < deadline:
            self._clock.sleep(0.02)
        clean = True
        for child in members:
            if child.alive:
                clean = False
                self._say(Event(child.spec.name, f"did not stop within {within_s:.0f} s and was killed", bad=True))
            self._kill(child)
            child.process = None
            if child.state not in (State.DONE, State.REFUSED, State.LEFT):
                child.state = State.STOPPED
        return clean

    def _kill(self, child: Child) -> None:
        """End the child's whole process group, the child itself included."""
        if child.process is None:
            return
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(child.process.pid, signal.SIGKILL)
        child.process.wait()


def backoff_s(deaths_in_a_row: int) -> float:
    """0.5, 1, 2, 4 … 30 seconds."""
    return float(min(BACKOFF_MAX_S, BACKOFF_FIRST_S * 2 ** min(deaths_in_a_row - 1, 16)))


def how_it_ended(code: int) -> str:
    """`exit code 1`, or the name of the signal that ended it."""
    return f"exit code {code}" if code >= 0 else signal.Signals(-code).name


def open_log(path: Path) -> IO[bytes]:
    """The log, to write behind its end; nowhere, when there is no space for one."""
    with lossy():
        return path.open("ab")
    return Path(os.devnull).open("ab")


def bound_log(path: Path) -> None:
    """Keep the log below its bound: the full one moves to NAME.log.1, over the one before it.

    Its writer has it open for appending, so it is copied and emptied, not renamed.
    """
    with contextlib.suppress(OSError):
        if path.stat().st_size > LOG_BYTES_MAX:
            shutil.copyfile(path, path.with_suffix(".log.1"))
            os.truncate(path, 0)
