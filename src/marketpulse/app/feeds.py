"""Which sources there are, by name."""

import re
from typing import Any

from marketpulse.settings import Settings


def configured_sources(settings: Settings) -> dict[str, Any]:
    """The sources of the configuration, or those of a first run where it has none."""
    if settings.sources:
        return dict(settings.sources)
    from marketpulse.sources.defaults import default_sources

    return dict(default_sources())


def process_name(source: str) -> str:
    """The name of the process that feeds a source; it is a file's name too."""
    return "produce-" + re.sub(r"[^A-Za-z0-9._-]", "_", source)
