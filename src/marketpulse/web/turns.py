"""Slow questions of pages: in threads of their own, so many at once, so many waiting, and stopped with who asked."""

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from starlette.requests import Request

from marketpulse.errors import MarketPulseError, QueryCancelled

T = TypeVar("T")


class Busy(MarketPulseError):
    """All places are taken: come again in a moment."""


class Turns:
    """`at_once` questions run and `waiting_max` wait; one more raises Busy."""

    def __init__(self, name: str, at_once: int, waiting_max: int) -> None:
        self._name = name
        self._at_once = at_once
        self._waiting_max = waiting_max
        self._pool = ThreadPoolExecutor(at_once, thread_name_prefix=name)
        self._asked: set[threading.Event] = set()

    async def take(
        self, request: Request, work: Callable[[threading.Event], T], cancelled: threading.Event | None = None
    ) -> T:
        """What the work gives. Its event (`cancelled`, where one is given) is set when the client has gone, or the
        server stops.

        Raises what the work does, Busy, and QueryCancelled when the client has gone.
        """
        if len(self._asked) >= self._at_once + self._waiting_max:
            raise Busy(f"{self._at_once} {self._name} are worked on and {self._waiting_max} wait: try again")
        cancelled = threading.Event() if cancelled is None else cancelled
        self._asked.add(cancelled)
        gone = asyncio.create_task(hung_up(request))
        done = asyncio.get_running_loop().run_in_executor(self._pool, _in_turn, work, cancelled)
        either: list[asyncio.Future[Any]] = [gone, done]
        try:
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
            if not done.done():
                cancelled.set()
            return await done
        except asyncio.CancelledError:
            raise QueryCancelled("nobody waits for it any more") from None
        finally:
            cancelled.set()
            gone.cancel()
            self._asked.discard(cancelled)

    def close(self) -> None:
        """To be called from any thread."""
        for cancelled in list(self._asked):
            cancelled.set()
        self._pool.shutdown(wait=True, cancel_futures=True)


def _in_turn(work: Callable[[threading.Event], T], cancelled: threading.Event) -> T:
    if cancelled.is_set():
        raise QueryCancelled("the client has gone before its turn came")
    return work(cancelled)


async def hung_up(request: Request) -> None:
    """Returns when the client has gone."""
    while (await request.receive())["type"] != "http.disconnect":
        pass
