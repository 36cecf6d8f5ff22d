"""Runs the notebooks of the documentation, and reads what their cells gave."""

import asyncio
import sys
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import nbformat
from jupyter_client.manager import AsyncKernelManager
from nbclient import NotebookClient

from given_settings import outside

NOTEBOOKS = Path(__file__).parents[1] / "docs" / "notebooks"


def kept(name: str) -> Any:
    """The notebook as it is kept, with its outputs."""
    return nbformat.read(NOTEBOOKS / f"{name}.ipynb", as_version=4)  # type: ignore[no-untyped-call]


def run_notebook(name: str, environment: Mapping[str, str], folder: Path) -> Any:
    """The notebook, run in `folder`. Raises CellExecutionError for a cell that fails."""
    book = kept(name)
    manager = AsyncKernelManager(kernel_cmd=[sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"])
    client = NotebookClient(book, timeout=240, km=manager, resources={"metadata": {"path": str(folder)}})

    async def execute() -> None:
        try:
            await client.async_execute(env={**outside(), **environment})
        finally:
            if await manager.is_alive():
                await manager.shutdown_kernel(now=True)

    with ThreadPoolExecutor(1) as aside:  # a test with a browser has an event loop in its own thread
        aside.submit(lambda: asyncio.run(execute())).result()
    return book


def outputs(book: Any, kind: str) -> list[str]:
    """What the cells gave, of one media type."""
    return [
        str(output["data"][kind])
        for cell in book.cells if cell.cell_type == "code"
        for output in cell.outputs if kind in output.get("data", {})
    ]  # fmt: skip
