"""Exchange calendars: sessions, half-days, holidays and DST of every venue that the library knows by MIC.

The library works a calendar out from its rules, and brings pandas with it: 1.3 s of processor time for
the first one. So each table is kept in the cache, for a month: the library looks a year ahead of today.
"""

import contextlib
import os
import zipfile
from datetime import UTC, datetime
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path

import numpy as np

from marketpulse.app.cache import cache_dir
from marketpulse.model.session import SessionTable, around_the_clock

_EARLIEST = "1990-01-01"
_MIC_LETTERS = 4


@lru_cache(maxsize=64)
def sessions_of(name: str) -> SessionTable | None:
    """The regular sessions of a venue by MIC, `24x7` for one that never closes, None for an unknown one."""
    if name == "24x7":
        return around_the_clock()
    if len(name) != _MIC_LETTERS or not name.isalnum():
        return None
    kept = _place(name)
    if (table := _read(kept, name)) is not None:
        return table
    if (table := _work_out(name)) is not None:
        _keep(kept, table)
    return table


def _work_out(name: str) -> SessionTable | None:
    import exchange_calendars

    if name not in exchange_calendars.get_calendar_names(include_aliases=True):
        return None
    try:
        calendar = exchange_calendars.get_calendar(name, start=_EARLIEST)
    except ValueError:  # this calendar begins later: take all that the library gives by itself
        calendar = exchange_calendars.get_calendar(name)
    return SessionTable(
        name,
        calendar.opens.dt.tz_convert(None).to_numpy("datetime64[ns]").astype(np.int64),
        calendar.closes.dt.tz_convert(None).to_numpy("datetime64[ns]").astype(np.int64),
        calendar.sessions.to_numpy("datetime64[D]").astype(np.int32),
    )


def _place(name: str) -> Path:
    """The file's name tells what it was made from."""
    rules = f"{version('exchange_calendars')}-{version('pandas')}-{_EARLIEST}"
    return cache_dir() / "calendars" / f"{name}-{datetime.now(UTC):%Y-%m}-{rules}.npz"


def _read(kept: Path, name: str) -> SessionTable | None:
    try:
        with np.load(kept) as found:
            return SessionTable(name, found["open_ns"], found["close_ns"], found["date"])
    except (OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile):
        return None


def _keep(kept: Path, table: SessionTable) -> None:
    """Write it at one stroke; what older months and versions left goes. Without a place to write, nothing is kept."""
    partial = kept.with_suffix(f".{os.getpid()}.tmp")
    try:
        kept.parent.mkdir(parents=True, exist_ok=True)
        with partial.open("wb") as file:
            np.savez(file, open_ns=table.open_ns, close_ns=table.close_ns, date=table.date)
        partial.replace(kept)
        for old in kept.parent.glob(f"{table.name}-*.npz"):
            if old != kept:
                old.unlink(missing_ok=True)
    except OSError:
        with contextlib.suppress(OSError):
            partial.unlink()
