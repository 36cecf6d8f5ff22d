"""What is asked for by REST, page after page, and what is said when it is refused."""

import time
from typing import Any

import orjson

from marketpulse.sources.rest.answer import Judgement, Taken
from marketpulse.sources.rest.backoff import Backoff
from marketpulse.sources.rest.client import RestClient
from marketpulse.sources.rest.limits import Rate
from marketpulse.sources.streaming.binance import Binance
from marketpulse.sources.streaming.parsed import Trade
from marketpulse.sources.streaming.refill import Found, Refill, Wanted
from vendor_server import Reply, Request, VendorServer, vendor

AT_MS = 1_772_600_767_000


def rows(first: int, last: int) -> Reply:
    return Reply.json([{"id": n, "price": "1", "qty": "1", "time": AT_MS + n} for n in range(first, last + 1)])


def refused(status: int, body: Any) -> Judgement | None:
    return Judgement(Taken.REFUSED, "not without a key") if status == 401 else None


def asked(server: VendorServer, wanted: Wanted, answers: int, trades_max: int = 10_000) -> list[Found]:
    client = RestClient("r", server.url, Rate(1_000, 1.0, burst=100), judge=refused, backoff=Backoff(0.01, 0.02))
    refill = Refill(Binance(), client, "r", trades_max, again_s=0.01)
    refill.start()
    refill.ask(wanted)
    found: list[Found] = []
    deadline = time.monotonic() + 30
    while len(found) < answers and time.monotonic() < deadline:
        if (one := refill.found()) is not None:
            found.append(one)
        else:
            time.sleep(0.01)
    refill.close()
    return found


def ids(found: Found) -> list[int]:
    return [trade.trade_id for trade in found.trades if isinstance(trade, Trade)]


def by_id(request: Request) -> Reply:
    first, limit = int(request.parameters["fromId"]), int(request.parameters["limit"])
    return rows(first, first + limit - 1)


def test_a_gap_comes_in_pages_from_the_lowest_id_up() -> None:
    with vendor(by_id) as server:
        found = asked(server, Wanted("BTCUSDT", 10, 1_209), 2)
    assert [(f.first, f.last, len(f.trades)) for f in found] == [(10, 1_009, 1_000), (1_010, 1_209, 200)]


def test_of_a_gap_that_is_too_long_only_the_newest_are_asked_for() -> None:
    with vendor(by_id) as server:
        given_up, page = asked(server, Wanted("BTCUSDT", 1, 100), 2, trades_max=30)
    assert (given_up.first, given_up.last, given_up.trades) == (1, 70, [])
    assert "refill_trades_max (30)" in str(given_up.why)
    assert ids(page) == list(range(71, 101))


def test_what_the_vendor_does_not_have_is_asked_a_few_times_and_given_up() -> None:
    with vendor(lambda _: Reply.json([])) as server:
        [found] = asked(server, Wanted("BTCUSDT", 5, 6), 1)
        assert len(server.requests) == 4
    assert (found.first, found.last, found.why) == (5, 6, "the vendor does not give them")


def test_where_history_is_refused_the_newest_trades_are_looked_through() -> None:
    def answer(request: Request) -> Reply:
        if request.path.endswith("historicalTrades"):
            return Reply(401, orjson.dumps({"code": -2014, "msg": "API-key format invalid."}))
        return rows(8, 30)

    with vendor(answer) as server:
        [found] = asked(server, Wanted("BTCUSDT", 5, 12), 1)
    assert set(range(8, 13)) <= set(ids(found))
    assert (found.first, found.last) == (5, 12)
    assert "API-key format invalid" in str(found.why)


def test_a_symbol_that_nobody_knows_is_told_from_an_empty_answer() -> None:
    with vendor(lambda _: Reply(400, b'{"code":-1121,"msg":"Invalid symbol."}')) as server:
        [found] = asked(server, Wanted("FOO"), 1)
    assert found.newest
    assert Binance().unknown_symbol(str(found.why))
