"""Which sources there are, by name."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from marketpulse.errors import ParameterError
from marketpulse.settings import Settings


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

    A pair that two of them bring carries its venue. Raises ParameterError.
    """
    from marketpulse.settings import BinanceSettings, CoinbaseSettings
    from marketpulse.sources.streaming.symbols import by_vendor

    kinds = {"coinbase": CoinbaseSettings, "binance": BinanceSettings}
    pairs = by_vendor(wanted)
    both = [pair for found in pairs.values() for pair in found]
    found: dict[str, Any] = {}
    for vendor, symbols in pairs.items():
        changed: dict[str, Any] = {"symbols": symbols}
        if record is not None:
            changed["record"] = record
        if with_venue or any(both.count(pair) > 1 for pair in symbols):
            changed["with_venue"] = True
        base = next((s for s in settings.sources.values() if s.kind == vendor), None)
        given = {} if base is None else base.model_dump()
        try:
            found[vendor] = kinds[vendor](**{**given, **changed})
        except ValueError as error:
            raise ParameterError(f"--live {vendor}: {error}") from None
    return found


def process_name(source: str) -> str:
    """The name of the process that feeds a source; it is a file's name too."""
    return "produce-" + re.sub(r"[^A-Za-z0-9._-]", "_", source)
