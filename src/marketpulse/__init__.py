"""MarketPulse: market data through Apache Kafka into live and stored insight.

    sources/ ──> market ──> engine/ ──> bars, indicators, live ──> sinks/  web/  query/
    (replay,    (the log)   (check -> bars -> indicators)          (lake, archive, pages, SQL)
    simulate)                   └─> dead-letters

Kafka is the only road between processes; `app/pipeline/` is the only place that wires rooms together.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from marketpulse.app.compute import compute
    from marketpulse.indicators.own import indicator

__version__ = "0.1.0"
__all__ = ["__version__", "compute", "indicator"]


def __getattr__(name: str) -> Any:
    """`compute` and `indicator` are loaded at their first use: they bring the engine with them."""
    if name == "compute":
        from marketpulse.app.compute import compute

        return compute
    if name == "indicator":
        from marketpulse.indicators.own import indicator

        return indicator
    raise AttributeError(f"module 'marketpulse' has no attribute {name!r}")
