"""What is asked for by REST, by ids or by time: every page, faults waited out, and what is said when it is refused."""

import time
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import orjson
import pytest

from keyed_exchange import iso
from marketpulse.settings import AlpacaSettings
from marketpulse.sources.rest.answer import Judgement, Taken
from marketpulse.sources.rest.backoff import Backoff
from marketpulse.sources.rest.client import RestClient
from marketpulse.sources.rest.limits import Rate
from marketpulse.sources.streaming import timed_refill
from marketpulse.sources.streaming.alpaca import Alpaca
from marketpulse.sources.streaming.binance import Binance
from marketpulse.sources.streaming.parsed import Print, Trade
from marketpulse.sources.streaming.refill import Found, Refill, Wanted
from marketpulse.sources.streaming.timed_intake import Lost
from marketpulse.sources.streaming.timed_refill import Pages, TimedRefill
from vendor_server import Reply, Request, VendorServer, vendor

AT = 1_772_636_767 * 10**9


def client(server: VendorServer, **more: Any) -> RestClient:
    return RestClient("r", server.url, Rate(1_000, 1.0, burst=100), backoff=Backoff(0.01, 0.02), **more)


def gathered(refill: Any, is_over: Callable[[list[Any]], bool]) -> list[Any]:
    """What a refill that runs has to say, until it is over."""
    answers: list[Any] = []
    deadline = time.monotonic() + 30
    while not is_over(answers) and time.monotonic() < deadline:
        if (one := refill.found()) is not None:
            answers.append(one)
        else:
            time.sleep(0.002)
    refill.close()
    return answers


def by_ids(server: VendorServer, wanted: Wanted, answers: int, trades_max: int = 10_000) -> list[Found]:
    refill = Refill(Binance(), client(server, judge=refused), "r", trades_max, again_s=0.01)
    refill.start()
    refill.ask(wanted)
    return gathered(refill, lambda found: len(found) == answers)


def by_time(server: VendorServer, request: Any = None) -> list[Pages]:
    settings, alpaca = AlpacaSettings(symbols=("AAPL",)), Alpaca()
    wanted = request or (lambda s, a, b, p: alpaca.history_request(settings, s, a, b, p))
    refill = TimedRefill(wanted, alpaca.parse_page, client(server), "r", 10**9, 0.0, again_s=0.01)
    refill.start()
    refill.ask("AAPL", Lost(AT, AT + 10**9))
    return gathered(refill, lambda found: bool(found) and found[-1].last)


def rows(first: int, last: int) -> Reply:
    return Reply.json([{"id": n, "price": "1", "qty": "1", "time": AT // 10**6 + n} for n in range(first, last + 1)])


def refused(status: int, body: Any) -> Judgement | None:
    return Judgement(Taken.REFUSED, "not without a key") if status == 401 else None


def ids(found: Found) -> list[int]:
    return [trade.trade_id for trade in found.trades if isinstance(trade, Trade)]


def by_id(request: Request) -> Reply:
    first, limit = int(request.parameters["fromId"]), int(request.parameters["limit"])
    return rows(first, first + limit - 1)


def page(numbers: range, following: str | None) -> Reply:
    rows = [{"t": iso(AT + n), "x": "V", "p": 10, "s": 1, "c": ["@"], "i": n, "z": "C"} for n in numbers]
    return Reply.json({"trades": {"AAPL": rows}, "next_page_token": following})


def test_a_gap_comes_in_pages_from_the_lowest_id_up_and_of_one_that_is_too_long_only_the_newest() -> None:
    with vendor(by_id) as server:
        found = by_ids(server, Wanted("BTCUSDT", 10, 1_209), 2)
        assert [(f.first, f.last, len(f.trades)) for f in found] == [(10, 1_009, 1_000), (1_010, 1_209, 200)]
        given_up, page = by_ids(server, Wanted("BTCUSDT", 1, 100), 2, trades_max=30)
    assert (given_up.first, given_up.last, given_up.trades) == (1, 70, [])
    assert "refill_trades_max (30)" in str(given_up.why)
    assert ids(page) == list(range(71, 101))


def test_what_the_vendor_lacks_is_given_up_and_where_history_is_refused_the_newest_are_looked_through() -> None:
    with vendor(lambda _: Reply.json([])) as server:
        [found] = by_ids(server, Wanted("BTCUSDT", 5, 6), 1)
        assert len(server.requests) == 4
    assert (found.first, found.last, found.why) == (5, 6, "the vendor does not give them")
    with vendor(lambda _: Reply(400, b'{"code":-1121,"msg":"Invalid symbol."}')) as server:
        [found] = by_ids(server, Wanted("FOO"), 1)
    assert found.newest
    assert Binance().unknown_symbol(str(found.why))

    def answer(request: Request) -> Reply:
        if request.path.endswith("historicalTrades"):
            return Reply(401, orjson.dumps({"code": -2014, "msg": "API-key format invalid."}))
        return rows(8, 30)

    with vendor(answer) as server:
        [found] = by_ids(server, Wanted("BTCUSDT", 5, 12), 1)
    assert set(range(8, 13)) <= set(ids(found))
    assert (found.first, found.last) == (5, 12)
    assert "API-key format invalid" in str(found.why)


def test_pages_come_in_order_with_the_overlap_and_through_faults() -> None:
    replies = [Reply(500), page(range(3), "two"), Reply(429), Reply(200, b"<html>"), page(range(3, 5), None)]
    with vendor(lambda _: replies.pop(0)) as server:
        found = by_time(server)
        assert [r.parameters.get("page_token") for r in server.requests] == [None, None, "two", "two", "two"]
        span = [server.requests[0].parameters[name] for name in ("start", "end")]
    assert span == [iso(AT - 10**9), iso(AT + 2 * 10**9)]
    ids = [[t.trade_id for t in pages.rows if isinstance(t, Print)] for pages in found]
    assert ids == [[f"20516-V-{n}" for n in range(3)], [f"20516-V-{n}" for n in range(3, 5)]]
    assert [(pages.last, pages.why) for pages in found] == [(False, None), (True, None)]


@pytest.mark.parametrize(("status", "said"), [(403, "key"), (422, "question")])
def test_what_is_refused_is_said_and_a_vendor_without_history_is_not_asked(status: int, said: str) -> None:
    with vendor(lambda _: Reply(status, b'{"message":"subscription does not permit"}')) as server:
        [pages] = by_time(server)
    assert pages.last
    assert said in str(pages.why)
    with vendor(lambda _: Reply(500)) as server:
        [pages] = by_time(server, request=lambda *_: None)
        assert server.requests == []
    assert pages.why == "the vendor has no such history"


def test_the_gaps_of_many_symbols_wait_for_the_vendors_store_side_by_side(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = SimpleNamespace(now=0.0)
    clock.monotonic = lambda: clock.now
    monkeypatch.setattr(timed_refill, "time", clock)
    settings, alpaca = AlpacaSettings(symbols=("AAPL",)), Alpaca()
    with vendor(lambda _: page(range(2), None)) as server:
        refill = TimedRefill(
            lambda *asked: alpaca.history_request(settings, *asked), alpaca.parse_page, client(server), "r", 0, 3_600.0
        )
        for n in range(3):
            refill.ask("AAPL", Lost(AT + n, AT + n + 1))
        clock.now = 3_600.0
        refill.start()
        found = gathered(refill, lambda pages: len(pages) == 3)
    assert [one.lost.from_ns - AT for one in found] == [0, 1, 2]
