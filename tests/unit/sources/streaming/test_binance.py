"""Binance's events, and anything that looks a little like one."""

from typing import Any

import orjson
from hypothesis import given

from marketpulse.model.market import REASONS
from marketpulse.settings import BinanceSettings
from marketpulse.sources.streaming.binance import Binance
from marketpulse.sources.streaming.parsed import Heard, Quote, Refusal, Trade, Unusable
from vendor_messages import BINANCE, spoilt

AT = 1_772_600_767_000_000_000


def said(name: str) -> list[Any]:
    return Binance().parse(orjson.dumps(BINANCE[name]))


def test_a_trade_is_read_with_times_in_ms_and_in_us() -> None:
    assert said("trade") == [Trade("BTCUSDT", 900, AT + 123_000_000, 61230.01, 0.015)]
    assert said("in µs") == [Trade("BTCUSDT", 901, AT + 124_456_000, 61230.02, 2.0)]


def test_a_best_bid_and_ask_has_no_time_of_its_own() -> None:
    assert said("bookTicker") == [Quote("BTCUSDT", None, 61230.0, 1.5, 61230.01, 2.25)]


def test_an_aggregate_is_marked_as_one_an_answer_is_heard_and_an_error_refuses() -> None:
    assert said("aggTrade") == [Trade("BTCUSDT", 7, AT + 124_000_000, 61230.01, 3.0, aggregate=True)]
    assert said("answer") == [Heard("answer")]
    assert said("error") == [Refusal("2: Invalid request: unknown method", for_good=False)]


def test_events_come_bare_in_arrays_and_wrapped() -> None:
    trade, bare = BINANCE["trade"], BINANCE["in µs"]
    ids = [900, 901]
    for message in ([trade, bare], {"stream": "x", "data": [trade["data"], bare]}):
        assert [t.trade_id for t in Binance().parse(orjson.dumps(message)) if isinstance(t, Trade)] == ids
    [fault, good] = Binance().parse(orjson.dumps({"stream": "x", "data": [{**bare, "p": "-1"}, bare]}))
    assert isinstance(fault, Unusable)
    assert isinstance(good, Trade)


def test_aggregates_are_asked_for_in_place_of_trades() -> None:
    vendor = Binance(aggregates=True)
    [message] = vendor.subscribe(BinanceSettings(symbols=("BTC-USDT",)), ("BTCUSDT",))
    assert orjson.loads(message)["params"] == ["btcusdt@aggTrade", "btcusdt@bookTicker"]
    assert vendor.trades_request("BTCUSDT", 5, 6).path == "/api/v3/aggTrades"
    body = b'[{"a":26,"p":"0.5","q":"4","f":27,"l":28,"T":1772600767123,"m":true,"M":true}]'
    assert vendor.parse_trades("BTCUSDT", body) == [
        Trade("BTCUSDT", 26, AT + 123_000_000, 0.5, 4.0, live=False, aggregate=True)
    ]


@given(spoilt())
def test_no_message_crashes_it_and_everything_is_said(message: bytes) -> None:
    for item in Binance().parse(message):
        if isinstance(item, Unusable):
            assert item.reason in REASONS
        if isinstance(item, Trade):
            assert item.price > 0
            assert 0 <= item.trade_id < 10**18


def test_older_trades_are_asked_for_by_id_and_many_streams_in_several_messages() -> None:
    vendor = Binance()
    request = vendor.trades_request("BTCUSDT", 10, 12)
    assert (request.path, request.params) == (
        "/api/v3/historicalTrades",
        {"symbol": "BTCUSDT", "fromId": 10, "limit": 3},
    )
    body = (
        b'[{"id":11,"price":"4","qty":"12","time":1772600767123},{"id":10,"price":"3","qty":"1","time":1772600767120}]'
    )
    assert [t.trade_id for t in vendor.parse_trades("BTCUSDT", body) if isinstance(t, Trade)] == [10, 11]
    pairs = tuple(f"A{i}USDT" for i in range(80))
    messages = vendor.subscribe(BinanceSettings(symbols=pairs), pairs)
    assert [len(orjson.loads(m)["params"]) for m in messages] == [100, 60]
