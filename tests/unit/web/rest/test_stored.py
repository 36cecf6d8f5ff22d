import asyncio
import threading

import pyarrow as pa
import pytest

from marketpulse.errors import Retryable
from marketpulse.model.adjusting import Adjustments
from marketpulse.ports import AlertSpan, BarSpan
from marketpulse.web.rest.stored import AT_ONCE, WAITING_MAX, Stored


class Slow:
    """ports.History that answers once it is let."""

    def __init__(self) -> None:
        self.let = threading.Event()
        self.closed = False

    def bars(self, span: BarSpan) -> pa.Table:
        assert self.let.wait(30)
        return pa.table({"limit": [span.limit]})

    def adjustments(self, symbol: str, timeframe: str) -> Adjustments:  # noqa: ARG002
        return Adjustments()

    def alerts(self, span: AlertSpan) -> pa.Table:
        return pa.table({"limit": [span.limit]})

    def close(self) -> None:
        self.closed = True


def test_more_than_run_and_wait_are_told_to_come_again_and_the_others_are_answered() -> None:
    slow = Slow()
    opened: list[Slow] = []
    stored = Stored(lambda: opened.append(slow) or slow)  # type: ignore[func-returns-value]

    async def crowd() -> list[int]:
        asked = [
            asyncio.create_task(stored.ask(lambda h, n=n: h.bars(BarSpan("A", "1m", limit=n))))  # type: ignore[misc]
            for n in range(AT_ONCE + WAITING_MAX)
        ]
        await asyncio.sleep(0)
        with pytest.raises(Retryable, match="try again"):
            await stored.ask(lambda history: history.alerts(AlertSpan()))
        slow.let.set()
        return [table["limit"][0].as_py() for table in await asyncio.gather(*asked)]

    assert asyncio.run(crowd()) == list(range(AT_ONCE + WAITING_MAX))
    stored.close()
    assert (opened, slow.closed) == ([slow], True)


def test_a_history_that_nobody_asked_is_never_opened() -> None:
    def never() -> Slow:
        raise AssertionError

    Stored(never).close()
