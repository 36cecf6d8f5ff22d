"""Every vendor's messages, what each promises, and anything that looks a little like one; fields, ids, pairs and rows."""

from datetime import UTC, datetime
from operator import add
from typing import Any, get_args

import msgpack
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr, ValidationError

from examples import examples
from marketpulse import settings as tree
from marketpulse.errors import ParameterError
from marketpulse.model.market import BAR_IN, EVENT, QUOTE, REASONS, TRADE
from marketpulse.sources.streaming import fields as read
from marketpulse.sources.streaming import parsed
from marketpulse.sources.streaming.alpaca import Alpaca
from marketpulse.sources.streaming.binance import Binance
from marketpulse.sources.streaming.coinbase import Coinbase
from marketpulse.sources.streaming.delays import Delays
from marketpulse.sources.streaming.fields import Unfit
from marketpulse.sources.streaming.finnhub import Finnhub
from marketpulse.sources.streaming.parsed import Heard, Parsed, Print, Quote, Refusal, Trade, Unusable
from marketpulse.sources.streaming.polygon import Polygon
from marketpulse.sources.streaming.rows import Rows
from marketpulse.sources.streaming.symbols import by_vendor, dashed, is_stock, joined
from marketpulse.sources.streaming.tape import trade_id
from marketpulse.sources.streaming.vendor import Credentials
from marketpulse.sources.streaming.vendors import TIMED, VENDORS, vendor_of
from marketpulse.sources.symbols import ours, theirs
from refused import assert_raises
from vendor_messages import ALPACA, BINANCE, COINBASE, FINNHUB, POLYGON, spoilt

COINS = 1_772_600_767 * 10**9  # 2026-03-04T05:06:07Z, by `date -d`
STOCKS = 1_772_636_767 * 10**9  # 2026-03-04T15:06:07Z
AT = STOCKS + 123_456_789
MINUTE = (STOCKS - 7 * 10**9, STOCKS + 53 * 10**9)
KEYS = Credentials(SecretStr("id"), SecretStr("word"))
SETTINGS: dict[str, Any] = {
    "alpaca": tree.AlpacaSettings(symbols=("AAPL",)), "polygon": tree.PolygonSettings(symbols=("AAPL",)),
    "finnhub": tree.FinnhubSettings(symbols=("AAPL",)),
}  # fmt: skip
PARSERS: dict[str, Any] = {**VENDORS, **TIMED}
DOCUMENTED = {"alpaca": ALPACA, "polygon": POLYGON, "finnhub": FINNHUB, "binance": BINANCE, "coinbase": COINBASE}


def said(vendor: str, name: str) -> list[Any]:
    """What is understood of the message that the vendor documents under this name."""
    message = DOCUMENTED[vendor][name]
    return list(PARSERS[vendor].parse(orjson.dumps([message] if vendor in ("alpaca", "polygon") else message)))


@pytest.mark.parametrize(("vendor", "name", "items"), [
    # an id, and its time to the microsecond
    ("coinbase", "match", [Trade("BTC-USD", 71, COINS + 123_456_000, 61234.56, 0.25)]),
    ("coinbase", "last_match", [Trade("BTC-USD", 70, COINS - 500_000_000, 61234.0, 1.0, live=False)]),
    ("coinbase", "ticker", [Quote("BTC-USD", COINS + 200_000_000, 61234.55, 0.5, 61234.57, 0.75)]),
    ("coinbase", "heartbeat", [parsed.LastTrade("BTC-USD", 71)]),
    ("coinbase", "tickers", [Quote("BTC-USD", COINS + 3 * 10**9, 61235.0, 2.0, 61237.0, 3.0)]),
    ("coinbase", "subscriptions", [Heard("subscriptions")]),
    ("coinbase", "error", [Refusal("Failed to subscribe: FOO-USD is not a valid product", for_good=True)]),
    # times in ms and in µs; a best bid and ask has no time of its own; an aggregate is marked as one
    ("binance", "trade", [Trade("BTCUSDT", 900, COINS + 123_000_000, 61230.01, 0.015)]),
    ("binance", "in µs", [Trade("BTCUSDT", 901, COINS + 124_456_000, 61230.02, 2.0)]),
    ("binance", "bookTicker", [Quote("BTCUSDT", None, 61230.0, 1.5, 61230.01, 2.25)]),
    ("binance", "aggTrade", [Trade("BTCUSDT", 7, COINS + 124_000_000, 61230.01, 3.0, aggregate=True)]),
    ("binance", "answer", [Heard("answer")]),
    ("binance", "error", [Refusal("2: Invalid request: unknown method", for_good=False)]),
    # a venue by MIC, and an id of its venue and day
    ("alpaca", "trade", [Print("AAPL", "20516-V-6142", AT, 177.79, 90.0, "IEXG", ("@", "I"))]),
    ("alpaca", "quote", [Quote("AAPL", AT, 177.41, 35.0, 177.43, 30.0)]),
    ("alpaca", "bar", [parsed.Bar("AAPL", "1m", *MINUTE, 177.94, 178.005, 177.9, 178.0, 8547.0, 177.987562, 66)]),
    ("alpaca", "halt", [parsed.Interruption("AAPL", "halt", AT, "Trading Halt: T12")]),
    ("alpaca", "correction", [parsed.Correction("AAPL", "20516-V-6142", AT, 177.8, 80.0, "20516-V-6150")]),
    ("alpaca", "cancel", [parsed.Cancel("AAPL", "20516-V-6150", AT)]), ("alpaca", "news", [Heard("n")]),
    ("alpaca", "error", [Refusal("402: auth failed", for_good=False, key=True)]),
    # off the exchanges an id of its facility; a pair has no venue
    ("polygon", "trade", [Print("AAPL", "20516-11-5096", STOCKS + 123_000_000, 161.87, 300.0, "ARCX", ("14", "41"))]),
    ("polygon", "off the exchanges", [Print("AAPL", "20516-4-202-799", STOCKS + 124_000_000, 161.88, 1.0, "FINR")]),
    ("polygon", "pair", [Print("BTC-USD", "20516-3-14272084", STOCKS + 126_000_000, 33021.9, 0.01616617, None, ("2",))]),
    ("polygon", "quote", [Quote("AAPL", STOCKS + 125_000_000, 161.8, 100.0, 161.9, 160.0)]),
    ("polygon", "minute", [parsed.Bar("AAPL", "1m", *MINUTE, 161.8, 161.95, 161.75, 161.9, 4110.0, 161.85, None)]),
    ("polygon", "connected", [Heard("connected")]),
    ("polygon", "auth_failed", [Refusal("auth_failed: authentication failed", for_good=False, key=True)]),
    ("finnhub", "trade", [Print("AAPL", None, STOCKS + 123_000_000, 161.87, 300.0, None, ("1", "12")),
                          Print("BINANCE:BTCUSDT", None, STOCKS + 124_000_000, 7296.89, 0.011467)]),
    ("finnhub", "ping", [Heard("ping")]),
    ("finnhub", "error", [Refusal("Invalid API key", for_good=False, key=True)]),
])  # fmt: skip
def test_a_documented_message_is_understood_as(vendor: str, name: str, items: list[Parsed]) -> None:
    assert said(vendor, name) == items


def test_other_wires_say_the_same_a_stock_is_no_pair_and_the_longest_median_of_a_minute_counts() -> None:
    assert [t.trade_id for t in said("coinbase", "market_trades")] == [72, 73]
    message = {**ALPACA["trade"], "t": msgpack.Timestamp(AT // 10**9, AT % 10**9)}
    assert Alpaca().parse(msgpack.packb([message])) == said("alpaca", "trade")
    trade, bare = BINANCE["trade"], BINANCE["in µs"]
    for events in (orjson.dumps([trade, bare]), orjson.dumps({"stream": "x", "data": [trade["data"], bare]})):
        assert [t.trade_id for t in Binance().parse(events) if isinstance(t, Trade)] == [900, 901]
    assert [s for s in ("AAPL", "F", "BRK.B", "brk-b", "GOOGL", "ABTC") if not is_stock(s)] == []
    assert [s for s in ("BTCUSD", "BTC-USD", "ETHBTC", "btcusdt", "OPUSD", "B C", "1INCH-USD") if is_stock(s)] == []
    assert {ours(written) for written in ("BRK.B", "BRK-B", "BRK/B", "brk.b", " BRK B ")} == {"BRK.B"}
    given = (("BRK.B", "-"), ("BRK/B", "-"), ("BF-A", "."), ("AAPL", "-"))
    assert [theirs(symbol, mark) for symbol, mark in given] == ["BRK-B", "BRK-B", "BF.A", "AAPL"]
    others = ["VOD.L", "RY.TO", "BTC-USD", "^GSPC", "7203.T", "EURUSD=X", "BAC-PL", "SHOP.V", "TSCO.LON"]
    assert [ours(other) for other in others] == [theirs(other, "-") for other in others] == others
    delays, found = Delays(), [5, 7, 900]
    assert delays.longest_ns() == 0
    for at_s, some, longest_ns in ((0.0, found, 7), (30.0, [3], 7), (61.0, [], 3), (200.0, [-50], 0)):
        delays.note(at_s, some)
        assert (delays.longest_ns(), found) == (longest_ns, [])


def test_a_spoilt_element_does_not_spoil_the_others_the_unknown_is_kept_and_refusals_are_told_apart() -> None:
    good, bad, none = Coinbase().parse(orjson.dumps([COINBASE["match"], {**COINBASE["match"], "price": "-1"}, 7]))
    assert (type(good), type(bad), type(none)) == (Trade, Unusable, Unusable)
    assert isinstance(bad, Unusable)
    assert isinstance(none, Unusable)
    assert (bad.reason, orjson.loads(bad.value or b"")["price"], none.value) == ("bad_price", "-1", b"7")
    bare, trades = BINANCE["in µs"], FINNHUB["trade"]["data"]
    [fault, trade] = Binance().parse(orjson.dumps({"stream": "x", "data": [{**bare, "p": "-1"}, bare]}))
    assert (type(fault), type(trade)) == (Unusable, Trade)
    [fault, second] = Finnhub().parse(orjson.dumps({"type": "trade", "data": [{**trades[0], "p": -1}, trades[1]]}))
    assert isinstance(fault, Unusable)
    assert (fault.reason, second) == ("bad_price", said("finnhub", "trade")[1])
    refused = Alpaca().parse(b'[{"T":"error","code":405,"msg":"symbol limit exceeded"}]')
    assert refused == [Refusal("405: symbol limit exceeded", for_good=True)]
    status = {"ev": "status", "status": "auth_failed", "message": "Your plan doesn't include websocket access."}
    [refusal] = Polygon().parse(orjson.dumps([status]))
    assert isinstance(refusal, Refusal)
    assert (refusal.for_good, refusal.key) == (True, False)
    [unknown] = Coinbase().parse(b'{"type":"surprise"}')
    assert isinstance(unknown, Unusable)
    assert unknown.reason == "unknown_type"


@pytest.mark.parametrize(("field", "value", "reason"), [
    ("price", "0", "bad_price"), ("price", "1e400", "bad_price"), ("price", "1_000", "wrong_type"),
    ("price", "nan", "wrong_type"), ("price", None, "missing_field"), ("size", "-1", "bad_size"),
    ("trade_id", True, "wrong_type"), ("trade_id", -1, "wrong_type"), ("trade_id", 1.5, "wrong_type"),
    ("time", "2026-03-04", "bad_time"), ("time", "2026-02-30T00:00:00Z", "bad_time"),
    ("time", "9999-12-31T23:59:59-23:59", "bad_time"), ("product_id", 7, "wrong_type"),
])  # fmt: skip
def test_a_field_that_cannot_be_is_named(field: str, value: object, reason: str) -> None:
    [found] = Coinbase().parse(orjson.dumps({**COINBASE["match"], field: value}))
    assert isinstance(found, Unusable)
    assert (found.reason, field in found.detail) == (reason, True)


def test_an_answer_by_rest_is_read_with_the_feeds_ids_and_without_what_was_taken_back() -> None:
    page = Alpaca().parse_page("AAPL", orjson.dumps(ALPACA["history"]))
    assert [t.trade_id for t in page.rows if isinstance(t, Print)] == ["20516-D-151", "20516-Q-168"]
    assert page.next_page == "QUFQTA=="
    assert Alpaca().parse_page("AAPL", b'{"trades":null,"symbol":"AAPL","next_page_token":null}') == ([], None)
    page = Polygon().parse_page("AAPL", orjson.dumps(POLYGON["history"]))
    live = [said("polygon", name)[0].trade_id for name in ("trade", "off the exchanges")]
    assert ([t.trade_id for t in page.rows if isinstance(t, Print)], page.next_page) == (live, "YXA9Mg==")
    assert Polygon().parse_page("AAPL", b'{"status":"OK","request_id":"r"}') == ([], None)
    page = Polygon().parse_page("AAPL", orjson.dumps(POLYGON["aggregates"]))
    assert page.rows == [parsed.Bar("AAPL", "1m", *MINUTE, 161.8, 161.95, 161.75, 161.9, 4110.0, 161.85, 62)]
    for vendor, body in (("alpaca", b'{"message":"?"}'), ("polygon", b'{"status":"ERROR"}')):
        assert [type(row) for row in PARSERS[vendor].parse_page("AAPL", body).rows] == [Unusable]


def test_it_answers_in_the_order_of_the_conversation() -> None:
    def replies(vendor: str, *messages: dict[str, Any]) -> Any:
        said = PARSERS[vendor].replies(SETTINGS[vendor], ("AAPL", "BRK.B"), KEYS, orjson.dumps(messages))
        return said and [orjson.loads(one) for one in said]

    names = ["AAPL", "BRK.B"]
    auth = {"action": "auth", "key": "id", "secret": "word"}
    assert replies("alpaca", {"T": "success", "msg": "connected"}) == [auth]
    subscribe = {"action": "subscribe", "trades": names, "quotes": names}
    assert replies("alpaca", {"T": "success", "msg": "authenticated"}) == [subscribe]
    assert replies("alpaca", {"T": "subscription", "trades": ["AAPL"]}) is None
    assert replies("alpaca", {"T": "error", "code": 402, "msg": "auth failed"}) == []
    for status, expected in (
        ("connected", [{"action": "auth", "params": "id"}]), ("success", None), ("auth_failed", []),
        ("auth_success", [{"action": "subscribe", "params": "T.AAPL,T.BRK.B,Q.AAPL,Q.BRK.B"}]),
    ):  # fmt: skip
        assert replies("polygon", {"ev": "status", "status": status, "message": ""}) == expected
    [greeting] = Finnhub().greeting(SETTINGS["finnhub"], ("AAPL",))
    assert orjson.loads(greeting) == {"type": "subscribe", "symbol": "AAPL"}


def test_symbols_and_addresses_are_written_as_the_feed_wants_them() -> None:
    alpaca, polygon = Alpaca(), Polygon()
    given = ("brk-b", "BRK/B", "AAPL", "BTC-USD")
    assert [alpaca.to_vendor(s) for s in given] == ["BRK.B", "BRK.B", "AAPL", "BTC/USD"]
    assert [alpaca.to_ours(s) for s in ("BRK.B", "BTC/USD")] == ["BRK.B", "BTC-USD"]
    assert_raises(ParameterError, "", alpaca.to_vendor, "é")
    crypto = tree.AlpacaSettings(symbols=("BTC-USD",), feed="crypto")
    assert alpaca.url(SETTINGS["alpaca"], KEYS) == "wss://stream.data.alpaca.markets/v2/iex"
    assert alpaca.url(crypto, KEYS).endswith("/v1beta3/crypto/us")
    assert (alpaca.calendar(SETTINGS["alpaca"]), alpaca.calendar(crypto)) == ("XNYS", "24x7")
    coins = tree.PolygonSettings(symbols=("BTC-USD",), market="crypto")
    assert [polygon.to_vendor(s) for s in ("brk-b", "BTC/USD")] == ["BRK.B", "BTC-USD"]
    assert polygon.calendar(coins) == "24x7"
    assert Finnhub().url(SETTINGS["finnhub"], Credentials(SecretStr("a/b"))) == "wss://ws.finnhub.io/?token=a%2Fb"
    assert Finnhub().to_vendor("brk-b") == "BRK.B"
    assert_raises(ValidationError, "trades only", tree.FinnhubSettings, symbols=("AAPL",), quotes=True)


def test_what_a_vendor_is_asked_by_rest_and_by_subscription() -> None:
    first, later = (Polygon().history_request(SETTINGS["polygon"], "AAPL", 5, 6, page) for page in (None, "x"))
    assert (first.path, first.params["timestamp.gte"], later.params) == ("/v3/trades/AAPL", 5, {"cursor": "x"})
    bars = tree.PolygonSettings(symbols=("BTC-USD",), market="crypto", trades=False, bars=True)
    request = Polygon().history_request(bars, "BTC-USD", 5_000_000, 6_000_000, None)
    assert request.path == "/v2/aggs/ticker/X%3ABTCUSD/range/1/minute/5/6"
    coinbase, binance = Coinbase(), Binance()
    asked = [coinbase.trades_request("BTC-USD", 100, last).params for last in (5_000, 105)]
    assert asked == [{"limit": 1_000, "after": 1_100}, {"limit": 1_000, "after": 106}]
    body = b'[{"trade_id":5,"side":"sell","size":"1","price":"2","time":"2026-03-04T05:06:07Z"},{"trade_id":4}]'
    assert [type(item) for item in coinbase.parse_trades("BTC-USD", body)] == [Unusable, Trade]
    request = binance.trades_request("BTCUSDT", 10, 12)
    assert request == ("/api/v3/historicalTrades", {"symbol": "BTCUSDT", "fromId": 10, "limit": 3})
    body = orjson.dumps([{"id": n, "price": "4", "qty": "12", "time": 1772600767112 + n} for n in (11, 10)])
    assert [t.trade_id for t in binance.parse_trades("BTCUSDT", body) if isinstance(t, Trade)] == [10, 11]
    [message] = Coinbase().subscribe(tree.CoinbaseSettings(symbols=("BTC-USD",), quotes=False), ("BTC-USD",))
    assert orjson.loads(message)["channels"] == ["heartbeat", "matches"]
    pairs = tuple(f"A{i}USDT" for i in range(80))
    messages = Binance().subscribe(tree.BinanceSettings(symbols=pairs), pairs)
    assert [len(orjson.loads(m)["params"]) for m in messages] == [100, 60]


def test_a_recording_may_be_of_each_vendor_and_aggregates_are_one_of_their_own() -> None:
    assert set(get_args(tree.RecordingSettings.model_fields["vendor"].annotation)) == {"auto", *VENDORS, *TIMED}
    assert [vendor.name for vendor in PARSERS.values()] == list(PARSERS)
    assert vendor_of(tree.BinanceSettings(symbols=("BTC-USDT",), aggregates=True), "binance").aggregates
    assert vendor_of(tree.BinanceSettings(symbols=("BTC-USDT",)), "binance") is VENDORS["binance"]
    assert vendor_of(tree.CoinbaseSettings(symbols=("BTC-USD",)), "coinbase") is VENDORS["coinbase"]
    vendor = Binance(aggregates=True)
    [message] = vendor.subscribe(tree.BinanceSettings(symbols=("BTC-USDT",)), ("BTCUSDT",))
    assert orjson.loads(message)["params"] == ["btcusdt@aggTrade", "btcusdt@bookTicker"]
    assert vendor.trades_request("BTCUSDT", 5, 6).path == "/api/v3/aggTrades"
    body = b'[{"a":26,"p":"0.5","q":"4","f":27,"l":28,"T":1772600767123,"m":true,"M":true}]'
    expected = Trade("BTCUSDT", 26, COINS + 123_000_000, 0.5, 4.0, live=False, aggregate=True)
    assert vendor.parse_trades("BTCUSDT", body) == [expected]


BEGINNINGS = st.sampled_from([b"", b"\x91", b"\xdc\x00\x02", msgpack.packb([ALPACA["trade"]])[:40]])
NOISE = st.text(max_size=80).map(str.encode) | st.builds(add, BEGINNINGS, st.binary(max_size=80))


@pytest.mark.parametrize("name", PARSERS)
@examples(200)
@given(message=st.one_of(spoilt(), NOISE))
def test_no_message_crashes_any_parser_and_everything_is_said(name: str, message: bytes) -> None:
    vendor = PARSERS[name]
    items = [*vendor.parse(message)]
    if name == "coinbase":
        assert message[:1] in b"{[" or all(isinstance(item, Unusable) for item in items)
    if name in VENDORS:
        items += vendor.parse_trades("BTCUSDT", message)
    else:
        items += vendor.parse_page("AAPL", message).rows
        vendor.replies(SETTINGS[name], ("AAPL",), KEYS, message)
    assert all(item.reason in REASONS for item in items if isinstance(item, Unusable))
    assert all(item.price > 0 and item.size >= 0 for item in items if isinstance(item, Trade | Print))
    assert all(0 <= item.trade_id < 10**18 for item in items if isinstance(item, Trade))


@pytest.mark.parametrize(("read_time", "value", "time_ns"), [  # the size of a number tells ms, µs or ns; a text has its zone and up to nine digits
    (read.epoch_time_ns, 1_772_600_767_123, COINS + 123_000_000), (read.epoch_time_ns, 1_772_600_767_123_456, COINS + 123_456_000),
    (read.epoch_time_ns, 1_772_600_767_123_456_789, COINS + 123_456_789),
    (read.iso_time_ns, "2026-03-04T05:06:07Z", COINS), (read.iso_time_ns, "2026-03-04T05:06:07.5Z", COINS + 500_000_000),
    (read.iso_time_ns, "2026-03-04 05:06:07.123456789+00:00", COINS + 123_456_789),
    (read.iso_time_ns, "2026-03-04T00:06:07-05:00", COINS), (read.iso_time_ns, "2026-03-04T10:36:07+05:30", COINS),
])  # fmt: skip
def test_a_time_is_read_to_its_last_digit(read_time: Any, value: Any, time_ns: int) -> None:
    assert read_time({"t": value}, "t") == time_ns


@pytest.mark.parametrize(("call", "value", "reason"), [
    (read.epoch_time_ns, None, "missing_field"), (read.epoch_time_ns, "1772600767123", "wrong_type"),
    (read.epoch_time_ns, True, "wrong_type"), (read.epoch_time_ns, 1_772_600_767, "bad_time"),
    (read.iso_time_ns, "2026-03-04T05:06:07", "bad_time"), (read.iso_time_ns, "2026-02-30T05:06:07Z", "bad_time"),
    (read.iso_time_ns, "0001-01-01T00:00:00+14:00", "bad_time"), (read.iso_time_ns, 5, "wrong_type"),
    (read.price, "0", "bad_price"), (read.price, -1, "bad_price"), (read.price, "1e999", "bad_price"),
    (read.price, "1_000", "wrong_type"), (read.price, "", "missing_field"), (read.price, True, "wrong_type"),
    (read.size, -1, "bad_size"), (read.size, "NaN", "wrong_type"), (read.size, None, "missing_field"),
    (read.trade_id, -1, "wrong_type"), (read.trade_id, "1.5", "wrong_type"), (read.trade_id, 10**18, "wrong_type"),
    (read.text, "", "missing_field"), (read.text, "x" * 65, "wrong_type"), (read.text, "\x00", "wrong_type"),
    (read.texts, "words", "wrong_type"), (read.texts, [[1]], "wrong_type"), (read.texts, [1] * 65, "wrong_type"),
    (read.objects, None, "missing_field"), (read.objects, {}, "wrong_type"),
])  # fmt: skip
def test_what_cannot_be_used_says_why(call: Any, value: Any, reason: str) -> None:
    with pytest.raises(Unfit) as raised:
        call({"f": value}, "f")
    assert raised.value.reason == reason
    assert "f" in str(raised.value)


def test_numbers_ids_and_words_are_read_each_alone_and_an_id_is_of_a_venue_and_of_a_day_in_new_york() -> None:
    assert [read.price({"p": p}, "p") for p in ("61230.01000000", 5, 0.5)] == [61230.01, 5.0, 0.5]
    assert ([read.trade_id({"i": i}, "i") for i in ("73", 73)], read.size({"s": 0}, "s")) == ([73, 73], 0.0)
    assert [read.texts({"c": c}, "c") for c in (None, [], ["@", "I"], [14, 41])] == [(), (), ("@", "I"), ("14", "41")]

    def parse(fields: Any) -> Any:
        yield read.text(fields, "a")

    good, *others = list[Any](read.each_object(b'[{"a":"x"},{"a":1},7]', parse))
    assert good == "x"
    assert [(bad.reason, bad.value) for bad in others] == [("wrong_type", b'{"a":1}'), ("not_json", b"7")]
    for begin, end in (("2026-01-05T09:00", "2026-01-06T00:59"), ("2026-07-06T08:00", "2026-07-06T23:59")):
        assert trade_id(at(begin), "V", 1) == trade_id(at(end), "V", 1)
    day, next_day = at("2026-01-05T15:00"), at("2026-01-06T15:00")
    assert len({trade_id(day, "V", 1), trade_id(next_day, "V", 1), trade_id(day, "Q", 1), trade_id(day, 1)}) == 4


def at(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()) * 10**9


@pytest.mark.parametrize(("theirs", "ours"), [
    ("BTCUSDT", "BTC-USDT"), ("btc-usd", "BTC-USD"), ("ETH/BTC", "ETH-BTC"), ("BTCFDUSD", "BTC-FDUSD"),
    ("ETHBTC", "ETH-BTC"), ("USDTTRY", "USDT-TRY"), ("BTCUSD", "BTC-USD"),
    ("XBT/USD", "BTC-USD"), ("XBTUSD", "BTC-USD"), ("ETHXBT", "ETH-BTC"), ("XDG/EUR", "DOGE-EUR"),
])  # fmt: skip
def test_a_pair_has_one_name_of_ours(theirs: str, ours: str) -> None:
    assert (dashed(theirs), dashed(joined(ours))) == (ours, ours)


@pytest.mark.parametrize(("words", "keys", "expected"), [
    pytest.param(["BTC-USD,ETH-EUR", "BTCUSDT", "binance:ETH-BTC"], [],
                 {"coinbase": ("BTC-USD", "ETH-EUR"), "binance": ("BTC-USDT", "ETH-BTC")}, id="a pair to who trades it"),
    pytest.param(["AAPL,brk-b", "BTC-USD"], ["finnhub", "alpaca"], {"alpaca": ("AAPL", "BRK.B"), "coinbase": ("BTC-USD",)},
                 id="a stock to the first whose key is set"),
    pytest.param(["IBM"], ["finnhub"], {"finnhub": ("IBM",)}, id="a stock to the only one"),
    pytest.param(["alpaca:AAPL", "polygon:msft", "finnhub:BINANCE:BTCUSDT", "alpaca:BTC/USD"], [],
                 {"alpaca": ("AAPL", "BTC-USD"), "polygon": ("MSFT",), "finnhub": ("BINANCE:BTCUSDT",)}, id="a named one at its word"),
])  # fmt: skip
def test_a_symbol_goes_to_a_vendor(words: list[str], keys: list[str], expected: dict[str, tuple[str, ...]]) -> None:
    assert by_vendor(words, keys) == expected


@pytest.mark.parametrize(("word", "says"), [
    ("AAPL", r"APCA_API_KEY_ID and APCA_API_SECRET_KEY.*POLYGON_API_KEY.*FINNHUB_API_KEY"),
    *((word, "write") for word in ("", "nobody:BTC-USD", "alpaca:", "alpaca:A B", "B C", "binance:")),
])  # fmt: skip
def test_what_nobody_feeds_is_said(word: str, says: str) -> None:
    assert_raises(ParameterError, says, by_vendor, [word])


def test_each_kind_of_row_has_its_schema_and_batches_keep_order_and_quarters_of_a_second() -> None:
    rows = Rows("feed")
    rows.quote("A", COINS, (1.0, 2.0, 3.0, 4.0), COINS, None)
    rows.trade("A", COINS, 10.0, 1.0, "7", COINS, "XNYS", ("@",))
    rows.event({"type": "halt", "symbol": "A", "event_time_ns": COINS, "reason": "news"})
    rows.bar("A", "1m", COINS, COINS + 60 * 10**9, (1.0, 2.0, 0.5, 1.5, 9.0, None, 3), COINS)
    assert len(rows) == 4
    batches = rows.drain()
    assert [batch.schema for batch in batches] == [TRADE, QUOTE, EVENT, BAR_IN]
    trade, quote, halt, bar = (batch.to_pylist()[0] for batch in batches)
    assert (trade["venue"], trade["conditions"], trade["source"]) == ("XNYS", ["@"], "feed")
    assert (quote["bid"], quote["ask_size"], quote["venue"]) == (1.0, 4.0, None)
    assert (halt["type"], halt["symbol"]) == ("halt", "A")
    assert (bar["event_time_ns"], bar["vwap"], bar["trade_count"], bar["final"]) == (COINS + 60 * 10**9, None, 3, True)
    assert (len(rows), rows.drain()) == (0, [])
    rows = Rows("feed")
    for at in (COINS, COINS + 10**8, COINS + 10**9):
        rows.trade("A", at, 10.0, 1.0, None, at, None)
    assert [batch.num_rows for batch in rows.drain()] == [2, 1]
