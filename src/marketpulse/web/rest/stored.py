"""What is stored, asked from the web server: in threads of its own, so many at once, so many waiting."""

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from marketpulse.errors import Retryable
from marketpulse.ports import History

AT_ONCE = 2
WAITING_MAX = 32
T = TypeVar("T")


class Stored:
    """The history behind the routes. It is opened with the first question."""

    def __init__(self, open_history: Callable[[], History]) -> None:
        self._open_history = open_history
        self._history: History | None = None
        self._opening = threading.Lock()
        self._pool = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="stored")
        self._asked = 0

    async def ask(self, question: Callable[[History], T]) -> T:
        """Raises what the history's methods do, and Retryable when too many wait."""
        if self._asked >= AT_ONCE + WAITING_MAX:
            raise Retryable(f"{AT_ONCE} requests read what is stored and {WAITING_MAX} wait: try again")
        self._asked += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._pool, lambda: question(self._open()))
        finally:
            self._asked -= 1

    def close(self) -> None:
        """To be called from any thread, once the server has stopped."""
        self._pool.shutdown(wait=True, cancel_futures=True)
        if self._history is not None:
            self._history.close()

    def _open(self) -> History:
        with self._opening:
            if self._history is None:
                self._history = self._open_history()
            return self._history
