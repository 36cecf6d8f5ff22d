"""Which sources there are, by name."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from marketpulse.errors import ParameterError
from marketpulse.settings import Settings
from marketpulse.telemetry import get_logger


def configured_sources(settings: Settings) -> dict[str, Any]:
    """The sources of the configuration, or those of a first run where it has none."""
    if settings.sources:
        return dict(settings.sources)
    from marketpulse.sources.defaults import default_sources

    return dict(default_sources())


def live_sources(
    settings: Settings, wanted: Sequence[str], record: Path | None = None, with_venue: bool = False
) -> dict[str, Any]:
    """The feeds that `--live` asks for, one a vendor: as a configured source of that vendor, else with the defaults.

    A pair that two of them bring carries its venue. A stock goes to a vendor whose key is set. Raises ParameterError.
    """
    from marketpulse.settings import AlpacaSettings, BinanceSettings, CoinbaseSettings, FinnhubSettings, PolygonSettings
    from marketpulse.sources.streaming.symbols import KEYED, by_vendor

    kinds: dict[str, Any] = {
        "coinbase": CoinbaseSettings, "binance": BinanceSettings, "alpaca": AlpacaSettings, "polygon": PolygonSettings,
        "finnhub": FinnhubSettings,
    }  # fmt: skip
    with_key = _with_key(settings)
    pairs = by_vendor(wanted, with_key)
    both = [pair for vendor, found in pairs.items() for pair in found if vendor not in KEYED]
    found: dict[str, Any] = {}
    for vendor, symbols in pairs.items():
        changed: dict[str, Any] = {"symbols": symbols}
        if record is not None:
            changed["record"] = record
        if vendor in KEYED:
            if vendor not in with_key:
                raise ParameterError(
                    f"--live {vendor}: it needs a key: set {' and '.join(KEYED[vendor])} in the environment or in `.env`"
                )
            changed |= _market_of(vendor, symbols)
            get_logger().info("live_from", vendor=vendor, symbols=" ".join(symbols), why="its key is set")
        elif with_venue or any(both.count(pair) > 1 for pair in symbols):
            changed["with_venue"] = True
        base = next((s for s in settings.sources.values() if s.kind == vendor), None)
        given = {} if base is None else base.model_dump()
        try:
            found[vendor] = kinds[vendor](**{**given, **changed})
        except ValueError as error:
            raise ParameterError(f"--live {vendor}: {error}") from None
    return found


def _with_key(settings: Settings) -> list[str]:
    keys = settings.keys
    there = {"alpaca": keys.alpaca and keys.alpaca_secret, "polygon": keys.polygon, "finnhub": keys.finnhub}
    return [vendor for vendor, key in there.items() if key and key.get_secret_value()]


def _market_of(vendor: str, symbols: Sequence[str]) -> dict[str, str]:
    """The market that these are traded in, where a vendor has one connection for each. Raises ParameterError."""
    from marketpulse.sources.streaming.symbols import is_pair

    some = [symbol for symbol in symbols if is_pair(symbol)]
    names = {"alpaca": "feed", "polygon": "market"}
    if not some or vendor not in names:
        return {}
    if len(some) < len(symbols):
        raise ParameterError(
            f"--live {vendor}: it has stocks and pairs on two connections: name pairs or stocks, and configure a source for the others"
        )
    return {names[vendor]: "crypto"}


def process_name(source: str) -> str:
    """The name of the process that feeds a source; it is a file's name too."""
    return "produce-" + re.sub(r"[^A-Za-z0-9._-]", "_", source)
