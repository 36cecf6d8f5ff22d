"""The notebook over stored data, run over a real lake; the one over live data is run where a pipeline is (browser/test_pipeline)."""

import base64
from pathlib import Path

import pytest

from notebooks import kept, outputs, run_notebook
from real_rows import store_real_rows

pytestmark = [pytest.mark.integration, pytest.mark.timeout(400)]


def test_stored_data_and_sql(tmp_path: Path) -> None:
    store_real_rows(tmp_path / "data")
    book = run_notebook("stored", {"MARKETPULSE_DATA_DIR": str(tmp_path / "data")}, tmp_path)
    assert outputs(book, "text/plain") == outputs(kept("stored"), "text/plain")
    pictures = outputs(book, "image/png")
    assert len(pictures) == 2
    assert all(base64.b64decode(picture)[:8] == b"\x89PNG\r\n\x1a\n" for picture in pictures)
