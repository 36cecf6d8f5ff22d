"""Exchange calendars: sessions, half-days, holidays and DST of every venue that the library knows by MIC.

The library works a calendar out from its rules, and brings pandas with it: 1.3 s of processor time for
the first one. So each table is kept in the cache, for a month: the library looks a year ahead of today.
"""

import contextlib
import io
import os
import zipfile
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import cache, lru_cache
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from marketpulse.app.extended_hours import EXTENDED_HOURS, RegularDays, extend
from marketpulse.cache import cache_dir
from marketpulse.model.session import DaySpan, SessionTable, around_the_clock

if TYPE_CHECKING:
    from exchange_calendars import ExchangeCalendar

SessionKind = Literal["regular", "extended", "24x7"]

_EARLIEST = "1990-01-01"
_MIC_LETTERS = 4


def sessions_of(name: str) -> SessionTable | None:
    """The regular sessions of a venue by MIC, `24x7` for one that never closes, None for an unknown one."""
    if name == "24x7":
        return around_the_clock()
    days = regular_days(name)
    return None if days is None else days.table


def sessions_by(kind: SessionKind, hours: Mapping[str, DaySpan]) -> Callable[[str], SessionTable | None]:
    """The same with sessions of another kind (docs/semantics.md, 2); `hours` has the last word on extended ones."""
    spans = {**EXTENDED_HOURS, **hours}

    @cache
    def find(name: str) -> SessionTable | None:
        days = None if name == "24x7" else regular_days(name)
        if days is None:
            return sessions_of(name)
        if kind == "24x7":
            return around_the_clock(name)
        return extend(days, spans[name]) if kind == "extended" and name in spans else days.table

    return find


def session_rules(kind: SessionKind, hours: Mapping[str, DaySpan]) -> str:
    """All that decides these sessions beside their calendars' names, as text: the library's version too."""
    return f"{kind} {sorted({**EXTENDED_HOURS, **hours}.items())} {version('exchange_calendars')}"


@lru_cache(maxsize=64)
def regular_days(name: str) -> RegularDays | None:
    """A venue's regular sessions by MIC, None for an unknown one."""
    if len(name) != _MIC_LETTERS or not name.isalnum():
        return None
    kept = _place(name)
    if (days := _read(kept, name)) is None and name in _names():
        days = _work_out(name)
        _keep(kept, days)
    return days


@cache
def _names() -> frozenset[str]:
    """The names of all calendars, from the cache: the library takes half a second to import, for a venue that has none."""
    file = cache_dir() / "calendars" / f"names-{version('exchange_calendars')}.txt"
    with contextlib.suppress(OSError):
        return frozenset(file.read_text().split())
    import exchange_calendars

    names = exchange_calendars.get_calendar_names(include_aliases=True)
    _write(file, "\n".join(names).encode())
    return frozenset(names)


def _work_out(name: str) -> RegularDays:
    import exchange_calendars

    try:
        calendar = exchange_calendars.get_calendar(name, start=_EARLIEST)
    except ValueError:  # this calendar begins later: take all that the library gives by itself
        calendar = exchange_calendars.get_calendar(name)
    opens, closes = (times.dt.tz_convert(None) for times in (calendar.opens, calendar.closes))
    offset = calendar.opens.dt.tz_convert(calendar.tz).dt.tz_localize(None) - opens
    table = SessionTable(
        name,
        opens.to_numpy("datetime64[ns]").astype(np.int64),
        closes.to_numpy("datetime64[ns]").astype(np.int64),
        calendar.sessions.to_numpy("datetime64[D]").astype(np.int32),
    )
    return RegularDays(table, offset.to_numpy("timedelta64[ns]").astype(np.int64), _early(calendar))


def _early(calendar: "ExchangeCalendar") -> NDArray[np.int64]:
    """By how much each session closes before the time that was usual then."""
    closes = calendar.closes.dt.tz_convert(calendar.tz).dt.tz_localize(None)
    into_day = (closes - closes.dt.normalize()).to_numpy("timedelta64[ns]").astype(np.int64)
    usual = into_day.copy()
    for since, time in calendar.close_times:
        from_here = slice(0 if since is None else calendar.sessions.searchsorted(since), None)
        usual[from_here] = (time.hour * 3_600 + time.minute * 60 + time.second) * 10**9
    early: NDArray[np.int64] = np.maximum(usual - into_day, 0)
    return early


def _place(name: str) -> Path:
    """The file's name tells what it was made from."""
    rules = f"{version('exchange_calendars')}-{version('pandas')}-{_EARLIEST}"
    return cache_dir() / "calendars" / f"{name}-{datetime.now(UTC):%Y-%m}-{rules}.npz"


def _read(kept: Path, name: str) -> RegularDays | None:
    try:
        with np.load(kept) as found:
            table = SessionTable(name, found["open_ns"], found["close_ns"], found["date"])
            return RegularDays(table, found["offset_ns"], found["early_ns"])
    except (OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile):
        return None


def _keep(kept: Path, days: RegularDays) -> None:
    """What older months and versions left goes."""
    data = io.BytesIO()
    np.savez(
        data, open_ns=days.table.open_ns, close_ns=days.table.close_ns, date=days.table.date,
        offset_ns=days.offset_ns, early_ns=days.early_ns,
    )  # fmt: skip
    if _write(kept, data.getvalue()):
        for old in kept.parent.glob(f"{days.table.name}-*.npz"):
            if old != kept:
                old.unlink(missing_ok=True)


def _write(kept: Path, data: bytes) -> bool:
    """Write it at one stroke. False without a place to write: nothing is kept."""
    partial = kept.with_suffix(f".{os.getpid()}.tmp")
    try:
        kept.parent.mkdir(parents=True, exist_ok=True)
        partial.write_bytes(data)
        partial.replace(kept)
    except OSError:
        with contextlib.suppress(OSError):
            partial.unlink()
        return False
    return True
