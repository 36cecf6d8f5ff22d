"""Feeds over WebSockets that need no key, and recordings of them."""

from pathlib import Path
from typing import Literal

from pydantic import Field, model_validator

from marketpulse.settings.sections import Section


class StreamSettings(Section):
    """What all of them have. `url` and `rest_url` differ in their defaults."""

    symbols: tuple[str, ...] = Field(
        min_length=1, max_length=80, description="pairs such as BTC-USD; for more make a second source"
    )
    url: str = Field("", description="the address of the feed; another for a mirror")
    rest_url: str = Field("", description="where missing trades are asked for")
    trades: bool = Field(True, description="every trade, checked by its id")
    quotes: bool = Field(True, description="best bid and ask")
    with_venue: bool = Field(
        False, description="symbols carry the venue (BTC-USDT.BINANCE), where another source has the same pair"
    )
    silence_s: float = Field(15, gt=0, description="silence after which the connection is made anew")
    refill: bool = Field(True, description="ask by REST for trades that the feed did not bring")
    refill_trades_max: int = Field(
        200_000, ge=0, description="of a longer gap only so many trades, the newest, are asked for"
    )
    record: Path | None = Field(None, description="a directory that keeps every message as it came; unset: none")


class CoinbaseSettings(StreamSettings):
    kind: Literal["coinbase"] = "coinbase"
    url: str = Field("wss://ws-feed.exchange.coinbase.com", description="the address of the feed; another for a mirror")
    rest_url: str = Field("https://api.exchange.coinbase.com", description="where missing trades are asked for")


class BinanceSettings(StreamSettings):
    kind: Literal["binance"] = "binance"
    url: str = Field("wss://stream.binance.com:9443", description="the address of the feed; another for a mirror")
    rest_url: str = Field("https://api.binance.com", description="where missing trades are asked for")
    aggregates: bool = Field(
        False, description="aggregates in place of single trades: fewer messages, one row for each of them"
    )


class KeyedStreamSettings(Section):
    """What feeds have that need a key, and whose trade ids do not count. `url` and `rest_url` differ in their defaults."""

    symbols: tuple[str, ...] = Field(
        min_length=1, max_length=50, description="what to hear, such as AAPL or BRK.B; for more make a second source"
    )
    url: str = Field("", description="the address of the feed")
    rest_url: str = Field("", description="where it is asked for what a lost connection did not bring")
    trades: bool = Field(True, description="every trade")
    quotes: bool = Field(True, description="best bid and ask")
    bars: bool = Field(
        False,
        description="bars of a minute as the vendor makes them, in place of trades: a symbol has one or the other",
    )
    silence_s: float = Field(
        120, gt=0, description="silence, while the venue is open, after which the connection is made anew"
    )
    refill: bool = Field(True, description="ask by REST for the time that a connection was away")
    refill_days_max: float = Field(5, gt=0, description="of a longer time only so much, the newest, is asked for")
    overlap_s: float = Field(
        5, ge=0, description="by how much more than the lost time is asked for; what came already is left"
    )
    delay_s: float = Field(0, ge=0, description="how far the feed runs behind, where the plan has it delayed")
    requests_per_minute: int = Field(180, ge=2, description="never more are asked by REST")
    corporate_actions: bool = Field(
        True, description="splits and dividends, asked for by REST at the start and once a day"
    )
    news: bool = Field(False, description="news of the symbols, asked for by REST: a request for each in every round")
    news_every_s: float = Field(300, ge=10, description="how often it is asked for news of all symbols")
    record: Path | None = Field(None, description="a directory that keeps every message as it came; unset: none")

    @property
    def late_s(self) -> float:
        """How far the feed runs behind."""
        return self.delay_s

    @model_validator(mode="after")
    def _one_origin(self) -> "KeyedStreamSettings":
        if self.trades and self.bars:
            raise ValueError("a symbol's bars come from its trades or from the vendor: set trades or bars to false")
        return self


class AlpacaSettings(KeyedStreamSettings):
    kind: Literal["alpaca"] = "alpaca"
    url: str = Field("wss://stream.data.alpaca.markets", description="the address of the feed")
    rest_url: str = Field(
        "https://data.alpaca.markets", description="where it is asked for what a lost connection did not bring"
    )
    feed: Literal["iex", "sip", "delayed_sip", "crypto"] = Field(
        "iex", description="IEX alone (free), all venues, all of them 15 minutes late, or pairs such as BTC-USD"
    )
    msgpack: bool = Field(False, description="ask for MessagePack frames in place of JSON")

    @property
    def late_s(self) -> float:
        return max(self.delay_s, 900.0) if self.feed == "delayed_sip" else self.delay_s


class PolygonSettings(KeyedStreamSettings):
    kind: Literal["polygon"] = "polygon"
    url: str = Field(
        "wss://socket.massive.com",
        description="the address of the feed; wss://delayed.massive.com with delay_s = 900 for the plan that is late",
    )
    rest_url: str = Field(
        "https://api.massive.com", description="where it is asked for what a lost connection did not bring"
    )
    market: Literal["stocks", "crypto"] = Field("stocks", description="stocks, or pairs such as BTC-USD")


class FinnhubSettings(KeyedStreamSettings):
    """It has trades only, without ids."""

    kind: Literal["finnhub"] = "finnhub"
    url: str = Field("wss://ws.finnhub.io", description="the address of the feed")
    rest_url: str = Field("https://finnhub.io", description="this vendor has no history of trades to ask for")
    quotes: bool = Field(False, description="this feed has none")
    corporate_actions: bool = Field(
        False, description="splits and dividends, asked for once a day; a free key does not have them"
    )
    calendar: str = Field("XNYS", description="when its symbols trade, a MIC or 24x7: a silence outside is no loss")

    @model_validator(mode="after")
    def _trades_only(self) -> "FinnhubSettings":
        if self.quotes or self.bars or not self.trades:
            raise ValueError("this feed has trades only: leave trades, quotes and bars as they are")
        return self


class RecordingSettings(Section):
    kind: Literal["recording"] = "recording"
    files: tuple[str, ...] = Field(
        description="recorded messages, .jsonl or .jsonl.gz; globs and directories are taken"
    )
    vendor: Literal["auto", "coinbase", "binance", "alpaca", "polygon", "finnhub"] = Field(
        "auto", description="whose messages they are; auto: the files tell"
    )
    symbol: str | None = Field(
        None, description="the symbol of recorded answers by REST, which do not name it; unset: messages of a feed"
    )
    with_venue: bool = Field(False, description="symbols carry the venue")
