"""The notebooks of the documentation, run: over a real lake, and against the real pipeline."""

import asyncio
import base64
import signal
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import nbformat
import pytest
from jupyter_client.manager import AsyncKernelManager
from nbclient import NotebookClient

from given_settings import outside
from real_rows import store_real_rows
from running_up import Up, held

NOTEBOOKS = Path(__file__).parents[2] / "docs" / "notebooks"


def kept(name: str) -> Any:
    """The notebook as it is kept, with its outputs."""
    return nbformat.read(NOTEBOOKS / f"{name}.ipynb", as_version=4)  # type: ignore[no-untyped-call]


def run(name: str, environment: Mapping[str, str], folder: Path) -> Any:
    """The notebook, run in `folder`. Raises CellExecutionError for a cell that fails."""
    book = kept(name)
    manager = AsyncKernelManager(kernel_cmd=[sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"])
    client = NotebookClient(book, timeout=240, km=manager, resources={"metadata": {"path": str(folder)}})
    asyncio.run(client.async_execute(env={**outside(), **environment}))
    return book


def outputs(book: Any, kind: str) -> list[str]:
    """What the cells gave, of one media type."""
    return [
        str(output["data"][kind])
        for cell in book.cells if cell.cell_type == "code"
        for output in cell.outputs if kind in output.get("data", {})
    ]  # fmt: skip


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
