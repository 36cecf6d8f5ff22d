"""Bytes <-> batch, both wires, both directions. Pure: no client, no clock, no file.

    MarketDecoder.decode    records of `market`     -> MarketBatch and dead letters
    to_tables               MarketBatch             -> trades, quotes, events (for stores)
    row_as_json             one row of a batch      -> its JSON object
    encode_market           rows of a source        -> records of `market`
    encode_rows             bars, indicators, live  -> records of their topics
    lay_out_rows            the same, end to end in memory
    decode_rows             records of those topics -> rows

A record is one JSON object, or an Arrow IPC stream of many rows, marked by its content-type header.
"""

from marketpulse.kafka.frame_writer import FRAME_CONTENT_TYPE, FRAME_HEADERS
from marketpulse.kafka.market_decoder import MarketDecoder
from marketpulse.kafka.market_encoder import Encoded, encode_market
from marketpulse.kafka.market_tables import row_as_json, to_tables
from marketpulse.kafka.row_codec import RowRecords, decode_rows, encode_rows, lay_out_rows

__all__ = [
    "FRAME_CONTENT_TYPE",
    "FRAME_HEADERS",
    "Encoded",
    "MarketDecoder",
    "RowRecords",
    "decode_rows",
    "encode_market",
    "encode_rows",
    "lay_out_rows",
    "row_as_json",
    "to_tables",
]
