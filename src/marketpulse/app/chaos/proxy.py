"""A TCP proxy between Kafka's clients and a broker: requests of transactions are lost, come late, or come twice; all of
them wait, or lose their connections.

    with KafkaProxy(broker.bootstrap, Schedule(seed)) as proxy:
        client = {"bootstrap.servers": proxy.address}

TCP doubles nothing: a request comes late, or a second time, only where its sender lost it. So whoever sends a request that
is lost here loses its connection, or gets no answer. What comes late has a connection of its own, as after a lost one.
"""

import asyncio
import contextlib
import random
import struct
import threading
from collections import Counter
from collections.abc import Coroutine
from dataclasses import dataclass
from types import TracebackType
from typing import Any, TypeVar

T = TypeVar("T")
PRODUCE, METADATA, FIND_COORDINATOR = 0, 3, 10
INIT_PRODUCER_ID, ADD_PARTITIONS, ADD_OFFSETS, END_TXN, TXN_OFFSET_COMMIT = 22, 24, 25, 26, 28
"""Numbers of requests, as https://kafka.apache.org/protocol.html#protocol_api_keys has them."""
TRANSACTIONAL = (INIT_PRODUCER_ID, ADD_PARTITIONS, ADD_OFFSETS, TXN_OFFSET_COMMIT, END_TXN)
_LOST = {INIT_PRODUCER_ID: 0.15, END_TXN: 0.25}
_INSIDE = (PRODUCE, ADD_PARTITIONS, ADD_OFFSETS, TXN_OFFSET_COMMIT, END_TXN)
_SIZE, _HEAD, _PORT = struct.Struct(">i"), struct.Struct(">hhi"), struct.Struct(">i")


@dataclass(frozen=True, slots=True)
class Loss:
    """What becomes of a request: whether it arrives now, whether (also) in a later transaction, and whether its sender
    loses the connection; else there is no answer."""

    arrives: bool
    comes_late: bool
    cuts: bool


class Schedule:
    """Which requests are lost, drawn by a seed: few, most of them ends, and gladly the one in front of which another came late."""

    def __init__(self, seed: int, most: int = 9) -> None:
        self._random, self._left = random.Random(seed), most

    def __call__(self, api: int, after_a_late_one: bool) -> Loss | None:
        draw = self._random.random
        if api not in TRANSACTIONAL or not self._left or draw() > (0.8 if after_a_late_one else _LOST.get(api, 0.05)):
            return None
        self._left -= 1
        return Loss(arrives=draw() < 0.5, comes_late=draw() < 0.8, cuts=draw() < (0.2 if after_a_late_one else 0.8))

    def is_time(self, api: int) -> bool:
        """Whether a late request arrives before the one that is there now."""
        return self._random.random() < (0.8 if api == ADD_OFFSETS else 0.2)


class OneLoss(Schedule):
    """The next request of number `api` is lost; what comes late waits for `deliver_all`."""

    def __init__(self, api: int, loss: Loss) -> None:
        super().__init__(0)
        self.api, self._loss = api, loss

    def __call__(self, api: int, after_a_late_one: bool) -> Loss | None:  # noqa: ARG002
        if api != self.api:
            return None
        self.api = -1
        return self._loss

    def is_time(self, api: int) -> bool:  # noqa: ARG002
        return False


class KafkaProxy:
    """Listens on loopback in a thread of its own. `late` counts what has come late, by its number and the broker's answer."""

    def __init__(self, broker: str, schedule: Schedule) -> None:
        host, _, port = broker.rpartition(":")
        self._broker, self.schedule = (host, int(port)), schedule
        self._loop = asyncio.new_event_loop()
        self._held: list[tuple[int, bytes]] = []  # (how many transactions had begun, the request)
        self._begun, self._has_ended = 0, True
        self._ways: set[asyncio.Future[None]] = set()  # of all connections, both ways of each
        self.late: Counter[int] = Counter()
        self.hides_brokers = False  # from answers about the cluster, as one that is fenced does
        self._open = asyncio.Event()  # while it is not set, nothing passes
        self._open.set()
        self._server: asyncio.Server
        self._port = 0

    @property
    def address(self) -> str:
        return f"{self._broker[0]}:{self._port}"

    def hold(self) -> None:
        """Let nothing pass, either way, until `release`."""
        self._loop.call_soon_threadsafe(self._open.clear)

    def release(self) -> None:
        self._loop.call_soon_threadsafe(self._open.set)

    def cut(self) -> int:
        """End all connections; returns how many ways there were."""

        async def cut() -> int:
            for way in self._ways:
                way.cancel()
            return len(self._ways)

        return self._run(cut())

    def deliver_all(self) -> None:
        """Let everything arrive that is still held back."""
        self._run(self._deliver(2**62))

    def __enter__(self) -> "KafkaProxy":
        threading.Thread(target=self._loop.run_forever, name="kafka proxy", daemon=True).start()
        self._run(self._listen())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._run(self._stop())
        self._loop.call_soon_threadsafe(self._loop.stop)

    def _run(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(60)

    async def _listen(self) -> None:
        self._server = await asyncio.start_server(self._serve, self._broker[0], 0)
        self._port = self._server.sockets[0].getsockname()[1]

    async def _stop(self) -> None:
        self._server.close()
        for way in self._ways:
            way.cancel()
        while self._ways:
            await asyncio.sleep(0)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            answers, requests = await asyncio.open_connection(*self._broker)
        except OSError:  # it is away, and so are we
            writer.close()
            return
        apis: dict[int, int] = {}
        ways = [
            asyncio.ensure_future(self._forward_requests(reader, requests, apis)),
            asyncio.ensure_future(self._forward_answers(answers, writer, apis)),
        ]
        self._ways.update(ways)
        await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        for way in ways:
            way.cancel()
        await asyncio.gather(*ways, return_exceptions=True)
        for end in (writer, requests):
            end.close()
        self._ways.difference_update(ways)

    async def _forward_requests(
        self, reader: asyncio.StreamReader, broker: asyncio.StreamWriter, apis: dict[int, int]
    ) -> None:
        while True:
            frame = await _read_frame(reader)
            api, _, correlation = _HEAD.unpack_from(frame, _SIZE.size)
            apis[correlation] = api
            await self._open.wait()
            loss = await self._loss_of(api)
            if loss is not None and loss.arrives:
                await self._ask(frame)
            if loss is not None and loss.comes_late:
                self._held.append((self._begun, frame))
            if api in (ADD_PARTITIONS, ADD_OFFSETS) and self._has_ended:
                self._begun, self._has_ended = self._begun + 1, False
            elif api in (INIT_PRODUCER_ID, END_TXN):
                self._has_ended = True
            if loss is None:
                broker.write(frame)
                await broker.drain()
            elif loss.cuts:
                return

    async def _loss_of(self, api: int) -> Loss | None:
        came = 0
        if api in _INSIDE and not self._has_ended and self.schedule.is_time(api):
            came = await self._deliver(self._begun)
        return self.schedule(api, came > 0)

    async def _forward_answers(
        self, broker: asyncio.StreamReader, writer: asyncio.StreamWriter, apis: dict[int, int]
    ) -> None:
        host = self._broker[0].encode()
        there, here = (host + _PORT.pack(port) for port in (self._broker[1], self._port))
        while True:
            frame = await _read_frame(broker)
            await self._open.wait()
            api = apis.pop(_SIZE.unpack_from(frame, _SIZE.size)[0], None)
            if api in (METADATA, FIND_COORDINATOR):
                frame = frame.replace(there, here)
            if api == METADATA and self.hides_brokers:
                frame = _without_its_broker(frame)
            writer.write(frame)
            await writer.drain()

    async def _deliver(self, begun: int) -> int:
        """Let the requests of transactions before this one arrive; returns how many."""
        due = [frame for at, frame in self._held if at < begun]
        self._held = [(at, frame) for at, frame in self._held if at >= begun]
        for frame in due:
            self.late[_HEAD.unpack_from(frame, _SIZE.size)[0]] += 1
            await self._ask(frame)
        return len(due)

    async def _ask(self, frame: bytes) -> None:
        """Send a request over a connection of its own, and wait until the broker has done with it."""
        with contextlib.suppress(asyncio.IncompleteReadError, OSError):
            reader, writer = await asyncio.open_connection(*self._broker)
            writer.write(frame)
            await _read_frame(reader)
            writer.close()


def _without_its_broker(frame: bytes) -> bytes:
    """The Metadata answer (version 9 to 12) of a broker alone, as it is while that is fenced: no broker, no controller.

    size, correlation id, tags, throttle time (13 bytes) | brokers: count + 1 = 2, one of 20 bytes | cluster id | controller
    """
    assert frame[13] == 2  # noqa: S101  (one broker, as ours is)
    body = bytearray(frame[_SIZE.size : 13] + b"\1" + frame[34:])
    controller = 10 + body[10]  # the cluster id's length + 1 stands before it
    body[controller : controller + 4] = _SIZE.pack(-1)
    return _SIZE.pack(len(body)) + bytes(body)


async def _read_frame(reader: asyncio.StreamReader) -> bytes:
    """A request or an answer with its size in front."""
    size = await reader.readexactly(_SIZE.size)
    return size + await reader.readexactly(_SIZE.unpack(size)[0])
