"""What came too late is healed by itself while `up` runs: `marketpulse heal` runs beside the pipeline, and ends.

Nothing waits in memory for it: `up` looks at the count of dead letters that it shows anyway.
"""

import json
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from marketpulse.app.healing import REASONS
from marketpulse.app.observing.readings import samples_of
from marketpulse.app.supervisor import Event, open_log
from marketpulse.clock import Clock, SystemClock
from marketpulse.telemetry import HEALED_ROWS, HEALS_FAILED

_QUIET_S = 5.0  # after the last one
_WAIT_MOST_S = 30.0  # after the first one
_PAUSE_S, _PAUSE_RUNS = 30.0, 10  # between two runs: so long, and so many times what the last one took
_ANSWER_S = 0.5
_SHOWN = 3


class AutomaticHeal:
    """Call `look` now and then with the number of dead letters; `close` at the end.

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
        self._letters: int | None = None
        self._late = 0.0
        self._first_at = self._clock.monotonic() if self._marker.exists() else None  # of what waits
        self._last_at = self._not_before = 0.0
        self._began_at = 0.0
        self._process: subprocess.Popen[bytes] | None = None

    def look(self, dead_letters: int | None) -> None:
        """Begin a run when it is time, or say what has come of one. `dead_letters`: None while it is not known."""
        now = self._clock.monotonic()
        if dead_letters is not None and dead_letters != self._letters:
            self._letters = dead_letters
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
        if self._first_at is None or now < self._not_before:
            return False
        return now - self._last_at >= _QUIET_S or now - self._first_at >= _WAIT_MOST_S

    def _count(self, now: float) -> None:
        """The engine's own counters say whether some of the new letters came too late."""
        late = sum(map(_late_rows, self._run_dir.glob("process-*.json")))
        if late > self._late:
            self._last_at = now
            self._first_at = now if self._first_at is None else self._first_at
            self._marker.touch()
        self._late = late

    def _start(self, now: float) -> None:
        self._began_at, self._first_at = now, None
        with open_log(self._log) as log, self._output.open("wb") as output:
            self._process = subprocess.Popen(
                self._command, stdin=subprocess.DEVNULL, stdout=output, stderr=log, start_new_session=True
            )

    def _ended(self, code: int, now: float) -> None:
        self._process = None
        self._not_before = now + max(_PAUSE_S, _PAUSE_RUNS * (now - self._began_at))
        try:
            found: list[dict[str, Any]] = json.loads(self._output.read_bytes())
        except (OSError, ValueError):
            HEALS_FAILED.inc()
            self._first_at = now if self._first_at is None else self._first_at
            wait = self._not_before - now
            self._say(Event("heal", f"ended with exit code {code}, again in {wait:.0f} s (log: {self._log})", bad=True))
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


def _late_rows(run_file: Path) -> float:
    """How many rows this worker has set aside since it began because they came too late; 0 while it does not answer."""
    samples = samples_of(run_file, _ANSWER_S)
    return sum(samples.total("dead_letters", reason=reason) for reason in REASONS)


def _names(found: list[dict[str, Any]]) -> str:
    names = [str(one["symbol"]) for one in found]
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more
