"""A connection of the page's server: how many there may be, and how long a request may take to arrive."""

import asyncio

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from marketpulse.telemetry import REQUESTS_REFUSED

ARRIVES_WITHIN_S = 10.0  # a request's head and body, from the first byte on; and the first byte
CONNECTIONS_MAX = 800  # a process may open 1,024 files, unless told otherwise
PER_ADDRESS_MAX = 600  # 500 pages and their requests, all behind one proxy
_LATE = b"HTTP/1.1 408 Request Timeout\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"


class PageConnection(H11Protocol):
    """Close a connection that is one too many, or whose request has not arrived in time."""

    _deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        address = self.client and self.client[0]
        same = sum((getattr(one, "client", None) or (None,))[0] == address for one in self.connections)
        if len(self.connections) > CONNECTIONS_MAX or same > PER_ADDRESS_MAX:
            REQUESTS_REFUSED.labels("connections").inc()
            transport.abort()
            return
        self._deadline = self.loop.call_later(ARRIVES_WITHIN_S, self._close_late)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        state = self.conn.their_state
        arriving = state is h11.SEND_BODY or (state is h11.IDLE and bool(self.conn.trailing_data[0]))
        if not arriving or self not in self.connections:  # a page's socket took over
            self._stop_waiting()
        elif self._deadline is None:
            self._deadline = self.loop.call_later(ARRIVES_WITHIN_S, self._close_late)

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_waiting()
        super().connection_lost(exc)

    def _stop_waiting(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _close_late(self) -> None:
        REQUESTS_REFUSED.labels("late").inc()
        if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            self.transport.write(_LATE)
        self.transport.close()
