"""Faults by seed: the schedule is a function of its seed, a fault is undone whatever ends it, a failure is made short."""

import itertools
import json
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import psutil
import pytest

from given_settings import command
from marketpulse.app.chaos.campaign import Injected, Outcome, _Campaign
from marketpulse.app.chaos.compare import _compare
from marketpulse.app.chaos.faults import FAULTS
from marketpulse.app.chaos.report import as_object, lines
from marketpulse.app.chaos.rows import draw_rows, end_ns
from marketpulse.app.chaos.running import RunningPipeline
from marketpulse.app.chaos.schedule import KINDS, Step, draw_schedule
from marketpulse.app.chaos.shrink import shrink
from marketpulse.settings import Settings

PROCESSES = ("process-0", "sink-lake")


def step(number: int, kind: str, process: str = "one", for_s: float = 60.0) -> Step:
    return Step(number, 0.0, kind, process, for_s, 1, 0)


def test_the_same_seed_gives_the_same_schedule_in_order_of_time_of_the_kinds_and_processes_that_are_asked_for() -> None:
    steps = draw_schedule(7, 5, list(KINDS), PROCESSES)
    assert steps == draw_schedule(7, 5, list(KINDS), PROCESSES) != draw_schedule(8, 5, list(KINDS), PROCESSES)
    assert [s.number for s in steps] == list(range(1, len(steps) + 1))
    assert sorted(s.at_s for s in steps) == [s.at_s for s in steps]
    assert {s.process for s in steps} == set(PROCESSES)
    assert {s.kind for s in draw_schedule(7, 30, ["stop", "broker"], PROCESSES)} == {"stop", "broker"}
    assert {s.kind for s in draw_schedule(7, 60, list(KINDS), PROCESSES)} == set(KINDS) == set(FAULTS)
    assert len(draw_schedule(7, 0.001, list(KINDS), PROCESSES)) == 1


def test_rows_are_those_of_the_seed_some_late_some_twice_some_without_an_id_and_all_before_the_last_of_each_symbol() -> (
    None
):
    rows = draw_rows(3, 2_000, ["A", "B"], quotes=True)
    assert rows == draw_rows(3, 2_000, ["A", "B"], quotes=True) != draw_rows(4, 2_000, ["A", "B"], quotes=True)
    ids = [row["trade_id"] for row in rows if "trade_id" in row]
    assert len(ids) > len(set(ids)) > 500
    assert sum("bid" in row for row in rows) > 300
    late = [b["event_time_ns"] < a["event_time_ns"] - 2 * 10**9 for a, b in itertools.pairwise(rows)]
    assert sum(late) > 20
    assert [row["event_time_ns"] >= end_ns(rows) for row in rows] == [False] * (len(rows) - 2) + [True] * 2


@pytest.fixture
def sleeper(tmp_path: Path) -> Iterator[psutil.Process]:
    """A process that stands in a data directory as one of a pipeline."""
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"]) as process:
        (tmp_path / "run").mkdir()
        (tmp_path / "run" / "one.json").write_text(json.dumps({"pid": process.pid, "metrics_port": 1}))
        yield psutil.Process(process.pid)
        process.kill()


class Breaking(RunningPipeline):
    """A pipeline whose turn fails, once the process is stopped and may get no more memory."""

    def turn(self) -> None:
        process = self.process("one")
        limited = process.rlimit(psutil.RLIMIT_AS)[0] != psutil.RLIM_INFINITY
        if process.status() == psutil.STATUS_STOPPED and limited:
            raise KeyboardInterrupt


@pytest.mark.skipif(not hasattr(psutil.Process, "rlimit"), reason="this system does not limit a running process")
def test_whatever_ends_a_run_undoes_every_fault(sleeper: psutil.Process, tmp_path: Path) -> None:
    said: list[str] = []
    campaign = _Campaign(Breaking(Settings(data_dir=tmp_path)), [step(1, "stop"), step(2, "memory")], said.append)
    with pytest.raises(KeyboardInterrupt):
        campaign.run(3_600)
    assert len(said) == 2
    assert sleeper.status() != psutil.STATUS_STOPPED
    assert sleeper.rlimit(psutil.RLIMIT_AS)[0] == psutil.RLIM_INFINITY


def test_what_is_not_chaos_own_is_not_harmed_and_the_report_says_why(sleeper: psutil.Process, tmp_path: Path) -> None:
    kinds = ["delay", "cut", "late", "disk", "slow", "store", "clock", "twice"]
    steps = [*(step(n, kind) for n, kind in enumerate(kinds, 1)), step(9, "kill", "none"), step(10, "broker")]
    campaign = _Campaign(RunningPipeline(Settings(data_dir=tmp_path)), steps, lambda _: None)
    campaign.run(0)
    assert all(one.refused and not one.what for one in campaign.injected)
    said = lines(Outcome(campaign.injected, []))
    assert "not injected: cut: no proxy stands between this pipeline and its log" in said
    assert "not injected: kill: none does not run at this moment" in said
    assert sleeper.is_running()


def test_rows_that_are_missing_doubled_or_other_than_without_a_fault_are_named_by_their_table() -> None:
    expected, rows = Counter({("AA", 1.0): 1, ("BB", 2.0): 1}), Counter({("AA", 1.0): 2, ("BB", 3.0): 1})
    assert list(_compare("bars", expected, expected)) == []
    assert _compare("bars", expected, rows) == [
        "bars: missing: ('BB', 2.0)", "bars: too many: ('AA', 1.0)", "bars: too many: ('BB', 3.0)",
    ]  # fmt: skip


def test_a_report_counts_recoveries_by_kind_and_shows_what_differs() -> None:
    injected = [Injected(step(n, "kill"), ["one"], recovered_s=float(n)) for n in range(1, 102)]
    outcome = Outcome([*injected, Injected(step(102, "cut"), refused="no proxy")], ["bars: missing: (1,)"])
    said = lines(outcome)
    row = next(line for line in said if line.startswith("kill"))
    assert " ".join(row.split()) == "kill 101 0 101 51.0 s 100.0 s"
    assert said[-1] == "WRONG bars: missing: (1,)"
    found = as_object(outcome, 7, 2.0)
    assert [found[name] for name in ("seed", "equal", "recovery_p50_s", "recovery_p99_s")] == [7, False, 51.0, 100.0]


@pytest.mark.parametrize("needed", [{3, 7}, {1}, {20}, {2, 3, 19}, set(range(1, 21))])
def test_a_failing_schedule_is_shrunk_to_the_steps_that_it_needs(needed: set[int]) -> None:
    asked: list[Sequence[int]] = []

    def fails(steps: Sequence[int]) -> bool:
        asked.append(steps)
        return needed <= set(steps)

    assert shrink(range(1, 21), fails, lambda: True) == sorted(needed)
    asked.clear()
    assert needed <= set(shrink(range(1, 21), fails, lambda: len(asked) < 3))
    assert len(asked) <= 3


def test_a_pipeline_is_harmed_only_where_its_configuration_allows_it_and_only_kinds_and_steps_that_there_are(
    tmp_path: Path,
) -> None:
    settings, config = Settings(data_dir=tmp_path / "data"), tmp_path / "own.toml"
    config.write_text("")
    done = command(settings, "chaos", "--config", str(config))
    assert (done.returncode, "does not allow chaos" in done.stderr) == (2, True), done.stderr
    config.write_text("[chaos]\nallowed = true\n")
    done = command(settings, "chaos", "--config", str(config))
    assert (done.returncode, "nothing runs on" in done.stderr) == (2, True), done.stderr
    for words, why in ((("--only", "kill,flood"), "--only flood"), (("--keep", "99999"), "no such step")):
        done = command(settings, "chaos", *words)
        assert (done.returncode, why in done.stderr) == (2, True), done.stderr
    listed = command(settings, "chaos", "--list", "--seed", "7", "--minutes", "5")
    assert listed.returncode == 0
    assert all(kind in listed.stdout for kind in KINDS)
