"""What is asked for by time: every page, faults waited out, and why nothing comes."""

import time
from typing import Any

import pytest

from keyed_exchange import iso
from marketpulse.settings import AlpacaSettings
from marketpulse.sources.rest.backoff import Backoff
from marketpulse.sources.rest.client import RestClient
from marketpulse.sources.rest.limits import Rate
from marketpulse.sources.streaming.alpaca import Alpaca
from marketpulse.sources.streaming.parsed import Print
from marketpulse.sources.streaming.timed_intake import Lost
from marketpulse.sources.streaming.timed_refill import Pages, TimedRefill
from vendor_server import Reply, Request, VendorServer, vendor

AT = 1_772_636_767 * 10**9
SETTINGS = AlpacaSettings(symbols=("AAPL",))


def row(number: int) -> dict[str, Any]:
    return {"t": iso(AT + number), "x": "V", "p": 10, "s": 1, "c": ["@"], "i": number, "z": "C"}


def page(numbers: range, following: str | None) -> Reply:
    return Reply.json({"trades": {"AAPL": [row(n) for n in numbers]}, "next_page_token": following})


def asked(server: VendorServer, until_last: float = 30, request: Any = None) -> list[Pages]:
    client = RestClient("r", server.url, Rate(1_000, 1.0, burst=100), backoff=Backoff(0.01, 0.02))
    vendor_ = Alpaca()
    wanted = request or (lambda s, a, b, p: vendor_.history_request(SETTINGS, s, a, b, p))
    refill = TimedRefill(wanted, vendor_.parse_page, client, "r", 10**9, 0.0, again_s=0.01)
    refill.start()
    refill.ask("AAPL", Lost(AT, AT + 10**9))
    found: list[Pages] = []
    deadline = time.monotonic() + until_last
    while not (found and found[-1].last) and time.monotonic() < deadline:
        if (one := refill.found()) is not None:
            found.append(one)
        else:
            time.sleep(0.01)
    refill.close()
    return found


def test_pages_come_in_order_with_the_overlap_and_through_faults() -> None:
    replies = [Reply(500), page(range(3), "two"), Reply(429), Reply(200, b"<html>"), page(range(3, 5), None)]

    def answer(request: Request) -> Reply:
        return replies.pop(0)

    with vendor(answer) as server:
        found = asked(server)
        assert [r.parameters.get("page_token") for r in server.requests] == [None, None, "two", "two", "two"]
        assert server.requests[0].parameters["start"] == iso(AT - 10**9)
        assert server.requests[0].parameters["end"] == iso(AT + 2 * 10**9)
    ids = [[t.trade_id for t in pages.rows if isinstance(t, Print)] for pages in found]
    assert ids == [[f"20516-V-{n}" for n in range(3)], [f"20516-V-{n}" for n in range(3, 5)]]
    assert [(pages.last, pages.why) for pages in found] == [(False, None), (True, None)]


@pytest.mark.parametrize(("status", "said"), [(403, "key"), (422, "question")])
def test_what_is_refused_is_said(status: int, said: str) -> None:
    with vendor(lambda _: Reply(status, b'{"message":"subscription does not permit"}')) as server:
        [pages] = asked(server)
    assert pages.last
    assert said in str(pages.why)


def test_a_vendor_without_history_is_not_asked() -> None:
    with vendor(lambda _: Reply(500)) as server:
        [pages] = asked(server, request=lambda *_: None)
        assert server.requests == []
    assert pages.why == "the vendor has no such history"
