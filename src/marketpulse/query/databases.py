"""Locked databases for queries: each can open the files of its snapshots, and nothing else.

One that has answered waits for the next query over the same snapshots, with what it has learnt of their files: making one
takes longer than many a query. It serves one query at a time, so that each has the whole memory that `[sql]` allows.
"""

import contextlib
import threading
from collections.abc import Hashable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import duckdb

from marketpulse.query.scan import texts
from marketpulse.settings import SqlSettings

_WAITING = 4  # databases: the page's queries are over few sets of tables


@dataclass(slots=True)
class Database:
    """One of them. `views` are those that it has, by name, with what they are made of."""

    root: Any
    views: dict[str, str] = field(default_factory=dict)

    def show(self, connection: Any, view: str, sql: str) -> None:
        """Make the view, if it does not stand there as it is wanted."""
        if self.views.get(view) != sql:
            connection.execute(f"CREATE OR REPLACE VIEW {view} AS {sql}")
            self.views[view] = sql


class Databases:
    """May be used by several threads."""

    def __init__(self, limits: SqlSettings, spill: Path) -> None:
        self._limits, self._spill = limits, spill
        self._waiting: list[tuple[Hashable, Database]] = []  # the longest waiting first
        self._lock = threading.Lock()

    @contextlib.contextmanager
    def lent(self, snapshots: Hashable, paths: Iterable[str]) -> Iterator[tuple[Database, Any]]:
        """A database that may open these files, and a connection to it. `snapshots` tells which they are: where a database
        waits that was made for the same, its is given. One whose query fails is not used again."""
        database = self._taken(snapshots) or self._made(paths)
        try:
            with database.root.cursor() as connection:
                yield database, connection
        except BaseException:
            database.root.close()
            raise
        self._wait(snapshots, database)

    def close(self) -> None:
        """Close those that wait."""
        with self._lock:
            closed, self._waiting = self._waiting, []
        for _, database in closed:
            database.root.close()

    def _taken(self, snapshots: Hashable) -> Database | None:
        with self._lock:
            for place, (known, database) in enumerate(self._waiting):
                if known == snapshots:
                    del self._waiting[place]
                    return database
        return None

    def _wait(self, snapshots: Hashable, database: Database) -> None:
        with self._lock:
            self._waiting.append((snapshots, database))
            closed, self._waiting = self._waiting[:-_WAITING], self._waiting[-_WAITING:]
        for _, old in closed:
            old.root.close()

    def _made(self, paths: Iterable[str]) -> Database:
        database = duckdb.connect(":memory:", config=self._config())
        try:
            database.execute("SET GLOBAL TimeZone = 'UTC'")
            database.execute("SET GLOBAL parquet_metadata_cache = true")
            database.execute(f"SET allowed_paths = {texts(paths)}")
            database.execute("SET enable_external_access = false")
            database.execute("SET lock_configuration = true")
        except BaseException:
            database.close()
            raise
        return Database(database)

    def _config(self) -> dict[str, Any]:
        return {
            "memory_limit": f"{self._limits.memory_limit_mb}MB",
            "temp_directory": str(self._spill),
            "max_temp_directory_size": f"{8 * self._limits.memory_limit_mb}MB",
            "autoinstall_known_extensions": "false",
            "autoload_known_extensions": "false",
            "allow_community_extensions": "false",
            "python_enable_replacements": "false",  # a Python variable is no table
        }
