"""Questions beside a feed against a vendor on loopback: whatever goes wrong, each record comes once."""

import json
import random
import time
from typing import Any

import pytest
from pydantic import SecretStr

from keyed_exchange import KEY, SECRET, AlpacaWords, KeyedExchange, running
from marketpulse.clock import SystemClock
from marketpulse.model.timeframe import DAY_NS
from marketpulse.settings import AlpacaSettings
from marketpulse.sources.actions.ledger import Ledger
from marketpulse.sources.actions.told import iso
from marketpulse.sources.actions.vendors import AlpacaActions
from marketpulse.sources.news.ledger import NewsLedger
from marketpulse.sources.news.vendors import AlpacaNews
from marketpulse.sources.rest import Backoff, Rate, RestClient
from marketpulse.sources.streaming.aside import Aside
from marketpulse.sources.streaming.timed import TimedSource
from marketpulse.sources.streaming.vendor import Credentials
from marketpulse.sources.streaming.vendors import TIMED
from vendor_server import Reply, Request, VendorServer, vendor

TODAY = time.time_ns() // DAY_NS
SYMBOLS = ("AAPL", "BRK.B")


def told(request: Request) -> Reply:
    """Two splits of each symbol, one of them ahead, a dividend, and a piece of news about both."""
    symbol = request.parameters["symbols"]
    if request.path == "/v1beta1/news":
        at = f"{iso(TODAY)}T{time.strftime('%H:%M:%S', time.gmtime())}Z"
        piece = {
            "id": 7,
            "headline": "Both",
            "created_at": at,
            "url": "https://example.com/7",
            "symbols": list(SYMBOLS),
        }
        return Reply.json({"news": [piece], "next_page_token": None})
    assert request.path == "/v1/corporate-actions"
    splits = [{"symbol": symbol, "new_rate": 2, "old_rate": 1, "ex_date": iso(TODAY + days)} for days in (-40, 3)]
    paid = [
        {"symbol": symbol, "rate": 0.5, "ex_date": iso(TODAY)},
        {"symbol": symbol, "rate": "", "ex_date": iso(TODAY)},
    ]
    return Reply.json({"corporate_actions": {"forward_splits": splits, "cash_dividends": paid}})


def opened(server: VendorServer) -> Aside:
    client = RestClient(
        "feed", server.url, Rate(1_000, 1.0, burst=500), backoff=Backoff(0.01, 0.02, rng=random.Random(3))
    )
    return Aside(
        "feed", client, Ledger(AlpacaActions(), "feed", SYMBOLS), NewsLedger(AlpacaNews(), "feed", SYMBOLS, 3_600), again_s=0.01
    )  # fmt: skip


def gathered(aside: Aside, server: VendorServer, requests: int) -> tuple[list[dict[str, Any]], list[str]]:
    """Until so many requests are answered, and nothing is under way."""
    bodies: list[dict[str, Any]] = []
    reasons: list[str] = []
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        brought = aside.poll(time.time_ns())
        bodies += [dict(body) for body in brought.bodies]
        reasons += [item.reason for item in brought.rejected]
        if len(server.requests) >= requests and aside._asked is None:
            break
        time.sleep(0.002)
    return bodies, reasons


def test_each_comes_once_over_faults_and_restarts() -> None:
    faults = [Reply(500), Reply(429, headers={"Retry-After": "0"}), Reply(200, b"<html></html>")]

    def answer(request: Request) -> Reply:
        return faults.pop() if faults else told(request)

    with vendor(answer) as server:
        aside = opened(server)
        aside.start({})
        bodies, reasons = gathered(aside, server, 7)
        kept = json.loads(json.dumps(aside.position()))
        aside.close()
        aside.client.close()
        assert sorted((b["type"], b["symbol"]) for b in bodies) == [
            ("dividend", "AAPL"), ("dividend", "BRK.B"), ("news", "AAPL"), ("split", "AAPL"), ("split", "BRK.B"),
        ]  # fmt: skip
        assert reasons == ["bad_answer", "bad_answer"]
        again = opened(server)
        again.start(kept)
        bodies, _ = gathered(again, server, 9)
        again.close()
        again.client.close()
        assert bodies == [], "the news are asked for again, and known"
        assert [r.path for r in server.requests[7:]] == ["/v1beta1/news"] * 2


def test_a_plan_without_them_is_said_and_asked_no_more_today() -> None:
    with vendor(lambda _: Reply.json({"message": "not in your plan"}, 422)) as server:
        aside = opened(server)
        aside.start({})
        bodies, _ = gathered(aside, server, 4)
        for _ in range(20):
            aside.poll(time.time_ns())
        aside.close()
        aside.client.close()
        assert (bodies, len(server.requests)) == ([], 4)


@pytest.mark.parametrize("wanted", [True, False])
def test_they_stand_among_the_feeds_rows_and_in_its_position(wanted: bool) -> None:
    with vendor(told) as server, running(KeyedExchange(AlpacaWords(), SYMBOLS, 60)) as exchange:

        def source_of(position: str | None, aside: bool) -> TimedSource:
            settings = AlpacaSettings(symbols=SYMBOLS, url=exchange.url, rest_url=exchange.rest_url, quotes=False)
            source = TimedSource(
                TIMED["alpaca"], settings, Credentials(SecretStr(KEY), SecretStr(SECRET)), "feed", 2 * 10**9, clock=SystemClock(),
                backoff_s=(0.02, 0.2), settle_s=0.0, aside=(lambda _, __: opened(server)) if aside else None,
            )  # fmt: skip
            source.start(position)
            return source

        def polled(source: TimedSource, enough: int) -> tuple[list[str], str | None]:
            kinds: list[str] = []
            position, deadline = None, time.monotonic() + 30
            while time.monotonic() < deadline and len(kinds) < enough:
                found = source.poll(0.02)
                kinds += [row["type"] for batch in found.batches for row in batch.to_pylist()]
                position = found.position or position
            return kinds, position

        first = source_of(None, aside=True)
        kinds, position = polled(first, 65)
        first.close()
        assert [kinds.count(kind) for kind in ("trade", "split", "dividend", "news")] == [60, 2, 2, 1]
        second = source_of(position, aside=wanted)
        kept = json.loads(json.dumps({**second._intake.position()}))
        second.close()
        assert json.loads(position or "")["beside"] == kept["beside"], "also while it is not asked for"
