"""A vendor's requests a day: spread over the session, and remembered over a restart.

Until the session opens `at_once` requests are there (the first look at every symbol); through the session the
rest comes free evenly; after it all that is left. The count lies in a file, forced to disk before the request goes
out: a process that is killed and started again, however often, never asks more than the vendor allows.
"""

import hashlib
import json
import os
import threading
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from marketpulse.clock import Clock
from marketpulse.durable import force, make_directory
from marketpulse.errors import EnvironmentProblem, ParameterError, disk_is_full
from marketpulse.telemetry import get_logger


@dataclass(frozen=True, slots=True)
class Allowance:
    """`per_day` requests between two midnights of `zone`, most of them from `opens` to `closes` by its clock."""

    per_day: int
    zone: str = "UTC"
    opens: time = time(0, 0)
    closes: time = time(0, 0)  # midnight: the end of the day
    at_once: int = 1

    def __post_init__(self) -> None:
        if self.per_day < 1 or self.at_once < 0:
            raise ParameterError(
                f"a daily budget is 1 or more and at_once not below 0, found {self.per_day} and {self.at_once}"
            )
        if self.closes != time(0, 0) and self.closes <= self.opens:
            raise ParameterError(f"a session closes after it opens, found {self.opens} and {self.closes}")
        try:
            ZoneInfo(self.zone)
        except (ZoneInfoNotFoundError, ValueError):
            raise ParameterError(f"{self.zone!r} is not a known zone: write one such as America/New_York") from None

    def day_of(self, now_ns: int) -> str:
        return self._local(now_ns).date().isoformat()

    def released(self, now_ns: int) -> int:
        """How many of the day's requests may have been spent by now."""
        first = min(self.at_once, self.per_day)
        opens_ns, closes_ns = self._session_ns(now_ns)
        part = min(1.0, max(0.0, (now_ns - opens_ns) / (closes_ns - opens_ns)))
        return first + int(part * (self.per_day - first) + 1e-9)

    def released_at_ns(self, count: int, now_ns: int) -> int:
        """When `count` requests may have been spent: today, or from the next midnight on where there are fewer."""
        first = min(self.at_once, self.per_day)
        if count > self.per_day:
            return self._midnight_after_ns(now_ns)
        if count <= first:
            return now_ns
        opens_ns, closes_ns = self._session_ns(now_ns)
        return opens_ns + -(-(closes_ns - opens_ns) * (count - first) // (self.per_day - first))

    def _local(self, now_ns: int) -> datetime:
        return datetime.fromtimestamp(now_ns // 10**9, UTC).astimezone(ZoneInfo(self.zone))

    def _session_ns(self, now_ns: int) -> tuple[int, int]:
        today = self._local(now_ns).date()
        opens = _ns(datetime.combine(today, self.opens, ZoneInfo(self.zone)))
        if self.closes == time(0, 0):
            return opens, self._midnight_after_ns(now_ns)
        return opens, _ns(datetime.combine(today, self.closes, ZoneInfo(self.zone)))

    def _midnight_after_ns(self, now_ns: int) -> int:
        tomorrow = self._local(now_ns).date() + timedelta(days=1)
        return _ns(datetime.combine(tomorrow, time(0, 0), ZoneInfo(self.zone)))


class Budget:
    """What is spent of an allowance today. `file` is shared by nobody else."""

    def __init__(self, allowance: Allowance, file: Path, clock: Clock) -> None:
        self._allowance = allowance
        self._file = file
        self._clock = clock
        self._lock = threading.Lock()
        self._day, self._spent = self._read()

    def wait_s(self, cost: int = 1) -> float:
        """Seconds until `cost` requests are there."""
        with self._lock:
            now_ns = self._clock.now_ns()
            self._turn(now_ns)
            at_ns = self._allowance.released_at_ns(self._spent + cost, now_ns)
            return max(0.0, (at_ns - now_ns) / 1e9)

    @property
    def per_day(self) -> int:
        return self._allowance.per_day

    def left(self) -> int:
        """Requests of today that are not spent."""
        with self._lock:
            self._turn(self._clock.now_ns())
            return max(0, self._allowance.per_day - self._spent)

    def spend(self, cost: int = 1) -> None:
        """Note a request before it goes out. Raises EnvironmentProblem when it cannot be remembered."""
        with self._lock:
            self._turn(self._clock.now_ns())
            self._spent += cost
            self._write()

    def _turn(self, now_ns: int) -> None:
        # A clock that was set back does not give the same day's requests again.
        if (day := self._allowance.day_of(now_ns)) > self._day:
            self._day, self._spent = day, 0

    def _read(self) -> tuple[str, int]:
        today = self._allowance.day_of(self._clock.now_ns())
        try:
            found = json.loads(self._file.read_bytes())
            day, spent = found["day"], found["spent"]
            if isinstance(day, str) and isinstance(spent, int):
                return (day, spent) if day >= today else (today, 0)
        except FileNotFoundError:
            return today, 0
        except (OSError, ValueError, KeyError, TypeError):
            pass
        get_logger().warning(
            "budget_unknown", file=str(self._file), todo="counting from 0; the vendor may refuse before its time"
        )
        return today, 0

    def _write(self) -> None:
        new = self._file.with_suffix(".new")
        try:
            for parent in make_directory(self._file.parent):
                force(parent)
            with new.open("w") as file:
                json.dump({"day": self._day, "spent": self._spent}, file)
                file.flush()
                os.fsync(file.fileno())
            new.replace(self._file)
            force(self._file.parent)
        except OSError as error:
            full = "no space is left" if disk_is_full(error) else error.strerror
            raise EnvironmentProblem(
                f"the day's requests cannot be written to {self._file}: {full}; without that the vendor's limit would be broken"
            ) from None


def budget_file(directory: Path, vendor: str, key: str) -> Path:
    """Where the requests of one key are counted. Its name tells nothing about the key but that it is the same."""
    digest = hashlib.blake2b(key.encode(), digest_size=6, person=b"budget").hexdigest()
    return directory / "budgets" / f"{vendor}-{digest}.json"


def _ns(moment: datetime) -> int:
    return round(moment.timestamp()) * 10**9
