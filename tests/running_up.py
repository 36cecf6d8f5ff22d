"""A whole `marketpulse up` as a person starts it, with the simulated market only."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import psutil

from given_settings import Done, done_by, outside
from marketpulse.query.duck import LakeQuery
from marketpulse.settings import Settings
from waiting import wait_until

MARKET = '{"market": {"kind": "simulate", "rate": 60}}'
"""Enough to see it move: the tests look at rows, and the machine runs three of them side by side."""


class Up:
    """One running `marketpulse up`."""

    def __init__(self, data_dir: Path, cache: Path) -> None:
        self.data_dir = data_dir
        self.output = data_dir.parent / "up.out"
        self.environment = {
            **outside(), "MARKETPULSE_DATA_DIR": str(data_dir), "MARKETPULSE_CACHE_DIR": str(cache),
            "MARKETPULSE_KAFKA__PARTITIONS": "3", "MARKETPULSE_SINKS__LAKE__FLUSH_S": "2", "MARKETPULSE_BROKER__HEAP_MB": "256",
        }  # fmt: skip
        self.process: subprocess.Popen[bytes]

    def start(self, *options: str) -> "Up":
        words = self.words(*options)
        slow = {"MARKETPULSE_SOURCES": MARKET} if "market" in words and "--config" not in words else {}
        with self.output.open("ab") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "marketpulse", *words], stdin=subprocess.DEVNULL, stdout=output, stderr=output,
                env={**slow, **self.environment}, cwd=self.data_dir.parent, start_new_session=True,
            )  # fmt: skip
        return self

    def words(self, *options: str) -> list[str]:
        return ["up", "--no-browser", "--source", "market", "--port", "0", *options]

    def marketpulse(self, *words: str) -> Done:
        """`marketpulse WORDS…` beside it."""
        return done_by(*words, environment=self.environment, cwd=self.data_dir.parent, within_s=3_600)

    def refused(self) -> Done:
        """Another one on the same data, which says why it does not begin."""
        done = self.marketpulse(*self.words())
        assert (done.returncode, "Traceback" in done.stderr) == (1, False), done.stderr
        return done

    def facts(self, name: str) -> dict[str, Any]:
        try:
            return dict(json.loads((self.data_dir / "run" / f"{name}.json").read_text()))
        except (OSError, ValueError):
            return {}

    def until(self, what: str, condition: Callable[[], Any], within_s: float = 120) -> Any:
        def holds() -> Any:
            assert self.process.poll() is None, f"up has ended while waiting for: {what}\n{self.said()}"
            return condition()

        try:
            return wait_until(holds, what, within_s)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.said()}") from None

    def until_said(self, words: str) -> None:
        self.until(f"it is said: {words}", lambda: words in self.output.read_text())

    def until_ready(self) -> str:
        """The address of its page, once it says so: what a killed one has left behind says nothing of this one."""
        own = self.process.pid
        self.until("everything is ready", lambda: self.facts("up").get("pid") == own)
        return str(self.facts("up")["url"])

    def until_back(self, name: str, old_pid: int) -> None:
        self.until(f"{name} is back", lambda: self.facts(name).get("pid", old_pid) != old_pid)

    def get(self, path: str) -> bytes:
        """The page's answer; empty while it has none."""
        try:
            return httpx.get(self.facts("up")["url"].rstrip("/") + path, timeout=10).raise_for_status().content
        except (httpx.HTTPError, KeyError):
            return b""

    def health(self) -> dict[str, Any]:
        return dict(json.loads(self.get("/api/health") or b"{}"))

    def is_moving(self) -> bool:
        return (self.health().get("events_per_s") or 0) > 0

    def until_status(self, status: str, reason: str = "") -> None:
        def turned() -> bool:
            health = self.health()
            return health.get("status") == status and any(
                reason in r["what"] for r in health["reasons"] or [{"what": ""}]
            )

        self.until(f"the health is {status}: {reason}", turned)

    def symbols(self) -> list[dict[str, Any]]:
        return list(json.loads(self.get("/api/symbols") or b"{}").get("symbols", []))

    def tree(self) -> list[psutil.Process]:
        return psutil.Process(self.process.pid).children(recursive=True)

    def said(self) -> str:
        if self.process.poll() is None and (pid := self.facts("serve").get("pid")) and psutil.pid_exists(pid):
            os.kill(pid, signal.SIGUSR1)  # its log says where its threads stand
            time.sleep(1)
        logs = sorted((self.data_dir / "logs").glob("*.log"))
        tails = [f"--- {log.name}\n{log.read_text(errors='replace')[-4_000:]}" for log in logs]
        states = (
            [f"--- {p.pid} {p.status()} {p.cmdline()[:4]}" for p in self.tree()] if self.process.poll() is None else []
        )
        return "\n".join([self.output.read_text(), *tails, *states])

    def rows(self, sql: str) -> list[dict[str, Any]]:
        lake = LakeQuery(Settings(data_dir=self.data_dir))
        try:
            return list(lake.run(sql).to_pylist())
        finally:
            lake.close()


@contextmanager
def held(up: Up) -> Iterator[Up]:
    """Whatever becomes of it, nothing of it is left running."""
    try:
        yield up
    finally:
        tree = up.tree() if up.process.poll() is None else []
        up.process.kill()
        up.process.wait()
        for process in tree:
            if process.is_running():
                process.kill()
