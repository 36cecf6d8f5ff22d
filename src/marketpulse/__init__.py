"""MarketPulse: market data through Apache Kafka into live and stored insight.

    sources/ ──> market ──> engine/ ──> bars, indicators, live ──> sinks/  web/  query/
    (replay,    (the log)   (check -> bars -> indicators)          (lake, archive, pages, SQL)
    simulate)                   └─> dead-letters

Kafka is the only road between processes; `app/pipeline/` is the only place that wires rooms together.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from marketpulse.app.compute import compute
    from marketpulse.app.notebook.frames import live, sql, stored
    from marketpulse.app.notebook.pictures import chart
    from marketpulse.indicators.own import indicator

__version__ = "0.1.0"
__all__ = ["__version__", "chart", "compute", "indicator", "live", "sql", "stored"]


_MODULES = {
    "chart": "marketpulse.app.notebook.pictures",
    "compute": "marketpulse.app.compute",
    "indicator": "marketpulse.indicators.own",
    "live": "marketpulse.app.notebook.frames",
    "sql": "marketpulse.app.notebook.frames",
    "stored": "marketpulse.app.notebook.frames",
}


def __getattr__(name: str) -> Any:
    """All but the version is loaded at its first use: it brings the engine, the lake or the log with it."""
    if name not in _MODULES:
        raise AttributeError(f"module 'marketpulse' has no attribute {name!r}")
    from importlib import import_module

    from marketpulse.cache import kept_bytecode

    with kept_bytecode():
        return getattr(import_module(_MODULES[name]), name)
