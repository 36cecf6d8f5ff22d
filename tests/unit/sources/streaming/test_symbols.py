"""Pairs by our name and the vendor's, and who feeds which."""

import pytest

from marketpulse.errors import ParameterError
from marketpulse.sources.streaming.symbols import by_vendor, dashed, joined


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [("BTCUSDT", "BTC-USDT"), ("btc-usd", "BTC-USD"), ("ETH/BTC", "ETH-BTC"), ("BTCFDUSD", "BTC-FDUSD"),
     ("ETHBTC", "ETH-BTC"), ("USDTTRY", "USDT-TRY"), ("BTCUSD", "BTC-USD"),
     ("XBT/USD", "BTC-USD"), ("XBTUSD", "BTC-USD"), ("ETHXBT", "ETH-BTC"), ("XDG/EUR", "DOGE-EUR")],
)  # fmt: skip
def test_a_pair_has_one_name_of_ours(theirs: str, ours: str) -> None:
    assert dashed(theirs) == ours
    assert dashed(joined(ours)) == ours


def test_a_symbol_goes_to_who_trades_it_unless_the_vendor_is_named() -> None:
    assert by_vendor(["BTC-USD,ETH-EUR", "BTCUSDT", "binance:ETH-BTC"]) == {
        "coinbase": ("BTC-USD", "ETH-EUR"),
        "binance": ("BTC-USDT", "ETH-BTC"),
    }


@pytest.mark.parametrize("wanted", ["", "nobody:BTC-USD", "B C", "binance:"])
def test_what_is_no_pair_is_said(wanted: str) -> None:
    with pytest.raises(ParameterError, match="write"):
        by_vendor([wanted])
