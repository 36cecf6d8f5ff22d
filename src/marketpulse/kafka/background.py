"""A call whose answer may never come, in a thread that nobody waits for."""

import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

T = TypeVar("T")


def in_background(call: Callable[[], T], name: str) -> "Future[T]":
    """Begin the call in a thread of this name; its result, or what it raises, comes as the answer. The end of the process
    does not wait for it."""
    answer: Future[T] = Future()

    def run() -> None:
        try:
            answer.set_result(call())
        except BaseException as error:  # noqa: BLE001  it is the asker's
            answer.set_exception(error)

    threading.Thread(target=run, name=name, daemon=True).start()
    return answer
