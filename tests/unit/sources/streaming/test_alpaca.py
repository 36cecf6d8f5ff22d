"""Alpaca's messages, in JSON and in MessagePack, and anything that looks a little like one."""

from typing import Any

import msgpack
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from marketpulse.errors import ParameterError
from marketpulse.model.market import REASONS
from marketpulse.settings import AlpacaSettings
from marketpulse.sources.streaming.alpaca import Alpaca
from marketpulse.sources.streaming.parsed import (
    Bar,
    Cancel,
    Correction,
    Heard,
    Interruption,
    Print,
    Quote,
    Refusal,
    Unusable,
)
from marketpulse.sources.streaming.vendor import Credentials
from vendor_messages import ALPACA, spoilt

SECOND = 1_772_636_767 * 10**9  # 2026-03-04T15:06:07Z
AT = SECOND + 123_456_789
KEYS = Credentials(SecretStr("id"), SecretStr("word"))
SETTINGS = AlpacaSettings(symbols=("AAPL",))


def said(name: str) -> list[Any]:
    return Alpaca().parse(orjson.dumps([ALPACA[name]]))


def test_a_trade_has_its_venue_by_mic_and_an_id_of_its_venue_and_day() -> None:
    assert said("trade") == [Print("AAPL", "20516-V-6142", AT, 177.79, 90.0, "IEXG", ("@", "I"))]


def test_quotes_bars_and_halts_are_read() -> None:
    assert said("quote") == [Quote("AAPL", AT, 177.41, 35.0, 177.43, 30.0)]
    begin = SECOND - 7 * 10**9
    assert said("bar") == [
        Bar("AAPL", "1m", begin, begin + 60 * 10**9, 177.94, 178.005, 177.9, 178.0, 8547.0, 177.987562, 66)
    ]
    assert said("halt") == [Interruption("AAPL", "halt", AT, "Trading Halt: T12")]


def test_a_correction_names_both_ids_and_a_cancel_one() -> None:
    assert said("correction") == [Correction("AAPL", "20516-V-6142", AT, 177.8, 80.0, "20516-V-6150")]
    assert said("cancel") == [Cancel("AAPL", "20516-V-6150", AT)]


def test_news_are_heard_and_a_wrong_key_is_told_from_other_refusals() -> None:
    assert said("news") == [Heard("n")]
    assert said("error") == [Refusal("402: auth failed", for_good=False, key=True)]
    refused = Alpaca().parse(b'[{"T":"error","code":405,"msg":"symbol limit exceeded"}]')
    assert refused == [Refusal("405: symbol limit exceeded", for_good=True)]


def test_messagepack_says_the_same_as_json() -> None:
    message = {**ALPACA["trade"], "t": msgpack.Timestamp(AT // 10**9, AT % 10**9)}
    assert Alpaca().parse(msgpack.packb([message])) == said("trade")


def test_an_answer_by_rest_is_read_without_what_was_taken_back() -> None:
    page = Alpaca().parse_page("AAPL", orjson.dumps(ALPACA["history"]))
    assert [t.trade_id for t in page.rows if isinstance(t, Print)] == ["20516-D-151", "20516-Q-168"]
    assert page.next_page == "QUFQTA=="
    assert Alpaca().parse_page("AAPL", b'{"trades":null,"symbol":"AAPL","next_page_token":null}') == ([], None)
    [fault] = Alpaca().parse_page("AAPL", b'{"message":"?"}').rows
    assert isinstance(fault, Unusable)


def test_it_answers_in_the_order_of_the_conversation() -> None:
    def replies(*messages: dict[str, Any]) -> Any:
        return Alpaca().replies(SETTINGS, ("AAPL",), KEYS, orjson.dumps(messages))

    [auth] = replies({"T": "success", "msg": "connected"})
    assert orjson.loads(auth) == {"action": "auth", "key": "id", "secret": "word"}
    [subscribe] = replies({"T": "success", "msg": "authenticated"})
    assert orjson.loads(subscribe) == {"action": "subscribe", "trades": ["AAPL"], "quotes": ["AAPL"]}
    assert replies({"T": "subscription", "trades": ["AAPL"]}) is None
    assert replies({"T": "error", "code": 402, "msg": "auth failed"}) == []


def test_symbols_and_addresses_are_written_as_the_feed_wants_them() -> None:
    vendor = Alpaca()
    assert [vendor.to_vendor(s) for s in ("brk-b", "BRK/B", "AAPL", "BTC-USD")] == [
        "BRK.B", "BRK.B", "AAPL", "BTC/USD",
    ]  # fmt: skip
    assert [vendor.to_ours(s) for s in ("BRK.B", "BTC/USD")] == ["BRK.B", "BTC-USD"]
    with pytest.raises(ParameterError):
        vendor.to_vendor("é")
    crypto = AlpacaSettings(symbols=("BTC-USD",), feed="crypto")
    assert vendor.url(SETTINGS, KEYS) == "wss://stream.data.alpaca.markets/v2/iex"
    assert vendor.url(crypto, KEYS).endswith("/v1beta3/crypto/us")
    assert (vendor.calendar(SETTINGS), vendor.calendar(crypto)) == ("XNYS", "24x7")


@given(spoilt())
def test_no_message_crashes_it_and_everything_is_said(message: bytes) -> None:
    vendor = Alpaca()
    for item in [*vendor.parse(message), *vendor.parse_page("AAPL", message).rows]:
        if isinstance(item, Unusable):
            assert item.reason in REASONS
        if isinstance(item, Print):
            assert item.price > 0
    vendor.replies(SETTINGS, ("AAPL",), KEYS, message)


@given(st.binary(max_size=60))
def test_no_bytes_crash_it(message: bytes) -> None:
    for begin in (b"", b"\x91", b"\xdc\x00\x02", msgpack.packb([ALPACA["trade"]])[:40]):
        Alpaca().parse(begin + message)
