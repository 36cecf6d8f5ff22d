"""Finnhub's messages, and anything that looks a little like one."""

from typing import Any

import orjson
import pytest
from hypothesis import given
from pydantic import SecretStr, ValidationError

from marketpulse.model.market import REASONS
from marketpulse.settings import FinnhubSettings
from marketpulse.sources.streaming.finnhub import Finnhub
from marketpulse.sources.streaming.parsed import Heard, Print, Refusal, Unusable
from marketpulse.sources.streaming.vendor import Credentials
from vendor_messages import FINNHUB, spoilt

SECOND = 1_772_636_767 * 10**9


def said(name: str) -> list[Any]:
    return Finnhub().parse(orjson.dumps(FINNHUB[name]))


def test_the_trades_of_a_message_are_read_each_on_its_own() -> None:
    first = Print("AAPL", None, SECOND + 123_000_000, 161.87, 300.0, None, ("1", "12"))
    second = Print("BINANCE:BTCUSDT", None, SECOND + 124_000_000, 7296.89, 0.011467)
    assert said("trade") == [first, second]
    trades = FINNHUB["trade"]["data"]
    [fault, good] = Finnhub().parse(orjson.dumps({"type": "trade", "data": [{**trades[0], "p": -1}, trades[1]]}))
    assert isinstance(fault, Unusable)
    assert (fault.reason, good) == ("bad_price", second)


def test_a_ping_is_heard_and_a_wrong_key_refuses() -> None:
    assert said("ping") == [Heard("ping")]
    assert said("error") == [Refusal("Invalid API key", for_good=False, key=True)]


def test_it_asks_for_each_symbol_with_the_key_in_the_address() -> None:
    settings = FinnhubSettings(symbols=("brk-b", "AAPL"))
    assert Finnhub().url(settings, Credentials(SecretStr("a/b"))) == "wss://ws.finnhub.io/?token=a%2Fb"
    assert Finnhub().to_vendor("brk-b") == "BRK.B"
    assert orjson.loads(Finnhub().greeting(settings, ("AAPL",))[0]) == {"type": "subscribe", "symbol": "AAPL"}
    with pytest.raises(ValidationError, match="trades only"):
        FinnhubSettings(symbols=("AAPL",), quotes=True)


@given(spoilt())
def test_no_message_crashes_it_and_everything_is_said(message: bytes) -> None:
    for item in Finnhub().parse(message):
        if isinstance(item, Unusable):
            assert item.reason in REASONS
        if isinstance(item, Print):
            assert item.price > 0
