"""A whole `marketpulse up` as a person starts it, with the simulated market only."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import psutil

from marketpulse.query.duck import LakeQuery
from marketpulse.settings import Settings


class Up:
    """One running `marketpulse up`."""

    def __init__(self, data_dir: Path, cache: Path) -> None:
        self.data_dir = data_dir
        self.output = data_dir.parent / "up.out"
        self.environment = {
            **{k: v for k, v in os.environ.items() if not k.startswith(("MARKETPULSE_", "KAFKA_"))},
            "MARKETPULSE_DATA_DIR": str(data_dir),
            "MARKETPULSE_CACHE_DIR": str(cache),
            "MARKETPULSE_KAFKA__PARTITIONS": "3",
            "MARKETPULSE_SINKS__LAKE__FLUSH_S": "2",
            "MARKETPULSE_BROKER__HEAP_MB": "256",
        }
        self.process: subprocess.Popen[bytes]

    def start(self, *options: str) -> "Up":
        with self.output.open("ab") as output:
            self.process = subprocess.Popen(
                self.command(*options), stdin=subprocess.DEVNULL, stdout=output, stderr=output,
                env=self.environment, cwd=self.data_dir.parent, start_new_session=True,
            )  # fmt: skip
        return self

    def command(self, *options: str) -> list[str]:
        return [
            sys.executable,
            "-m",
            "marketpulse",
            "up",
            "--no-browser",
            "--source",
            "market",
            "--port",
            "0",
            *options,
        ]

    def facts(self, name: str) -> dict[str, Any]:
        try:
            return dict(json.loads((self.data_dir / "run" / f"{name}.json").read_text()))
        except (OSError, ValueError):
            return {}

    def until(self, what: str, condition: Callable[[], Any], within_s: float = 90) -> Any:
        deadline = time.monotonic() + within_s
        while not (found := condition()):
            assert self.process.poll() is None, f"up has ended while waiting for: {what}\n{self.said()}"
            assert time.monotonic() < deadline, f"not within {within_s} s: {what}\n{self.said()}"
            time.sleep(0.05)
        return found

    def until_ready(self) -> str:
        return str(self.until("everything is ready", lambda: self.facts("up").get("url")))

    def until_back(self, name: str, old_pid: int) -> None:
        self.until(f"{name} is back", lambda: self.facts(name).get("pid", old_pid) != old_pid)

    def get(self, path: str) -> bytes:
        """The page's answer; empty while it has none."""
        try:
            answer = httpx.get(self.facts("up")["url"].rstrip("/") + path, timeout=10)
            return answer.raise_for_status().content
        except (httpx.HTTPError, KeyError):
            return b""

    def is_moving(self) -> bool:
        return (json.loads(self.get("/api/health") or b"{}").get("events_per_s") or 0) > 0

    def symbols(self) -> list[dict[str, Any]]:
        return list(json.loads(self.get("/api/symbols") or b"{}").get("symbols", []))

    def tree(self) -> list[psutil.Process]:
        return psutil.Process(self.process.pid).children(recursive=True)

    def said(self) -> str:
        logs = sorted((self.data_dir / "logs").glob("*.log"))
        tails = [
            f"--- {log.name}\n{log.read_text(errors='replace')[-1500:]}" for log in logs if log.name != "broker.log"
        ]
        return "\n".join([self.output.read_text(), *tails])

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
