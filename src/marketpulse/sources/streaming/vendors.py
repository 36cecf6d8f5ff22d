"""The vendors by name."""

from marketpulse.sources.streaming.binance import Binance
from marketpulse.sources.streaming.coinbase import Coinbase
from marketpulse.sources.streaming.vendor import Vendor

VENDORS: dict[str, Vendor] = {"coinbase": Coinbase(), "binance": Binance()}
