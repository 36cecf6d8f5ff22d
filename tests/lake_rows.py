"""A lake that tests fill row by row, through the sink: a flush for each call."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from marketpulse.catalog import open_lake, open_visible
from marketpulse.clock import ManualClock
from marketpulse.model.rows import indicators_schema
from marketpulse.model.tables import TABLES
from marketpulse.ports import SinkBatch
from marketpulse.settings import Settings
from marketpulse.sinks import open_sink
from marketpulse.sinks.lake_chores import Chores

NOW_NS = 1_715_000_000 * 10**9
_LATER_NS = 10**18  # behind every file's time on the disk


class LakeRows:
    """One lake, and the end of its one partition."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.end = 0

    def add(self, table: str, rows: Sequence[dict[str, Any]], columns: Sequence[str] = ()) -> list[str]:
        """Store rows of a table, with these indicators; the paths of the files that hold them."""
        schema = indicators_schema(list(columns)) if table == "indicators" else TABLES[table][1]
        sink = open_sink(self.settings, "lake", ManualClock(NOW_NS + self.end * 10**9))
        before = set(self.files(table))
        batch = pa.RecordBatch.from_pylist(list(rows), schema=schema)
        sink.write(SinkBatch(table, TABLES[table][0], 0, self.end, self.end + 1, batch))
        sink.flush()
        sink.close()
        self.end += 1
        return [path for path in self.files(table) if path not in before]

    def files(self, table: str) -> list[str]:
        """The visible files, oldest first."""
        return [file.path for file in open_visible(self.settings).read([table])[table].files]

    def chores(self, now_ns: int = 0) -> Chores:
        """As a process does them that has just started, now or at this time."""
        import time

        return Chores(open_lake(self.settings), self.settings, ManualClock(now_ns or time.time_ns()))

    def merge(self, table: str) -> None:
        """Make one file of a table's, and remove the others from the disk."""
        self.chores().compact(table)
        self.chores(_LATER_NS * 2).expire(table)

    @property
    def root(self) -> Path:
        return Path(self.settings.lake_url())
