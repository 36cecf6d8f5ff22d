"""The vendors by name."""

from marketpulse.settings import BinanceSettings, StreamSettings
from marketpulse.sources.streaming.binance import Binance
from marketpulse.sources.streaming.coinbase import Coinbase
from marketpulse.sources.streaming.vendor import Vendor

VENDORS: dict[str, Vendor] = {"coinbase": Coinbase(), "binance": Binance()}


def vendor_of(settings: StreamSettings, kind: str) -> Vendor:
    """The vendor as these settings want it."""
    if isinstance(settings, BinanceSettings) and settings.aggregates:
        return Binance(aggregates=True)
    return VENDORS[kind]
