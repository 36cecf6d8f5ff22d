"""One vendor's WebSocket, held in a thread of its own: it reconnects, subscribes again, and never waits for the log.

    connect -> greet, subscribe -> messages -> a bounded queue
       ^                              |
       └──── full-jitter pause <──────┘ closed, silent, or half a frame

A message that finds the queue full is counted and left: its trades are missed by their ids, and asked for by REST.
"""

import queue
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from websockets.exceptions import ConnectionClosed, InvalidStatus, InvalidURI, WebSocketException
from websockets.sync.client import ClientConnection, connect

from marketpulse.clock import Clock
from marketpulse.sources.rest.backoff import Backoff
from marketpulse.sources.rest.secret import Veil
from marketpulse.telemetry import STREAM_OVERRUN, STREAM_RECONNECTS, get_logger

QUEUE_MAX = 100_000
_OPEN_S = 10.0
_PING_S = 10.0
_NAP_S = 0.25
_MESSAGE_BYTES_MAX = 16 << 20
_GOOD_S = 30.0  # a connection that lasted so long begins the pauses anew


class Item(NamedTuple):
    """What the connection has to say: a message, or that it is there or gone (`text`: why)."""

    kind: Literal["message", "connected", "lost"]
    received_ns: int
    data: bytes
    text: str = ""


@dataclass(slots=True, repr=False)  # a url may hold a key
class Connection:
    """`connected` is set while the vendor is heard. `keep` sees each item first, for a recorder.

    `greet`: what to send after each message before the first trade, None when that conversation is over. `patient`:
    whether silence is right now (the venue is closed); a dead peer shows by its missing pong all the same. `refused`:
    why the vendor did not take the key at the door.
    """

    source: str
    url: str
    subscribe: Sequence[str]
    probe: str | None
    silence_s: float
    clock: Clock
    backoff: Backoff
    keep: Callable[[Item], None] = lambda _: None
    idle: Callable[[int], None] = lambda _: None  # called with the time while nothing comes
    queue_max: int = QUEUE_MAX
    greet: Callable[[bytes], Sequence[str] | None] | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    veil: Veil = field(default_factory=Veil)
    patient: Callable[[], bool] = lambda: False
    refused: str | None = None
    queue: "queue.Queue[Item]" = field(init=False)
    connected: threading.Event = field(default_factory=threading.Event)
    trouble: str = ""
    _stop: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None

    def __post_init__(self) -> None:
        self.queue = queue.Queue(self.queue_max)

    def start(self) -> None:
        self._thread = threading.Thread(target=self._run, name=f"stream-{self.source}", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Ends the thread and the connection."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join(5.0)

    def _run(self) -> None:
        while not self._stop.is_set():
            began = self.clock.monotonic()
            why, detail = self._once()
            self.connected.clear()
            if self._stop.is_set():
                return
            if self.clock.monotonic() - began > _GOOD_S:
                self.backoff.reset()
            pause = self.backoff.next_s()
            self.trouble = f"{self.source}: {detail}; connecting again in {pause:.1f} s"
            STREAM_RECONNECTS.labels(self.source, why).inc()
            get_logger().warning("stream_lost", source=self.source, why=why, error=detail, retry_in_s=round(pause, 1))
            self._say(Item("lost", self.clock.now_ns(), b"", detail))
            self._stop.wait(pause)

    def _once(self) -> tuple[str, str]:
        """One connection from its beginning to its end: (why it ended, in words)."""
        try:
            socket = connect(
                self.url, open_timeout=_OPEN_S, ping_interval=_PING_S, ping_timeout=_PING_S, close_timeout=2.0,
                max_size=_MESSAGE_BYTES_MAX, max_queue=1_024, legacy=True,
                additional_headers=self.headers,
            )  # fmt: skip
        except InvalidURI as error:
            return "address", self.veil.text(f"{error}: correct the source's url")
        except InvalidStatus as error:
            status = error.response.status_code
            if status == 401 or (status == 403 and (error.response.body or b"").lstrip()[:1] == b"{"):
                self.refused = f"status {status}"
            return "no connection", self.veil.text(f"cannot connect to {self.url}: {error}")
        except (OSError, TimeoutError, WebSocketException, EOFError) as error:
            return "no connection", self.veil.text(f"cannot connect to {self.url}: {error or type(error).__name__}")
        try:
            with socket:
                for message in self.subscribe:
                    socket.send(message)
                if self.greet is None:
                    self._say(Item("connected", self.clock.now_ns(), b""))
                return self._listen(socket)
        except ConnectionClosed as error:
            return "closed", f"the connection was closed ({error})"
        except (OSError, WebSocketException) as error:
            return "closed", f"the connection broke ({error})"

    def _listen(self, socket: ClientConnection) -> tuple[str, str]:
        heard = self.clock.monotonic()
        probed, talking = False, self.greet is not None
        while not self._stop.is_set():
            try:
                data = socket.recv(_NAP_S, decode=False)
            except TimeoutError:
                self.idle(self.clock.now_ns())
                silent = self.clock.monotonic() - heard
                if silent >= self.silence_s and (talking or not self.patient()):
                    return "silence", f"nothing was heard for {silent:.0f} s"
                if self.probe is not None and not probed and silent >= self.silence_s / 2:
                    socket.send(self.probe)
                    probed = True
                continue
            heard, probed = self.clock.monotonic(), False
            data = self.veil.frame(data)
            if talking:
                talking = self._talk(socket, data)
            if not talking:
                self.connected.set()
            self._say(Item("message", self.clock.now_ns(), data))
        return "stopped", "asked to stop"

    def _talk(self, socket: ClientConnection, data: bytes) -> bool:
        """Answer a message of the greeting; False: it is over, and the feed begins."""
        replies = self.greet(data) if self.greet is not None else None
        if replies is None:
            self._say(Item("connected", self.clock.now_ns(), b""))
            return False
        for reply in replies:
            socket.send(reply)
        return True

    def _say(self, item: Item) -> None:
        self.keep(item)
        try:
            self.queue.put_nowait(item)
        except queue.Full:
            STREAM_OVERRUN.labels(self.source).inc()
