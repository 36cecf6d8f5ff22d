"""The vendors by name."""

from marketpulse.settings import BinanceSettings, StreamSettings
from marketpulse.sources.actions.ledger import ActionsVendor
from marketpulse.sources.actions.vendors import AlpacaActions, FinnhubActions, PolygonActions
from marketpulse.sources.news.vendors import AlpacaNews, FinnhubNews, NewsVendor, PolygonNews
from marketpulse.sources.streaming.alpaca import Alpaca
from marketpulse.sources.streaming.binance import Binance
from marketpulse.sources.streaming.coinbase import Coinbase
from marketpulse.sources.streaming.finnhub import Finnhub
from marketpulse.sources.streaming.polygon import Polygon
from marketpulse.sources.streaming.vendor import TimedVendor, Vendor

VENDORS: dict[str, Vendor] = {"coinbase": Coinbase(), "binance": Binance()}
TIMED: dict[str, TimedVendor] = {"alpaca": Alpaca(), "polygon": Polygon(), "finnhub": Finnhub()}
"""Those whose trade ids do not count, so what did not come is asked for by time."""
ASIDE: dict[str, tuple[ActionsVendor, NewsVendor]] = {
    "alpaca": (AlpacaActions(), AlpacaNews()),
    "polygon": (PolygonActions(), PolygonNews()),
    "finnhub": (FinnhubActions(), FinnhubNews()),
}
"""How those are asked for splits and dividends, and for news."""


def vendor_of(settings: StreamSettings, kind: str) -> Vendor:
    """The vendor as these settings want it."""
    if isinstance(settings, BinanceSettings) and settings.aggregates:
        return Binance(aggregates=True)
    return VENDORS[kind]
