"""The columns of the views, where there may be no lake: of one that is empty."""

import tempfile
from collections.abc import Mapping
from functools import cache
from pathlib import Path

from marketpulse.query.duck import LakeQuery
from marketpulse.query.views import VIEWS
from marketpulse.settings import Settings


@cache
def view_columns() -> Mapping[str, tuple[str, ...]]:
    """By view; `indicators` without the indicators."""
    with tempfile.TemporaryDirectory() as folder:
        query = LakeQuery(Settings(data_dir=Path(folder), sinks={"lake": {"url": None}}))
        try:
            return {
                view: tuple(query.run(f"SELECT * FROM {view} LIMIT 0").column_names)  # noqa: S608  (one of VIEWS)
                for view in VIEWS
            }
        finally:
            query.close()
