"""Files of trades, quotes or bars, sent again at a chosen speed. It resumes exactly where it was.

`mode` is historical: the event times of the file are its clock. The position names the files'
fingerprint, so other contents (or another mapping) begin from the start. A file belongs to the first run by hand that
names it: other runs leave it out.
"""

import hashlib
import json
import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from marketpulse.clock import Clock, SystemClock
from marketpulse.durable import make_directory
from marketpulse.model.market import COMPLETE, Ints
from marketpulse.ports import Hello, Polled
from marketpulse.settings import ReplaySettings, S3Settings
from marketpulse.sources.dataset import Dataset, load
from marketpulse.sources.files import expand, fingerprint
from marketpulse.sources.pace import Pacer, Speed
from marketpulse.sources.remote import gather
from marketpulse.sources.rounds import Rounds, rounds_of
from marketpulse.telemetry import get_logger

_REJECTED_MAX = 5_000  # set-aside rows of one poll
_WINDOW_NS = 500_000_000  # trades and quotes of this much event time may be written kind by kind


@dataclass(frozen=True, slots=True)
class Position:
    """Where a replay stands: `row` rows of round `loop` and `rejected` set-aside rows are sent.

    `run` counts how often the same files were begun anew on purpose.
    """

    files: str
    run: int = 0
    loop: int = 0
    row: int = 0
    rejected: int = 0

    def text(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def parse(cls, text: str | None) -> "Position | None":
        return None if text is None else cls(**json.loads(text))


def begin_again(position: str | None) -> str:
    """The position that replays any files from their start, as a run of its own."""
    at = Position.parse(position) or Position("")
    return Position("", at.run + 1).text()


def claimed_by(claim: Path) -> str:
    """The run that a file belongs to; empty: none has fed it in."""
    return claim.read_text() if claim.exists() else ""


class ReplaySource:
    """A `Source` over files. `source` is the name that its rows carry."""

    def __init__(
        self,
        settings: ReplaySettings,
        source: str,
        *,
        lateness_ns: int,
        clock: Clock | None = None,
        alive: Callable[[], None] = lambda: None,
        fetched: Path | None = None,
        s3: S3Settings | None = None,
        claims: Path | None = None,
    ) -> None:
        """`fetched`: a directory for files that lie elsewhere, while they are read; `s3`: the store of s3:// URLs; `claims`: a
        directory that knows by which run a file is fed in (None: files may be fed in by several)."""
        self._settings = settings
        self._source = source
        # A bar's event time is its close: with a lateness of 0 the bar itself would be behind its own watermark.
        self._lateness_ns = max(1, lateness_ns)
        self._clock = clock or SystemClock()
        self._alive = alive
        self._pacer = Pacer(Speed.parse(settings.speed), self._clock)
        self._fetched, self._s3, self._claims = fetched, s3 or S3Settings(), claims
        self.left_out: list[str] = []  # names of files that other runs feed in
        self._data: Dataset | None = None
        self._at = Position("")
        self._next_round = False
        self._rounds = Rounds(0, None)

    def start(self, position: str | None) -> Hello:
        """Read the files (seconds for large ones) and stand behind the rows sent before `position`.

        Raises SettingsError or Fatal naming the file that is missing or cannot be understood, Retryable while those
        that lie elsewhere cannot be fetched.
        """
        try:
            return self._start(position, self._paths())
        finally:
            if self._fetched is not None:
                shutil.rmtree(self._fetched, ignore_errors=True)

    def _paths(self) -> list[Path]:
        if self._fetched is None:
            return expand(self._settings.files)
        shutil.rmtree(self._fetched, ignore_errors=True)
        return gather(self._settings.files, self._fetched, self._s3, self._alive)

    def _start(self, position: str | None, paths: list[Path]) -> Hello:
        mapping = self._settings.mapping.model_dump_json(exclude={"split_adjusted", "extra_columns"})
        own = {path: fingerprint([path], "1", mapping) for path in paths}
        files = (
            hashlib.blake2b("".join(own.values()).encode(), digest_size=16).hexdigest()
            if len(own) > 1
            else own[paths[0]]
        )
        before = Position.parse(position)
        own_runs = {"", files}
        if before is not None and before.files not in own_runs:
            get_logger().warning("replay_begins_anew", source=self._source, why="the files or their mapping changed")
            before, own_runs = None, {""}  # where an earlier run of the same files stood is not known any more
        self._at = Position(files) if before is None else replace(before, files=files)
        claims: dict[Path, Path] = {}
        if self._claims is not None and not self._at.run and not self._settings.loop:
            claims = {path: self._claims / name for path, name in own.items()}
            paths = [path for path in paths if claimed_by(claims[path]) in own_runs]
            self.left_out = [path.name for path in own if path not in paths]
        data = self._data = load(paths, self._settings.mapping, self._alive)
        for path in paths if claims else ():
            make_directory(claims[path].parent)
            claims[path].write_text(files)
        self._rounds = rounds_of(data.tape.time_ns, self._settings.mapping.timezone, data.venues)
        self._begin_round(self._at)
        return self._hello()

    def poll(self, timeout_s: float) -> Polled:
        """Set-aside rows first, then rows as they come due. See ports.Source."""
        data = self._dataset
        sent = self._at.rejected
        if sent < len(data.rejected):
            some = data.rejected[sent : sent + _REJECTED_MAX]
            self._at = replace(self._at, rejected=sent + len(some))
            return Polled(rejected=some, position=self._at.text())
        if self._at.row >= len(self._times):
            if not self._settings.loop or not self._rounds.possible(data.tape.time_ns, self._at.loop + 1):
                return Polled(ended=True)
            self._begin_round(replace(self._at, loop=self._at.loop + 1, row=0))
            self._next_round = True
        due = self._wait(timeout_s)
        return self._send(due) if due > self._at.row else Polled()

    def watermark_ns(self) -> int | None:
        """No older row will come: just before the next row, or where the pace has come to before that."""
        if self._at.row == 0:
            return None
        if self._at.row >= len(self._times):
            return int(self._times[-1])
        before_next = int(self._times[self._at.row]) - 1
        virtual = self._pacer.virtual_ns()
        return before_next if virtual is None else min(before_next, max(virtual, int(self._times[self._at.row - 1])))

    def close(self) -> None:
        self._data = None

    def rows_left(self) -> int | None:
        """Rows that are still to be sent; None: it begins again at the end."""
        return None if self._settings.loop else len(self._times) - self._at.row

    @property
    def finished_before(self) -> bool:
        """Whether the position that it started from was already behind the last row."""
        return not self._settings.loop and self._at.row >= len(self._times) and not self._rejected_left()

    @property
    def _dataset(self) -> Dataset:
        if self._data is None:
            raise RuntimeError("poll() before start()")
        return self._data

    def _rejected_left(self) -> bool:
        return self._at.rejected < len(self._dataset.rejected)

    def _begin_round(self, at: Position) -> None:
        self._at = at
        self._times: Ints = self._rounds.times(self._dataset.tape.time_ns, at.loop)
        self._pacer.begin(self._times, at.row)

    def _hello(self) -> Hello:
        run = f"{self._at.files}/{self._at.run}/{self._at.loop}"
        return Hello(
            source=self._source,
            mode="historical",
            run_id=hashlib.blake2b(run.encode(), digest_size=8).hexdigest(),
            lateness_ns=self._lateness_ns,
        )

    def _wait(self, timeout_s: float) -> int:
        """The row up to which rows are due, after at most `timeout_s`."""
        row = self._at.row
        wait = min(timeout_s, self._pacer.wait_s(self._times, row))
        if wait > 0:
            self._clock.sleep(wait)
        return self._pacer.due(self._times, row)

    def _send(self, due: int) -> Polled:
        row, tape = self._at.row, self._dataset.tape
        batches = tape.batches(
            row, due, self._source, self._clock.now_ns(),
            shifted_ns=self._times[row:due] if self._at.loop else None,
            again=self._at.loop,
            window_ns=min(_WINDOW_NS, self._lateness_ns // 4),
        )  # fmt: skip
        hello = self._hello() if self._next_round else None
        self._next_round = False
        self._at = replace(self._at, row=due)
        ended = due == len(tape) and not self._settings.loop
        return Polled(
            batches, self._at.text(), hello=hello, goodbye_watermark_ns=COMPLETE if ended else None, ended=ended
        )
