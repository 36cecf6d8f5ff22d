"""What came too late is healed by itself while `up` runs: `marketpulse heal` runs beside the pipeline, and ends.

Nothing waits in memory for it: `up` looks at the counters of the engine's workers.
"""

import json
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from marketpulse.app.healing import REASONS
from marketpulse.app.observing.readings import samples_of
from marketpulse.app.supervisor import Event, open_log
from marketpulse.clock import Clock, SystemClock
from marketpulse.telemetry import HEALED_ROWS, HEALS_FAILED

_QUIET_S = 5.0  # after the last one
_WAIT_MOST_S = 30.0  # after the first one
_PAUSE_S, _PAUSE_RUNS = 30.0, 10  # between two runs: so long, and for live rows so many times what the last one took
_ANSWER_S = 0.5
_SHOWN = 3


class Counts(NamedTuple):
    """Rows that came too late from live sources and from history, and the goodbyes of sources of history."""

    live: float = 0.0
    history: float = 0.0
    ended: float = 0.0


class AutomaticHeal:
    """Call `look` once a second; `close` at the end.

    `command` is the command line of the run; it prints JSON. A file in the data directory remembers over restarts that
    there is something to heal.
    """

    def __init__(
        self, data_dir: Path, command: Sequence[str], say: Callable[[Event], None], clock: Clock | None = None
    ) -> None:
        self._run_dir, self._log = data_dir / "run", data_dir / "logs" / "heal.log"
        self._output = self._log.with_suffix(".json")
        self._marker = data_dir / "heal.pending"
        self._command, self._say, self._clock = command, say, clock or SystemClock()
        self._counts = Counts()
        self._is_history = False  # of what waits, at least a part
        self._first_at = self._clock.monotonic() if self._marker.exists() else None  # of what waits
        self._last_at = self._began_at = self._ended_at = 0.0
        self._took_s: float | None = None  # the last run
        self._process: subprocess.Popen[bytes] | None = None

    def look(self) -> None:
        """Begin a run when it is time, or say what has come of one."""
        now = self._clock.monotonic()
        self._count(now)
        if self._process is not None:
            if (code := self._process.poll()) is not None:
                self._ended(code, now)
        elif self._is_due(now):
            self._start(now)

    def close(self) -> None:
        """End a run that is under way: nothing is lost by that, and the next start begins another."""
        if self._process is not None:
            self._process.terminate()
            self._process.wait()

    def _is_due(self, now: float) -> bool:
        if self._first_at is None or now < self._ended_at + self._pause_s():
            return False
        return now - self._last_at >= _QUIET_S or now - self._first_at >= _WAIT_MOST_S

    def _pause_s(self) -> float:
        """History does not wait for longer: it comes in within a minute."""
        if self._took_s is None:
            return 0.0
        return _PAUSE_S if self._is_history else max(_PAUSE_S, _PAUSE_RUNS * self._took_s)

    def _count(self, now: float) -> None:
        """The engine's own counters say whether more rows came too late, and whether a source of history has ended."""
        counts, before = _counts(self._run_dir), self._counts
        if counts.live > before.live or counts.history > before.history:
            self._last_at = now
            self._first_at = now if self._first_at is None else self._first_at
            self._is_history |= counts.history > before.history
            self._marker.touch()
        if counts.ended > before.ended and self._is_history:
            self._last_at = now - _QUIET_S  # nothing more of it comes
        self._counts = counts

    def _start(self, now: float) -> None:
        self._began_at, self._first_at, self._is_history = now, None, False
        with open_log(self._log) as log, self._output.open("wb") as output:
            self._process = subprocess.Popen(
                self._command, stdin=subprocess.DEVNULL, stdout=output, stderr=log, start_new_session=True
            )

    def _ended(self, code: int, now: float) -> None:
        self._process = None
        self._ended_at, self._took_s = now, now - self._began_at
        try:
            found: list[dict[str, Any]] = json.loads(self._output.read_bytes())
        except (OSError, ValueError):
            HEALS_FAILED.inc()
            self._first_at = now if self._first_at is None else self._first_at
            again = f"again in {self._pause_s():.0f} s (log: {self._log})"
            self._say(Event("heal", f"ended with exit code {code}, {again}", bad=True))
            return
        if self._first_at is None:
            self._marker.unlink(missing_ok=True)
        healed = [one for one in found if one["outcome"] == "healed"]
        if healed:
            rows = sum(one["trades"] + one["changed"] for one in healed)
            HEALED_ROWS.inc(rows)
            self._say(Event("heal", f"brought in {rows:,} rows that came too late, of {_names(healed)}"))
        for one in found:
            if one["outcome"] == "refused":
                self._say(
                    Event("heal", f"cannot bring in what came too late of {one['symbol']}: {one['detail']}", bad=True)
                )


def _counts(run_dir: Path) -> Counts:
    """Of all workers since they began; a worker that does not answer counts nothing."""
    found = [samples_of(run_file, _ANSWER_S) for run_file in run_dir.glob("process-*.json")]
    return Counts(
        sum(samples.total("dead_letters", reason=reason) for samples in found for reason in REASONS),
        sum(samples.total("source_rows", fate="behind") for samples in found),
        sum(samples.total("histories_ended") for samples in found),
    )


def _names(found: list[dict[str, Any]]) -> str:
    names = [str(one["symbol"]) for one in found]
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more
