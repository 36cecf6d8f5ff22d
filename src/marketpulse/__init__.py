"""MarketPulse: market data through Apache Kafka into live and stored insight.

    sources/ ──> market ──> engine/ ──> bars, indicators, live ──> sinks/  web/  query/
    (replay,    (the log)   (check -> bars -> indicators)          (lake, archive, pages, SQL)
    simulate)                   └─> dead-letters

Kafka is the only road between processes; `app/pipeline/` is the only place that wires rooms together.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from marketpulse.app.compute import compute
    from marketpulse.app.notebook import chart, live, sql, stored
    from marketpulse.indicators.own import indicator

__version__ = "0.1.0"
__all__ = ["__version__", "chart", "compute", "indicator", "live", "sql", "stored"]


def __getattr__(name: str) -> Any:
    """All but the version is loaded at its first use: it brings the engine, the lake or the log with it."""
    if name == "compute":
        from marketpulse.app.compute import compute

        return compute
    if name == "indicator":
        from marketpulse.indicators.own import indicator

        return indicator
    if name in ("chart", "live", "sql", "stored"):
        from marketpulse.app import notebook

        return getattr(notebook, name)
    raise AttributeError(f"module 'marketpulse' has no attribute {name!r}")
