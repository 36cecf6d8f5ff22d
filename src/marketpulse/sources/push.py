"""Rows that others push by HTTP, as a source: understood as files are, in the log before the answer.

    requests that wait -> understood one by one -> the log, with their names in the position -> `committed` -> answers

A request may carry an `Idempotency-Key`. Keys are committed with the rows, so a request that is repeated because its
answer was lost, or because this process died, is in the log once.
"""

import hashlib
import json
from collections.abc import Callable, Sequence

import numpy as np
import orjson
import pyarrow as pa

from marketpulse.clock import Clock, SystemClock
from marketpulse.errors import Fatal, SettingsError
from marketpulse.ports import Hello, Polled, RejectedInput
from marketpulse.settings import HttpSettings
from marketpulse.sources.arrivals import Arrivals
from marketpulse.sources.json_rows import from_records
from marketpulse.sources.kafka_window import TopicReader, Understood
from marketpulse.sources.push_requests import Push, Waiting
from marketpulse.sources.push_server import PushServer

_KEYS_MAX = 150  # names of requests that a position keeps: 18 bytes each
_SHOWN_FAULTS = 10
ORIGIN = "pushed"


class HttpSource:
    """A `Source` that listens. `committed` has to be called when what the last poll gave is durable in the log."""

    def __init__(
        self,
        settings: HttpSettings,
        source: str,
        *,
        lateness_ns: int,
        clock: Clock | None = None,
        alive: Callable[[], None] = lambda: None,
    ) -> None:
        if settings.token is None:
            raise SettingsError(
                f"who pushes to {source} needs a token: set MARKETPULSE_SOURCES__NAME__TOKEN (NAME is the source's name "
                "in the configuration) in the environment or in .env; 20 characters or more"
            )
        self._settings = settings
        self._source = source
        self._lateness_ns = max(1, lateness_ns)
        self._clock = clock or SystemClock()
        self._alive = alive
        self._waiting = Waiting(settings.waiting_bytes)
        self._reader = TopicReader(ORIGIN, settings.mapping, where="the rows")
        self._arrivals = Arrivals()
        self._newest_ns: int | None = None
        self._keys: list[str] = []
        self._hands: list[Push] = []  # given to the log, not durable yet
        self._runs = 0
        self._server = PushServer(settings, source, settings.token.get_secret_value(), self._waiting, self._clock)

    @property
    def url(self) -> str:
        return self._server.url

    def start(self, position: str | None) -> Hello:
        found = json.loads(position) if position else {}
        self._keys = list(found.get("keys", []))
        self._runs = int(found.get("runs", 0)) + 1
        return Hello(
            source=self._source,
            mode=self._settings.mode,
            run_id=hashlib.blake2b(f"{self._source}/{self._runs}".encode(), digest_size=8).hexdigest(),
            lateness_ns=self._lateness_ns,
        )

    def poll(self, timeout_s: float) -> Polled:
        """The rows of all requests that wait. A request that cannot be understood is answered at once."""
        pushes = self._waiting.take(timeout_s, self._clock.monotonic())
        self._alive()
        batches: list[pa.RecordBatch] = []
        rejected: list[RejectedInput] = []
        for push in pushes:
            some, faults = self._understand(push)
            batches += some
            rejected += faults
        self._hands = list(pushes)
        if not batches and not rejected:
            self.committed()
            return Polled()
        return Polled(batches, self._position(), rejected=rejected)

    def committed(self) -> None:
        """What the last poll gave is durable: its requests are answered."""
        hands, self._hands = self._hands, []
        if hands:
            self._waiting.stored(hands)

    def watermark_ns(self) -> int | None:
        if not self._waiting.empty() or self._hands:
            return None
        if self._settings.mode == "historical":
            return None if self._newest_ns is None else self._newest_ns - self._lateness_ns
        return self._arrivals.promise_ns(self._clock.now_ns(), self._lateness_ns)

    def close(self) -> None:
        """Nothing more is taken; who still waits is told to come again."""
        left = [*self._hands, *self._waiting.take(0.0, self._clock.monotonic())]
        self._hands = []
        for push in left:
            push.status = 503
            push.outcome = {"error": "stopping: repeat with the same Idempotency-Key", "retry_after_s": 1}
        self._waiting.stored(left)
        self._server.close()

    # --- one request ---

    def _understand(self, push: Push) -> tuple[Sequence[pa.RecordBatch], Sequence[RejectedInput]]:
        """Its rows and dead letters; its outcome is noted in it."""
        digest = None if push.key is None else hashlib.blake2b(push.key.encode(), digest_size=8).hexdigest()
        if digest is not None and digest in self._keys:
            push.status, push.outcome = 200, {"accepted": 0, "rejected": 0, "repeated": True}
            return (), ()
        try:
            found = self._read(push)
        except Fatal as error:
            push.status, push.outcome = 422, {"error": str(error)}
            return (), ()
        if found is None:
            push.status, push.outcome = (
                422,
                {"error": "the length of these bars cannot be told: set mapping.timeframe"},
            )
            return (), ()
        self._note(found)
        push.status = 200
        push.outcome = {
            "accepted": len(found.tape),
            "rejected": len(found.rejected),
            "faults": [{"row": f.row, "reason": f.reason, "detail": f.detail} for f in found.rejected[:_SHOWN_FAULTS]],
        }
        if digest is not None:
            self._keys = [*self._keys, digest][-_KEYS_MAX:]
        batches = found.tape.batches(0, len(found.tape), self._source, push.received_ns) if len(found.tape) else []
        return batches, found.rejected

    def _read(self, push: Push) -> Understood | None:
        """Raises Fatal when nothing at all of it can be understood."""
        values, numbers = _records(push.body)
        raw, of_record = from_records(values, ORIGIN, numbers)
        arrived = np.full(len(of_record), push.received_ns, np.int64)
        return self._reader.understand(raw, arrived, self._settings.mode == "live")

    def _note(self, found: Understood) -> None:
        if len(found.tape):
            newest = int(found.tape.time_ns[-1])
            self._newest_ns = newest if self._newest_ns is None else max(newest, self._newest_ns)
        self._arrivals.note(found.delays_ns, self._clock.monotonic())

    def _position(self) -> str:
        return json.dumps({"runs": self._runs, "keys": self._keys}, separators=(",", ":"))


def _records(body: bytes) -> tuple[list[bytes], list[int]]:
    """(JSON values, their line numbers from 1): one array or object over any lines, or one value a line."""
    try:
        orjson.loads(body)
    except orjson.JSONDecodeError:
        lines = [(number, line) for number, line in enumerate(body.split(b"\n"), start=1) if line.strip()]
        return [line for _, line in lines], [number for number, _ in lines]
    return [body], [1]
