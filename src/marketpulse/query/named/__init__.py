"""Ten queries that are asked of market data again and again, by name."""

from marketpulse.query.named.library import NAMED, NamedQuery, Parameter, named

__all__ = ["NAMED", "NamedQuery", "Parameter", "named"]
