"""The stored tables: which topic feeds each, and their schemas."""

import pyarrow as pa

from marketpulse.model.market import EVENT, QUOTE, TRADE
from marketpulse.model.rows import ALERT, BAR, DEAD_LETTER, INDICATORS_HEAD

LOADED_TOPIC = "file:"
"""What the topic of rows begins with that were loaded from a file and stand in no log."""

_POSITION = [("topic", pa.string()), ("partition", pa.int32()), ("offset", pa.int64()), ("row", pa.int32())]


def with_position(schema: pa.Schema) -> pa.Schema:
    """The schema with the row's place in the log behind it: `topic`, `partition`, `offset`, `row`.

    For rows that came from a file, `topic` names the file, and `offset` is the number of its line or row."""
    for name, kind in _POSITION:
        schema = schema.append(pa.field(name, kind))
    return schema


TABLES: dict[str, tuple[str, pa.Schema]] = {
    "trades": ("market", with_position(TRADE)),
    "quotes": ("market", with_position(QUOTE)),
    "events": ("market", with_position(EVENT)),
    "bars": ("bars", BAR),
    "indicators": ("indicators", INDICATORS_HEAD),
    "alerts": ("alerts", ALERT),
    "dead_letters": ("dead-letters", DEAD_LETTER),
}
"""Table -> (topic, schema). `events` holds the rest of `market` as JSON text (bars of a source among
them), but for heartbeats and clocks. `indicators` has one more column per indicator name, and the
receipt behind them (model.rows.indicators_schema)."""

EVENT_TIME_COLUMN = {
    "trades": "event_time_ns",
    "quotes": "event_time_ns",
    "events": "event_time_ns",
    "bars": "open_time_ns",
    "indicators": "open_time_ns",
    "alerts": "event_time_ns",
    "dead_letters": None,
}
"""The column whose UTC date a row is filed under; None: the date of writing."""
