"""Pairs by our name and the vendor's, and who feeds which."""

import pytest

from marketpulse.errors import ParameterError
from marketpulse.sources.streaming.symbols import by_vendor, dashed, is_stock, joined


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


def test_a_stock_goes_to_the_first_vendor_whose_key_is_set() -> None:
    assert by_vendor(["AAPL,brk-b", "BTC-USD"], ["finnhub", "alpaca"]) == {
        "alpaca": ("AAPL", "BRK.B"),
        "coinbase": ("BTC-USD",),
    }
    assert by_vendor(["IBM"], ["finnhub"]) == {"finnhub": ("IBM",)}
    with pytest.raises(
        ParameterError, match=r"APCA_API_KEY_ID and APCA_API_SECRET_KEY.*POLYGON_API_KEY.*FINNHUB_API_KEY"
    ):
        by_vendor(["AAPL"])


def test_a_named_vendor_is_taken_at_its_word() -> None:
    assert by_vendor(["alpaca:AAPL", "polygon:msft", "finnhub:BINANCE:BTCUSDT", "alpaca:BTC/USD"]) == {
        "alpaca": ("AAPL", "BTC-USD"), "polygon": ("MSFT",), "finnhub": ("BINANCE:BTCUSDT",),
    }  # fmt: skip


@pytest.mark.parametrize("word", ["AAPL", "F", "BRK.B", "brk-b", "GOOGL", "ABTC"])
def test_what_is_no_pair_is_a_stock(word: str) -> None:
    assert is_stock(word)


@pytest.mark.parametrize("word", ["BTCUSD", "BTC-USD", "ETHBTC", "btcusdt", "OPUSD", "B C", "1INCH-USD"])
def test_what_is_a_pair_is_no_stock(word: str) -> None:
    assert not is_stock(word)


@pytest.mark.parametrize("wanted", ["", "nobody:BTC-USD", "alpaca:", "alpaca:A B", "B C", "binance:"])
def test_what_is_no_pair_is_said(wanted: str) -> None:
    with pytest.raises(ParameterError, match="write"):
        by_vendor([wanted])
