"""What the documentation shows, run as it is written: each block of the README's first screen brings a newcomer's own
data in; and the notebook over stored data (that over live data is run where a pipeline is, browser/test_views.py)."""

import base64
import json
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from bare_clients import BareTopic
from lake_store import store_real_rows
from marketpulse.settings import Settings
from notebooks import kept, outputs, run_notebook
from running_up import Up, held
from vendor_server import Reply, Request, vendor

pytestmark = [pytest.mark.integration, pytest.mark.timeout(400), pytest.mark.usefixtures("kernels")]

README = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
SCREEN = README.partition("## Your data in three lines")[2].partition("\n## ")[0]
BLOCKS = re.findall(r"\n\*\*([^*]+)\*\*.*?```(?:sh|python)\n(.*?)```", SCREEN, re.DOTALL)
DAYS = "".join(f"2026-01-{day:02},{day},{day + 2},{day},{day + 1},100\n" for day in range(1, 31))
KEY = "your-key"


class Screen(Up):
    """The `up` of the screen, in one terminal, and the lines that are typed in another."""

    def __init__(self, data_dir: Path, cache: Path, written: dict[str, str]) -> None:
        super().__init__(data_dir, cache)
        self.written = written  # what stands for the reader's own: as written -> here
        (data_dir.parent / "marketpulse").write_text(f'#!/bin/sh\nexec "{sys.executable}" -m marketpulse "$@"\n')
        (data_dir.parent / "marketpulse").chmod(0o755)
        self.environment["PATH"] = f"{data_dir.parent}:{self.environment['PATH']}"

    def words(self, *options: str) -> list[str]:
        return ["up", "--no-browser", "--port", "0", *options]

    @contextmanager
    def typed(self, line: str) -> Iterator[subprocess.Popen[bytes]]:
        """A line at work; what ends of itself has to end well. `up` is started once, an `export` stays."""
        for written, here in self.written.items():
            line = line.replace(written, here)
        with self.output.open("ab") as output:
            process = subprocess.Popen(
                ["bash", "-c", line], env=self.environment, cwd=self.data_dir.parent, stdout=output, stderr=output,
                start_new_session=True,
            )  # fmt: skip
        try:
            yield process
        finally:
            process.kill()

    def run(self, block: str) -> None:
        for line in block.replace("\\\n", "").splitlines():
            words = line.partition("#")[0].split()
            if words[0] == "export":
                pairs = (word.partition("=") for word in words[1:])
                self.environment |= {name: self.written.get(value, value) for name, _, value in pairs}
            elif words == ["marketpulse", "up"]:
                if not hasattr(self, "process"):
                    self.start().until_ready()
            else:
                with self.typed(line) as process:
                    assert process.wait(120) == 0, (line, self.said())

    def until_stored(self, symbol: str, count: int) -> None:
        def stored() -> bool:
            return [row["symbol"] for row in self.rows("SELECT symbol FROM bars")].count(symbol) >= count

        self.until(f"{count} bars of {symbol} are stored", stored)


def test_each_block_brings_its_data_in_as_written(kafka_settings: Settings, broker_cache: Path, tmp_path: Path) -> None:
    files, topic, api, frame = (block for _, block in BLOCKS)
    assert [title for title, _ in BLOCKS] == [
        "A folder of files", "A topic that is being filled", "An API with a key", "A DataFrame",
    ]  # fmt: skip
    (tmp_path / "prices").mkdir()
    for name in ("prices/AAPL.csv", "prices/MSFT.csv", "prices.csv"):
        (tmp_path / name).write_text("date,open,high,low,close,volume\n" + DAYS)
    now = int(time.time()) // 60 * 60
    filled = BareTopic(kafka_settings.kafka.bootstrap_servers, f"{kafka_settings.kafka.topic_prefix}prices")
    filled.make(1)
    filled.write([{"symbol": "TOPIC", "price": 10 + i, "timestamp": now - 600 + i} for i in range(120)])

    def answer(request: Request) -> Reply:
        if request.headers.get("x-api-key") != KEY:
            return Reply(401)
        minutes: list[dict[str, Any]] = [
            {"t": now - 60 * i, "o": 1, "h": 2, "l": 1, "c": 2, "v": 5} for i in range(20, 1, -1)
        ]
        return Reply.json({"data": {"bars": minutes}})

    with vendor(answer) as server:
        own = {"kafka:9092": str(kafka_settings.kafka.bootstrap_servers), "stock-prices": filled.name}
        up = Screen(tmp_path / "data", broker_cache, {**own, "https://api.vendor.com": server.url})
        kafka = {"TOPIC_PREFIX": kafka_settings.kafka.topic_prefix, "PARTITIONS": "4"}
        up.environment |= {f"MARKETPULSE_KAFKA__{name}": value for name, value in kafka.items()}
        up.run(topic)
        with held(up):
            up.until_stored("TOPIC", 2)
            up.run(files)
            up.until_stored("MSFT", 30)
            export, _, ask = api.partition("\n")
            up.run(export)
            with up.typed(ask) as asking:
                up.until_stored("NVDA", 19)
                asking.send_signal(signal.SIGINT)
                assert asking.wait(60) == 0
            up.process.send_signal(signal.SIGTERM)
            up.process.wait(60)
    shown = up.output.read_text()
    assert re.search(r"│ AAPL +│ 1d +│", shown), shown
    (tmp_path / "cell.py").write_text(re.sub(r"\n(frame\[.*)\n", r"\nprint(\1.to_json())\n", frame))
    cell = subprocess.run(
        [sys.executable, "cell.py"], capture_output=True, text=True, env=up.environment, cwd=tmp_path, check=True
    )
    values = json.loads(cell.stdout)
    assert list(values["sma_20"].values())[-1] == sum(range(12, 32)) / 20  # closes are day + 1
    assert list(values["rsi_14"].values())[-1] == 100  # they only rise


def test_stored_data_and_sql(tmp_path: Path) -> None:
    store_real_rows(tmp_path / "data")
    book = run_notebook("stored", {"MARKETPULSE_DATA_DIR": str(tmp_path / "data")}, tmp_path)
    assert outputs(book, "text/plain") == outputs(kept("stored"), "text/plain")
    pictures = outputs(book, "image/png")
    assert len(pictures) == 2
    assert all(base64.b64decode(picture)[:8] == b"\x89PNG\r\n\x1a\n" for picture in pictures)
