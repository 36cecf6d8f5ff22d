"""A page's WebSocket as the server holds it: what a page does not take costs a bounded room, and ends."""

import asyncio
from typing import cast

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

WAITING_BYTES_MAX = 64 * 1024  # beside the one frame that goes over it
KERNEL_BYTES = 256 * 1024  # what the kernel takes in for a page: else it grows to megabytes
LINGER_S = 5.0  # for a closing word to be taken


class PageSocket(WebSocketsSansIOProtocol):
    """A transport that closes waits until all is taken, for a page that never reads without end: it is cut off."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        cast(asyncio.WriteTransport, transport).set_write_buffer_limits(high=WAITING_BYTES_MAX)

    async def run_asgi(self) -> None:
        try:
            await super().run_asgi()
        finally:
            self.loop.call_later(LINGER_S, self._cut_off)

    def keepalive_timeout(self) -> None:
        super().keepalive_timeout()
        self._cut_off()

    def _cut_off(self) -> None:
        if not self.disconnected:
            self.transport.abort()
