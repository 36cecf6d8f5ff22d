"""Bytes <-> batch, both wires, both directions. Pure: no client, no clock, no file.

in:   MarketDecoder.decode   records of `market`   -> MarketBatch and dead letters
"""

from marketpulse.kafka.market_decoder import MarketDecoder

__all__ = ["MarketDecoder"]
