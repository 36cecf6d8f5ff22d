"""A feed whose ids do not count into the real broker, its process killed again and again: each trade is in the log."""

from collections import Counter
from typing import Any

import pytest

from feed_processes import FeedProcess
from given_settings import changed
from keyed_exchange import KEY, SECRET, AlpacaWords, KeyedExchange, running
from marketpulse.settings import AlpacaSettings, KeySettings, Settings

pytestmark = [pytest.mark.integration, pytest.mark.timeout(240)]

PAIRS = ("BTC/USD", "ETH/USD")  # they trade at any hour, so this test may run at any


def test_a_feed_that_is_killed_and_faulty_brings_every_trade_and_none_twice(kafka_settings: Settings) -> None:
    faulty = KeyedExchange(AlpacaWords(), PAIRS, 3_000, seed=7, fault_rate=0.005, every_s=0.005, page_rows=500)
    with running(faulty) as exchange:
        source = AlpacaSettings(
            symbols=PAIRS, url=exchange.url, rest_url=exchange.rest_url, feed="crypto", quotes=False,
            requests_per_minute=6_000,
        )  # fmt: skip
        keys = KeySettings.model_validate({"alpaca": KEY, "alpaca_secret": SECRET})
        with FeedProcess(changed(kafka_settings, keys=keys), source, "alpaca") as feed:
            feed.run_killed(exchange, [500] * 2, lambda: exchange.count)
            rows = feed.rows()
    found = [row for row in rows if row["type"] == "trade"]
    told: Counter[Any] = Counter((r["symbol"], r["event_time_ns"], r["price"], r["size"]) for r in found)
    happened: Counter[Any] = Counter((t.symbol.replace("/", "-"), t.at_ns, t.price, t.size) for t in exchange.tape)
    gaps = [(r["symbol"], r["state"], r["from_ns"], r["to_ns"]) for r in rows if r["type"] == "gap"]
    assert (happened - told, told - happened) == (Counter(), Counter()), gaps
    assert {state for _, state, _, _ in gaps} == {"found", "healed"}
    assert KEY not in str(rows)
