import asyncio
import threading
from collections.abc import Callable

import pytest
from starlette.requests import Request

from marketpulse.errors import QueryCancelled
from marketpulse.web.turns import Busy, Turns


def request(gone: asyncio.Event) -> Request:
    async def receive() -> dict[str, str]:
        await gone.wait()
        return {"type": "http.disconnect"}

    return Request({"type": "http"}, receive)


def test_what_the_work_gives_or_raises_is_given_and_raised() -> None:
    async def run() -> int:
        turns, there = Turns("questions", 1, 1), asyncio.Event()
        assert await turns.take(request(there), lambda _: 42) == 42
        with pytest.raises(ZeroDivisionError):
            await turns.take(request(there), lambda _: 1 // 0)
        turns.close()
        return 0

    assert asyncio.run(run()) == 0


def test_one_more_than_there_is_room_for_is_told_to_come_again() -> None:
    async def run() -> list[object]:
        turns, there, go = Turns("questions", 1, 1), asyncio.Event(), threading.Event()
        held = [asyncio.create_task(turns.take(request(there), lambda _: go.wait(30))) for _ in range(2)]
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        with pytest.raises(Busy, match="1 questions are worked on and 1 wait"):
            await turns.take(request(there), lambda _: True)
        go.set()
        found = await asyncio.gather(*held)
        turns.close()
        return list(found)

    assert asyncio.run(run()) == [True, True]


@pytest.mark.parametrize("how", ["gone", "closed"])
def test_work_is_told_when_nobody_waits_for_it(how: str) -> None:
    def work(begun: threading.Event) -> Callable[[threading.Event], bool]:
        def wait(cancelled: threading.Event) -> bool:
            begun.set()
            if cancelled.wait(30):
                raise QueryCancelled("stopped")
            return True

        return wait

    async def run() -> None:
        turns, gone, begun = Turns("questions", 1, 1), asyncio.Event(), threading.Event()
        asked = asyncio.create_task(turns.take(request(gone), work(begun)))
        await asyncio.to_thread(begun.wait, 30)
        if how == "gone":
            gone.set()
        else:
            await asyncio.to_thread(turns.close)
        with pytest.raises(QueryCancelled):
            await asked
        turns.close()

    asyncio.run(run())
