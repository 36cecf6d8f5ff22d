"""The notebooks of the documentation, run: over a real lake, and against the real pipeline."""

import base64
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from notebook_run import kept, outputs, run
from real_rows import store_real_rows

pytestmark = [pytest.mark.integration, pytest.mark.timeout(400)]


def test_stored_data_and_sql(tmp_path: Path) -> None:
    store_real_rows(tmp_path / "data")
    book = run("stored", {"MARKETPULSE_DATA_DIR": str(tmp_path / "data")}, tmp_path)
    assert outputs(book, "text/plain") == outputs(kept("stored"), "text/plain")
    pictures = outputs(book, "image/png")
    assert len(pictures) == 2
    assert all(base64.b64decode(picture)[:8] == b"\x89PNG\r\n\x1a\n" for picture in pictures)


@pytest.fixture
def pipeline(tmp_path: Path, broker_cache: Path) -> Iterator[Path]:
    """`marketpulse up` with the simulated market; its data directory."""
    data = tmp_path / "data"
    environment = {
        **{k: v for k, v in os.environ.items() if not k.startswith(("MARKETPULSE_", "KAFKA_"))},
        "MARKETPULSE_DATA_DIR": str(data), "MARKETPULSE_CACHE_DIR": str(broker_cache),
        "MARKETPULSE_KAFKA__PARTITIONS": "3", "MARKETPULSE_BROKER__HEAP_MB": "256",
    }  # fmt: skip
    said = tmp_path / "up.out"
    with said.open("wb") as output:
        up = subprocess.Popen(
            [sys.executable, "-m", "marketpulse", "up", "--no-browser", "--source", "market", "--port", "0"],
            stdin=subprocess.DEVNULL, stdout=output, stderr=output, env=environment, cwd=tmp_path, start_new_session=True,
        )  # fmt: skip
    try:
        deadline = time.monotonic() + 200
        while "url" not in _facts(data):
            assert up.poll() is None, said.read_text()
            assert time.monotonic() < deadline, said.read_text()
            time.sleep(0.1)
        yield data
    finally:
        up.send_signal(signal.SIGTERM)
        try:
            up.wait(60)
        except subprocess.TimeoutExpired:
            os.killpg(up.pid, signal.SIGKILL)
            up.wait()


def _facts(data: Path) -> dict[str, object]:
    try:
        return dict(json.loads((data / "run" / "up.json").read_text()))
    except (OSError, ValueError):
        return {}


def test_live_data_and_a_chart(pipeline: Path) -> None:
    book = run("live", {"MARKETPULSE_DATA_DIR": str(pipeline)}, pipeline.parent)
    texts = outputs(book, "text/plain")
    assert texts[0] == "True"  # so many changes came
    assert "closed" in texts[1]
    assert base64.b64decode(outputs(book, "image/png")[0])[:4] == b"\x89PNG"
    assert texts[-1].startswith("<Live SIM-ACME 1s, ")
    assert texts[-1].endswith("changes, closed>")
