"""How one query is run: what stops it, and which of its rows are wanted."""

import contextlib
import math
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import duckdb
import pyarrow as pa

from marketpulse.errors import QueryCancelled, QueryLimit
from marketpulse.query.explain import Reading

_LOOK_S = 0.05  # how soon a query notices that it was cancelled


@dataclass(frozen=True, slots=True)
class How:
    """Of one run. `cancelled` stops it when it is set, from any thread.

    `skip` rows are left out, then at most `limit` are given (None: all). `prefix` stands before the checked
    query. `reading` is told which files are read.
    """

    cancelled: threading.Event = field(default_factory=threading.Event)
    skip: int = 0
    limit: int | None = None
    prefix: str = ""
    reading: Reading | None = None

    def wanted(self, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """The wanted rows. Nothing more is computed than they need."""
        skip, left = self.skip, self.limit
        for batch in batches:
            if self.cancelled.is_set():
                raise QueryCancelled("the query was cancelled")
            rows = batch.slice(min(skip, batch.num_rows), left)
            skip = max(0, skip - batch.num_rows)
            if rows.num_rows:
                yield rows
            if left is not None:
                left -= rows.num_rows
                if left == 0:
                    return


AS_IT_IS = How()
"""All rows. Nobody cancels it."""


@contextlib.contextmanager
def stopping(connection: Any, timeout_s: float, cancelled: threading.Event) -> Iterator[None]:
    """Inside, the connection's query is stopped when it is cancelled or takes too long.

    It is told again and again, since DuckDB forgets what it was told before a query has begun. Without a time
    limit nothing stops it here: the whole process is ended then (child.py). Raises QueryCancelled or QueryLimit.
    """
    if timeout_s == math.inf:
        yield
        return
    done, late = threading.Event(), threading.Event()
    end = time.monotonic() + timeout_s

    def watch() -> None:
        while not done.wait(_LOOK_S):
            if time.monotonic() > end:
                late.set()
            if late.is_set() or cancelled.is_set():
                connection.interrupt()

    if cancelled.is_set():
        raise QueryCancelled("the query was cancelled")
    thread = threading.Thread(target=watch, name="query-watch", daemon=True)
    thread.start()
    try:
        yield
    except (duckdb.Error, OSError, pa.ArrowException) as error:
        if not was_interrupted(error):
            raise
        if cancelled.is_set():
            raise QueryCancelled("the query was cancelled") from None
        raise QueryLimit(f"the query took longer than {timeout_s:g} s: narrow it, or raise sql.timeout_s") from None
    finally:
        done.set()
        thread.join()


def was_interrupted(error: Exception) -> bool:
    """Whether DuckDB stopped because it was told to; Arrow tells it in its own words."""
    return isinstance(error, duckdb.InterruptException) or "INTERRUPT Error" in str(error)
