"""What came too late is healed by itself: when a run begins, and what is said of it."""

import json
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from marketpulse.app.healing.automatic import AutomaticHeal
from marketpulse.app.supervisor import Event
from marketpulse.clock import ManualClock

HEALED = {"symbol": "A", "trades": 7, "changed": 1, "outcome": "healed"}
REFUSED = {"symbol": "B", "trades": 1, "changed": 0, "outcome": "refused", "detail": "no bar"}


class Worker:
    """The metrics of an engine's process: how many rows it has set aside, by reason."""

    def __init__(self, run_dir: Path) -> None:
        self.counts: dict[str, int] = {}
        worker = self

        class Answer(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                lines = [f'marketpulse_dead_letters_total{{reason="{r}"}} {n}' for r, n in worker.counts.items()]
                self.send_response(200)
                self.end_headers()
                self.wfile.write("\n".join(["# TYPE marketpulse_dead_letters counter", *lines, ""]).encode())

            def log_message(self, *_: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Answer)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        (run_dir / "process-0.json").write_text(json.dumps({"metrics_port": self.server.server_port}))


@pytest.fixture
def worker(tmp_path: Path) -> Iterator[Worker]:
    for name in ("run", "logs"):
        (tmp_path / name).mkdir()
    worker = Worker(tmp_path / "run")
    yield worker
    worker.server.shutdown()


def run_of(heal: AutomaticHeal, letters: int) -> None:
    """Look until the run that has begun has ended."""
    heal.look(letters)
    assert heal._process is not None
    heal._process.wait()
    heal.look(letters)


def test_a_run_begins_when_nothing_more_comes_and_says_what_was_brought_in(worker: Worker, tmp_path: Path) -> None:
    said: list[Event] = []
    clock, command = ManualClock(), [sys.executable, "-c", f"print({json.dumps(json.dumps([HEALED, REFUSED]))})"]
    heal = AutomaticHeal(tmp_path, command, said.append, clock)
    worker.counts["bad_json"] = 3
    heal.look(3)
    clock.sleep(60)
    heal.look(3)
    assert (heal._process, (tmp_path / "heal.pending").exists()) == (None, False)  # nothing of this came too late
    worker.counts["too_late"] = 4
    heal.look(7)
    clock.sleep(4)
    heal.look(7)
    assert (heal._process, (tmp_path / "heal.pending").exists()) == (None, True)
    clock.sleep(1)
    run_of(heal, 7)
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
    heal.look(1)
    clock.sleep(5)
    run_of(heal, 1)
    log = tmp_path / "logs" / "heal.log"
    assert said == [Event("heal", f"ended with exit code 4, again in 30 s (log: {log})", bad=True)]
    clock.sleep(29)
    heal.look(1)
    assert heal._process is None
    clock.sleep(1)
    run_of(heal, 1)
    worker.counts["too_late"] = 0  # the engine began anew
    again = AutomaticHeal(tmp_path, [sys.executable, "-c", "print('[]')"], said.append, clock)
    run_of(again, 1)
    assert (len(said), (tmp_path / "heal.pending").exists()) == (2, False)
