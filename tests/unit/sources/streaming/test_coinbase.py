"""Coinbase's messages, of both its feeds, and anything that looks a little like one."""

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from marketpulse.model.market import REASONS
from marketpulse.settings import CoinbaseSettings
from marketpulse.sources.streaming.coinbase import Coinbase
from marketpulse.sources.streaming.parsed import Heard, LastTrade, Quote, Refusal, Trade, Unusable
from vendor_messages import COINBASE, spoilt

AT = 1_772_600_767_000_000_000  # 2026-03-04T05:06:07Z, by `date -d`


def said(name: str) -> list[Any]:
    return Coinbase().parse(orjson.dumps(COINBASE[name]))


def test_a_match_is_a_trade_with_its_id_and_its_time_to_the_microsecond() -> None:
    assert said("match") == [Trade("BTC-USD", 71, AT + 123_456_000, 61234.56, 0.25)]
    assert said("last_match") == [Trade("BTC-USD", 70, AT - 500_000_000, 61234.0, 1.0, live=False)]


def test_a_ticker_is_a_quote_and_a_heartbeat_names_the_newest_trade() -> None:
    assert said("ticker") == [Quote("BTC-USD", AT + 200_000_000, 61234.55, 0.5, 61234.57, 0.75)]
    assert said("heartbeat") == [LastTrade("BTC-USD", 71)]


def test_advanced_trade_says_the_same_in_order_of_ids() -> None:
    assert [t.trade_id for t in said("market_trades")] == [72, 73]
    assert said("tickers") == [Quote("BTC-USD", AT + 3 * 10**9, 61235.0, 2.0, 61237.0, 3.0)]


def test_answers_are_heard_errors_are_refusals_and_the_unknown_is_kept() -> None:
    assert said("subscriptions") == [Heard("subscriptions")]
    assert said("error") == [Refusal("Failed to subscribe: FOO-USD is not a valid product", for_good=True)]
    [unknown] = Coinbase().parse(b'{"type":"surprise"}')
    assert isinstance(unknown, Unusable)
    assert unknown.reason == "unknown_type"


def test_one_spoilt_element_of_a_message_does_not_spoil_the_others() -> None:
    message = orjson.dumps([COINBASE["match"], {**COINBASE["match"], "price": "-1"}, 7])
    good, bad, none = Coinbase().parse(message)
    assert isinstance(good, Trade)
    assert isinstance(bad, Unusable)
    assert bad.reason == "bad_price"
    assert orjson.loads(bad.value or b"")["price"] == "-1"
    assert isinstance(none, Unusable)
    assert none.value == b"7"


@pytest.mark.parametrize(
    ("field", "value", "reason"),
    [
        ("price", "0", "bad_price"), ("price", "1e400", "bad_price"), ("price", "1_000", "wrong_type"),
        ("price", "nan", "wrong_type"), ("price", None, "missing_field"), ("size", "-1", "bad_size"),
        ("trade_id", True, "wrong_type"), ("trade_id", -1, "wrong_type"), ("trade_id", 1.5, "wrong_type"),
        ("time", "2026-03-04", "bad_time"), ("time", "2026-02-30T00:00:00Z", "bad_time"),
        ("time", "9999-12-31T23:59:59-23:59", "bad_time"), ("product_id", 7, "wrong_type"),
    ],
)  # fmt: skip
def test_a_field_that_cannot_be_is_named(field: str, value: object, reason: str) -> None:
    [found] = Coinbase().parse(orjson.dumps({**COINBASE["match"], field: value}))
    assert isinstance(found, Unusable)
    assert (found.reason, field in found.detail) == (reason, True)


@given(spoilt())
def test_no_message_crashes_it_and_everything_is_said(message: bytes) -> None:
    for item in Coinbase().parse(message):
        if isinstance(item, Unusable):
            assert item.reason in REASONS
        if isinstance(item, Trade):
            assert item.price > 0
            assert item.size >= 0
            assert 0 <= item.trade_id < 10**18


@given(st.binary(max_size=60))
def test_no_bytes_crash_it(message: bytes) -> None:
    assert all(isinstance(item, Unusable) for item in Coinbase().parse(message) if message[:1] not in b"{[")
    assert isinstance(Coinbase().parse_trades("BTC-USD", message), list)


def test_pages_of_older_trades_go_forward_by_their_ids() -> None:
    vendor = Coinbase()
    assert vendor.trades_request("BTC-USD", 100, 5_000).params == {"limit": 1_000, "after": 1_100}
    assert vendor.trades_request("BTC-USD", 100, 105).params == {"limit": 1_000, "after": 106}
    body = b'[{"trade_id":5,"side":"sell","size":"1","price":"2","time":"2026-03-04T05:06:07Z"},{"trade_id":4}]'
    found = vendor.parse_trades("BTC-USD", body)
    assert [type(item) for item in found] == [Unusable, Trade]


def test_it_subscribes_to_what_the_settings_want() -> None:
    settings = CoinbaseSettings(symbols=("BTC-USD",), quotes=False)
    [message] = Coinbase().subscribe(settings, ("BTC-USD",))
    assert orjson.loads(message)["channels"] == ["heartbeat", "matches"]
