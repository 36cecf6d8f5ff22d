"""Questions take turns: so many are worked on, so many wait, more are told to come again."""

import asyncio
import threading
from unittest.mock import Mock

import pyarrow as pa
import pytest
from starlette.requests import Request

from marketpulse.errors import QueryCancelled, Retryable
from marketpulse.ports import AlertSpan, BarSpan
from marketpulse.web.rest.stored import AT_ONCE, WAITING_MAX, Stored
from marketpulse.web.turns import Busy, Turns


def request(gone: asyncio.Event) -> Request:
    async def receive() -> dict[str, str]:
        await gone.wait()
        return {"type": "http.disconnect"}

    return Request({"type": "http"}, receive)


def test_what_the_work_gives_or_raises_is_given_and_raised_and_one_more_than_there_is_room_for_comes_again() -> None:
    async def run() -> list[object]:
        turns, there, go = Turns("questions", 1, 1), asyncio.Event(), threading.Event()
        assert await turns.take(request(there), lambda _: 42) == 42
        with pytest.raises(ZeroDivisionError):
            await turns.take(request(there), lambda _: 1 // 0)
        held = [asyncio.create_task(turns.take(request(there), lambda _: go.wait(30))) for _ in range(2)]
        for _ in held:
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
    begun = threading.Event()

    def work(cancelled: threading.Event) -> bool:
        begun.set()
        if cancelled.wait(30):
            raise QueryCancelled("stopped")
        return True

    async def run() -> None:
        turns, gone = Turns("questions", 1, 1), asyncio.Event()
        asked = asyncio.create_task(turns.take(request(gone), work))
        await asyncio.to_thread(begun.wait, 30)
        if how == "gone":
            gone.set()
        else:
            await asyncio.to_thread(turns.close)
        with pytest.raises(QueryCancelled):
            await asked
        turns.close()

    asyncio.run(run())


def test_more_than_run_and_wait_are_told_to_come_again_and_the_others_are_answered() -> None:
    let = threading.Event()

    def bars(span: BarSpan) -> pa.Table:
        assert let.wait(30)
        return pa.table({"limit": [span.limit]})

    slow = Mock(spec=["bars", "alerts", "close"], bars=bars)
    opened = Mock(return_value=slow)
    stored = Stored(opened)

    async def crowd() -> list[int]:
        asked = [
            asyncio.create_task(stored.ask(lambda h, n=n: h.bars(BarSpan("A", "1m", limit=n))))  # type: ignore[misc]
            for n in range(AT_ONCE + WAITING_MAX)
        ]
        await asyncio.sleep(0)
        with pytest.raises(Retryable, match="try again"):
            await stored.ask(lambda history: history.alerts(AlertSpan()))
        let.set()
        return [table["limit"][0].as_py() for table in await asyncio.gather(*asked)]

    Stored(opened).close()
    assert not opened.called, "a history that nobody asked is never opened"
    assert asyncio.run(crowd()) == list(range(AT_ONCE + WAITING_MAX))
    stored.close()
    assert (opened.call_count, slow.close.called) == (1, True)
