"""The notebooks of the documentation, run: over a real lake, and against the real pipeline."""

import base64
import signal
from pathlib import Path

import pytest

from notebook_run import kept, outputs, run
from real_rows import store_real_rows
from running_up import Up, held

pytestmark = [pytest.mark.integration, pytest.mark.timeout(400)]


def test_stored_data_and_sql(tmp_path: Path) -> None:
    store_real_rows(tmp_path / "data")
    book = run("stored", {"MARKETPULSE_DATA_DIR": str(tmp_path / "data")}, tmp_path)
    assert outputs(book, "text/plain") == outputs(kept("stored"), "text/plain")
    pictures = outputs(book, "image/png")
    assert len(pictures) == 2
    assert all(base64.b64decode(picture)[:8] == b"\x89PNG\r\n\x1a\n" for picture in pictures)


def test_live_data_and_a_chart(tmp_path: Path, broker_cache: Path) -> None:
    with held(Up(tmp_path / "data", broker_cache).start()) as up:
        up.until_ready()
        book = run("live", {"MARKETPULSE_DATA_DIR": str(up.data_dir)}, tmp_path)
        up.process.send_signal(signal.SIGTERM)
        up.process.wait(60)
    texts = outputs(book, "text/plain")
    assert texts[0] == "True"  # so many changes came
    assert "closed" in texts[1]
    assert base64.b64decode(outputs(book, "image/png")[0])[:4] == b"\x89PNG"
    assert texts[-1].startswith("<Live SIM-ACME 1s, ")
    assert texts[-1].endswith("changes, closed>")
