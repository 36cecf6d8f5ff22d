"""MarketPulse: market data through Apache Kafka into live and stored insight.

    sources/ ──> market ──> engine/ ──> bars, indicators, live ──> sinks/  web/  query/
    (replay,    (the log)   (check -> bars -> indicators)          (lake, archive, pages, SQL)
    simulate)                   └─> dead-letters

Kafka is the only road between processes; `app/pipeline/` is the only place that wires rooms together.
"""

__version__ = "0.1.0"
