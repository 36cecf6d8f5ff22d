"""Rows that wait on the disk for the broker: one SQLite file of a source, in order, bounded.

    append -> entries by number -> after (to write them) -> drop_to (they stand in the log)

What was appended is there after a kill -9; after a power cut all but about the last second is. The file goes when nothing waits.
"""

import sqlite3
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from marketpulse.durable import force, make_directory
from marketpulse.errors import Fatal, Retryable
from marketpulse.telemetry import SPOOL_REFUSED

_SYNC_S = 1.0
_BUSY_S = 5.0
_CHUNK_BYTES = 1 << 20
_FORMAT = 1


class Entry(NamedTuple):
    """One Polled as bytes. `at_ns`: when it was held first, UTC."""

    number: int
    rows: int
    at_ns: int
    body: bytes


class Spool:
    """Calls come from one thread at a time.

    `owner` names the log that the entries are for; it is written down with the first of them. Methods raise Retryable
    when the disk or the bound has no room, and for a fault of the disk; Fatal for a file that is no spool of ours.
    """

    def __init__(self, path: Path, source: str, bytes_max: int) -> None:
        self.path, self._source, self._bytes_max = path, source, bytes_max
        self._file: sqlite3.Connection | None = None
        self._synced_s = 0.0
        self._dirty = False
        self.owner: str | None = None
        self.rows = self.bytes = 0
        self.first = self.last = 0  # numbers; 0: nothing waits
        self.oldest_ns = 0
        if path.exists():
            self._open()

    def append(self, entries: Sequence[Entry], owner: str) -> None:
        """All of them, or none. Numbers go up by 1."""
        size = sum(len(entry.body) for entry in entries)
        if self.bytes + size > self._bytes_max:
            SPOOL_REFUSED.labels(self._source, "full").inc()
            raise Retryable(
                f"{self.path} is full ({self.bytes:,} bytes of kafka.producer.spool_mb): {self._source} waits for the broker"
            )
        file = self._file or self._open()
        try:
            with file:
                file.execute("INSERT OR REPLACE INTO owner VALUES (0, ?)", (owner,))
                file.executemany("INSERT INTO entries VALUES (?, ?, ?, ?)", entries)
        except sqlite3.Error as error:
            raise self._fault(error) from None
        self.owner = owner
        self.rows += sum(entry.rows for entry in entries)
        self.bytes += size
        self.first = self.first or entries[0].number
        self.oldest_ns = self.oldest_ns or entries[0].at_ns
        self.last = entries[-1].number
        self._dirty = True
        self.sync()

    def after(self, number: int) -> list[Entry]:
        """The next entries behind that number, about a mebibyte of them."""
        if self._file is None or number >= self.last:
            return []
        found: list[Entry] = []
        size = 0
        try:
            for row in self._file.execute(
                "SELECT number, rows, at_ns, body FROM entries WHERE number > ? ORDER BY number", (number,)
            ):
                found.append(Entry(*row))
                size += len(found[-1].body)
                if size >= _CHUNK_BYTES:
                    break
        except sqlite3.Error as error:
            raise self._fault(error) from None
        return found

    def drop_to(self, number: int) -> None:
        """Entries up to that number stand in the log."""
        if self._file is None or number < self.first:
            return
        try:
            with self._file:
                self._file.execute("DELETE FROM entries WHERE number <= ?", (number,))
            self._count(self._file)
        except sqlite3.Error as error:
            raise self._fault(error) from None
        if not self.last:
            self.close()
            self.path.unlink(missing_ok=True)

    def sync(self) -> None:
        """Force what was appended to the disk, once a second."""
        now = time.monotonic()
        if self._file is None or not self._dirty or now - self._synced_s < _SYNC_S:
            return
        try:
            self._file.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
        except sqlite3.Error as error:
            raise self._fault(error) from None
        self._synced_s, self._dirty = now, False

    def close(self) -> None:
        if self._file is not None:
            self._file.close()  # forces all to the disk, and takes the file's companions away
            self._file = None

    def _open(self) -> sqlite3.Connection:
        try:
            for directory in make_directory(self.path.parent):
                force(directory)
            file = sqlite3.connect(self.path, timeout=_BUSY_S, check_same_thread=False)
            file.execute("PRAGMA journal_mode = WAL").fetchall()
            file.execute("PRAGMA synchronous = NORMAL")
            with file:
                version = file.execute("PRAGMA user_version").fetchone()[0]
                if version not in (0, _FORMAT):
                    raise Fatal(
                        f"{self.path} was written by another version: start that one once, or move the file away"
                    )
                file.execute(f"PRAGMA user_version = {_FORMAT}")
                file.execute("CREATE TABLE IF NOT EXISTS owner (only INTEGER PRIMARY KEY, name TEXT NOT NULL)")
                file.execute(
                    "CREATE TABLE IF NOT EXISTS entries (number INTEGER PRIMARY KEY, rows INTEGER NOT NULL,"
                    " at_ns INTEGER NOT NULL, body BLOB NOT NULL)"
                )
            force(self.path.parent)
            self._count(file)
        except (sqlite3.Error, OSError) as error:
            raise self._fault(error) from None
        self._file = file
        return file

    def _count(self, file: sqlite3.Connection) -> None:
        (self.rows, self.bytes, self.first, self.last, self.oldest_ns) = file.execute(
            "SELECT coalesce(sum(rows), 0), coalesce(sum(length(body)), 0), coalesce(min(number), 0),"
            " coalesce(max(number), 0), coalesce(min(at_ns), 0) FROM entries"
        ).fetchone()
        owner = file.execute("SELECT name FROM owner").fetchone()
        self.owner = None if owner is None else owner[0]

    def _fault(self, error: Exception) -> Fatal | Retryable:
        SPOOL_REFUSED.labels(self._source, "disk").inc()
        if isinstance(error, sqlite3.DatabaseError) and not isinstance(error, sqlite3.OperationalError):
            return Fatal(
                f"{self.path} cannot be read as a spool ({error}): move it away, and what it held is asked of the vendor again"
            )
        return Retryable(f"{self.path} cannot be written ({error}): make space, or mend the disk")
