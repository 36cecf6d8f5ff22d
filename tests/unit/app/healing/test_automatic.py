"""What came too late is healed by itself or by `heal`: when a run begins, the time it takes in, what is said of it."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast
from urllib.parse import urlsplit

import numpy as np
import pyarrow as pa
import pytest

from marketpulse.app.healing.automatic import AutomaticHeal
from marketpulse.app.healing.heal import _Heal
from marketpulse.app.receipts.lake_trades import LakeInputs
from marketpulse.app.supervisor import Event
from marketpulse.clock import ManualClock
from marketpulse.query.stored_rows import Wanted
from marketpulse.settings import Settings
from vendor_server import Reply, Request, VendorServer

HEALED = {"symbol": "A", "trades": 7, "changed": 1, "outcome": "healed"}
OF_HISTORY = {"behind": 'source_rows_total{source="s",fate="behind"}', "ended": "histories_ended_total"}
REFUSED = {"symbol": "B", "trades": 1, "changed": 0, "outcome": "refused", "detail": "no bar"}


class Worker:
    """The metrics of an engine's process: dead letters by reason, history that came `behind`, and histories that `ended`."""

    def __init__(self, run_dir: Path) -> None:
        self.counts: dict[str, int] = {}
        self.server = VendorServer(self.answer)
        (run_dir / "process-0.json").write_text(json.dumps({"metrics_port": urlsplit(self.server.url).port}))

    def answer(self, _: Request) -> Reply:
        names = {n: f'dead_letters_total{{reason="{n}"}}' for n in self.counts} | OF_HISTORY
        lines = [f"marketpulse_{names[n]} {count}" for n, count in self.counts.items()]
        types = [f"# TYPE marketpulse_{n} counter" for n in ("dead_letters", "source_rows", "histories_ended")]
        return Reply(200, "\n".join([*types, *lines, ""]).encode())


@pytest.fixture
def worker(tmp_path: Path) -> Iterator[Worker]:
    for name in ("run", "logs"):
        (tmp_path / name).mkdir()
    worker = Worker(tmp_path / "run")
    yield worker
    worker.server.close()


def run_of(heal: AutomaticHeal) -> None:
    """Look until the run that has begun has ended."""
    heal.look()
    assert heal._process is not None
    heal._process.wait()
    heal.look()


def test_a_run_begins_when_nothing_more_comes_and_says_what_was_brought_in(worker: Worker, tmp_path: Path) -> None:
    said: list[Event] = []
    clock, command = ManualClock(), [sys.executable, "-c", f"print({json.dumps(json.dumps([HEALED, REFUSED]))})"]
    heal = AutomaticHeal(tmp_path, command, said.append, clock)
    worker.counts["bad_json"] = 3
    heal.look()
    clock.sleep(60)
    heal.look()
    assert (heal._process, (tmp_path / "heal.pending").exists()) == (None, False)  # nothing of this came too late
    worker.counts["too_late"] = 4
    heal.look()
    clock.sleep(4)
    heal.look()
    assert (heal._process, (tmp_path / "heal.pending").exists()) == (None, True)
    clock.sleep(1)
    run_of(heal)
    assert [(event.what, event.bad) for event in said] == [
        ("brought in 8 rows that came too late, of A", False),
        ("cannot bring in what came too late of B: no bar", True),
    ]
    assert not (tmp_path / "heal.pending").exists()


def test_after_a_run_that_failed_and_after_a_restart_another_one_begins(worker: Worker, tmp_path: Path) -> None:
    said: list[Event] = []
    clock = ManualClock()
    heal = AutomaticHeal(tmp_path, [sys.executable, "-c", "raise SystemExit(4)"], said.append, clock)
    worker.counts["too_late"] = 1
    heal.look()
    clock.sleep(5)
    run_of(heal)
    log = tmp_path / "logs" / "heal.log"
    assert said == [Event("heal", f"ended with exit code 4, again in 30 s (log: {log})", bad=True)]
    clock.sleep(29)
    heal.look()
    assert heal._process is None
    clock.sleep(1)
    run_of(heal)
    worker.counts["too_late"] = 0  # the engine began anew
    run_of(AutomaticHeal(tmp_path, [sys.executable, "-c", "print('[]')"], said.append, clock))
    assert (len(said), (tmp_path / "heal.pending").exists()) == (2, False)


def test_history_is_healed_at_its_goodbye_and_half_a_minute_after_the_last_run(worker: Worker, tmp_path: Path) -> None:
    clock = ManualClock()
    heal = AutomaticHeal(tmp_path, [sys.executable, "-c", "print('[]')"], lambda _: None, clock)
    worker.counts |= {"behind": 5, "ended": 0}
    heal.look()
    assert heal._process is None
    worker.counts["ended"] = 1
    heal.look()
    assert heal._process is not None, "at once"
    heal._process.wait()
    clock.sleep(20)  # so long did it run
    worker.counts |= {"behind": 6, "ended": 2}
    heal.look()
    clock.sleep(29)
    heal.look()
    assert heal._process is None
    clock.sleep(1)
    heal.look()
    assert heal._process is not None
    heal.close()


NO_LOG, NO_LAKE, NO_CLOCK, NO_CONFIG = (cast(Any, SimpleNamespace()) for _ in range(4))


def test_late_trades_count_from_the_first_moment_asked_for_to_before_the_last_and_until_the_rebuild_began() -> None:
    #        (event time, offset, late)
    trades = [(10, 0, False), (19, 5, True), (20, 6, True), (29, 7, True), (30, 8, True), (25, 9, True)]
    times, offsets, late = zip(*trades, strict=True)
    table = pa.table({"event_time_ns": times, "offset": offsets})
    inputs = LakeInputs("market", 0, table, np.array(late), pa.table({}), {})
    inside = _Heal(Settings(), NO_CONFIG, NO_LOG, NO_LAKE, Wanted(20, 30), NO_CLOCK)._within(inputs, 9)
    assert (inside.trades["offset"].to_pylist(), inside.late.tolist()) == ([0, 6, 7], [False, True, True])
