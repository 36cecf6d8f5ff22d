"""Feeds over WebSockets that need no key, and recordings of them."""

from pathlib import Path
from typing import Literal

from pydantic import Field

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
        False,
        description="symbols carry the venue (BTC-USDT.BINANCE), where another source has the same pair",
    )
    silence_s: float = Field(15, gt=0, description="silence after which the connection is made anew")
    refill: bool = Field(True, description="ask by REST for trades that the feed did not bring")
    refill_trades_max: int = Field(
        200_000, ge=0, description="of a longer gap only so many trades, the newest, are asked for"
    )
    record: Path | None = Field(
        None, description="a directory that keeps every message as it came; unset: none"
    )


class CoinbaseSettings(StreamSettings):
    kind: Literal["coinbase"] = "coinbase"
    url: str = Field(
        "wss://ws-feed.exchange.coinbase.com", description="the address of the feed; another for a mirror"
    )
    rest_url: str = Field(
        "https://api.exchange.coinbase.com", description="where missing trades are asked for"
    )


class BinanceSettings(StreamSettings):
    kind: Literal["binance"] = "binance"
    url: str = Field(
        "wss://stream.binance.com:9443", description="the address of the feed; another for a mirror"
    )
    rest_url: str = Field("https://api.binance.com", description="where missing trades are asked for")
    aggregates: bool = Field(
        False, description="aggregates in place of single trades: fewer messages, one row for each of them"
    )


class RecordingSettings(Section):
    kind: Literal["recording"] = "recording"
    files: tuple[str, ...] = Field(
        description="recorded messages, .jsonl or .jsonl.gz; globs and directories are taken"
    )
    vendor: Literal["auto", "coinbase", "binance"] = Field(
        "auto", description="whose messages they are; auto: the files tell"
    )
    symbol: str | None = Field(
        None, description="the symbol of recorded answers by REST, which do not name it; unset: messages of a feed"
    )
    with_venue: bool = Field(False, description="symbols carry the venue")
