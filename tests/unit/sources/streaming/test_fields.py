"""Each field is read strictly, ids are one trade's alone, pairs have one name, and rows stand in the log's schemas."""

from datetime import UTC, datetime
from typing import Any

import pytest

from marketpulse.errors import ParameterError
from marketpulse.model.market import BAR_IN, EVENT, QUOTE, TRADE
from marketpulse.sources.streaming import fields as read
from marketpulse.sources.streaming.delays import Delays
from marketpulse.sources.streaming.fields import Unfit
from marketpulse.sources.streaming.rows import Rows
from marketpulse.sources.streaming.symbols import by_vendor, dashed, is_stock, joined
from marketpulse.sources.streaming.tape import trade_id
from marketpulse.sources.symbols import ours, theirs

SECOND = 1_772_600_767 * 10**9
AT = SECOND


@pytest.mark.parametrize(("read_time", "value", "time_ns"), [  # the size of a number tells ms, µs or ns; a text has its zone and up to nine digits
    (read.epoch_time_ns, 1_772_600_767_123, SECOND + 123_000_000), (read.epoch_time_ns, 1_772_600_767_123_456, SECOND + 123_456_000),
    (read.epoch_time_ns, 1_772_600_767_123_456_789, SECOND + 123_456_789),
    (read.iso_time_ns, "2026-03-04T05:06:07Z", SECOND), (read.iso_time_ns, "2026-03-04T05:06:07.5Z", SECOND + 500_000_000),
    (read.iso_time_ns, "2026-03-04 05:06:07.123456789+00:00", SECOND + 123_456_789),
    (read.iso_time_ns, "2026-03-04T00:06:07-05:00", SECOND), (read.iso_time_ns, "2026-03-04T10:36:07+05:30", SECOND),
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


def test_numbers_ids_and_words_are_read_and_one_that_cannot_be_used_does_not_spoil_the_others() -> None:
    assert [read.price({"p": p}, "p") for p in ("61230.01000000", 5, 0.5)] == [61230.01, 5.0, 0.5]
    assert [read.trade_id({"i": i}, "i") for i in ("73", 73)] == [73, 73]
    assert read.size({"s": 0}, "s") == 0.0
    assert [read.texts({"c": c}, "c") for c in (None, [], ["@", "I"], [14, 41])] == [(), (), ("@", "I"), ("14", "41")]

    def parse(fields: Any) -> Any:
        yield read.text(fields, "a")

    good, bad, other = list[Any](read.each_object(b'[{"a":"x"},{"a":1},7]', parse))
    assert good == "x"
    assert (bad.reason, bad.value) == ("wrong_type", b'{"a":1}')
    assert (other.reason, other.value) == ("not_json", b"7")


def at(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()) * 10**9


def test_an_id_is_of_a_venue_and_of_a_day_in_new_york_with_its_pre_and_post_market() -> None:
    for begin, end in (("2026-01-05T09:00", "2026-01-06T00:59"), ("2026-07-06T08:00", "2026-07-06T23:59")):
        assert trade_id(at(begin), "V", 1) == trade_id(at(end), "V", 1)
    day, next_day = at("2026-01-05T15:00"), at("2026-01-06T15:00")
    assert len({trade_id(day, "V", 1), trade_id(next_day, "V", 1), trade_id(day, "Q", 1), trade_id(day, 1)}) == 4


@pytest.mark.parametrize(("theirs", "ours"), [
    ("BTCUSDT", "BTC-USDT"), ("btc-usd", "BTC-USD"), ("ETH/BTC", "ETH-BTC"), ("BTCFDUSD", "BTC-FDUSD"),
    ("ETHBTC", "ETH-BTC"), ("USDTTRY", "USDT-TRY"), ("BTCUSD", "BTC-USD"),
    ("XBT/USD", "BTC-USD"), ("XBTUSD", "BTC-USD"), ("ETHXBT", "ETH-BTC"), ("XDG/EUR", "DOGE-EUR"),
])  # fmt: skip
def test_a_pair_has_one_name_of_ours(theirs: str, ours: str) -> None:
    assert dashed(theirs) == ours
    assert dashed(joined(ours)) == ours


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


KEYS_NEEDED = r"APCA_API_KEY_ID and APCA_API_SECRET_KEY.*POLYGON_API_KEY.*FINNHUB_API_KEY"
NOBODYS = ["", "nobody:BTC-USD", "alpaca:", "alpaca:A B", "B C", "binance:"]


@pytest.mark.parametrize(("word", "says"), [("AAPL", KEYS_NEEDED), *((word, "write") for word in NOBODYS)])
def test_what_nobody_feeds_is_said(word: str, says: str) -> None:
    with pytest.raises(ParameterError, match=says):
        by_vendor([word])


def test_a_stock_is_told_from_a_pair_and_a_share_class_has_one_spelling_of_ours() -> None:
    assert [s for s in ("AAPL", "F", "BRK.B", "brk-b", "GOOGL", "ABTC") if not is_stock(s)] == []
    assert [s for s in ("BTCUSD", "BTC-USD", "ETHBTC", "btcusdt", "OPUSD", "B C", "1INCH-USD") if is_stock(s)] == []
    assert {ours(written) for written in ("BRK.B", "BRK-B", "BRK/B", "brk.b", " BRK B ")} == {"BRK.B"}
    given = (("BRK.B", "-"), ("BRK/B", "-"), ("BF-A", "."), ("AAPL", "-"))
    assert [theirs(symbol, mark) for symbol, mark in given] == ["BRK-B", "BRK-B", "BF.A", "AAPL"]
    others = ["VOD.L", "RY.TO", "BTC-USD", "^GSPC", "7203.T", "EURUSD=X", "BAC-PL", "SHOP.V", "TSCO.LON"]
    assert [ours(other) for other in others] == [theirs(other, "-") for other in others] == others


def test_each_kind_of_row_has_its_schema_and_batches_keep_order_and_quarters_of_a_second() -> None:
    rows = Rows("feed")
    rows.quote("A", AT, (1.0, 2.0, 3.0, 4.0), AT, None)
    rows.trade("A", AT, 10.0, 1.0, "7", AT, "XNYS", ("@",))
    rows.event({"type": "halt", "symbol": "A", "event_time_ns": AT, "reason": "news"})
    rows.bar("A", "1m", AT, AT + 60 * 10**9, (1.0, 2.0, 0.5, 1.5, 9.0, None, 3), AT)
    assert len(rows) == 4
    batches = rows.drain()
    assert [batch.schema for batch in batches] == [TRADE, QUOTE, EVENT, BAR_IN]
    trade, quote, halt, bar = (batch.to_pylist()[0] for batch in batches)
    assert (trade["venue"], trade["conditions"], trade["source"]) == ("XNYS", ["@"], "feed")
    assert (quote["bid"], quote["ask_size"], quote["venue"]) == (1.0, 4.0, None)
    assert (halt["type"], halt["symbol"]) == ("halt", "A")
    assert (bar["event_time_ns"], bar["vwap"], bar["trade_count"], bar["final"]) == (AT + 60 * 10**9, None, 3, True)
    assert (len(rows), rows.drain()) == (0, [])
    rows = Rows("feed")
    for at in (AT, AT + 10**8, AT + 10**9):
        rows.trade("A", at, 10.0, 1.0, None, at, None)
    assert [batch.num_rows for batch in rows.drain()] == [2, 1]


def test_the_longest_median_of_a_minute_counts_and_no_feed_is_ahead() -> None:
    delays = Delays()
    assert delays.longest_ns() == 0
    found = [5, 7, 900]
    delays.note(0.0, found)
    assert (delays.longest_ns(), found) == (7, [])
    delays.note(30.0, [3])
    assert delays.longest_ns() == 7
    delays.note(61.0, [])
    assert delays.longest_ns() == 3
    delays.note(200.0, [-50])
    assert delays.longest_ns() == 0
