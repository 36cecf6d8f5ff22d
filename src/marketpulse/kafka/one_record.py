"""One record at a time: the slow way in, for what the fast ways leave, by the authority's rules."""

from typing import Any

import numpy as np
import orjson

from marketpulse.foreign_json import parse_json
from marketpulse.kafka.columns import (
    CLOSE_TIME,
    EVENT_TIME,
    FINAL,
    INGEST_TIME,
    KIND,
    OPEN_TIME,
    SESSION_DATE,
    SOURCE,
    SYMBOL,
    TIMEFRAME,
    TRADE_COUNT,
    TRADE_ID_LENGTH,
    TRADE_ID_START,
    VENUE,
    A,
    B,
    C,
    Columns,
    D,
    E,
    F,
)
from marketpulse.kafka.market_contract import CONTRACT, Refused, checked, days_of
from marketpulse.model.market import RECORD_BYTES_MAX, Kind, StringTable
from marketpulse.model.timeframe import DAY_NS

FLOATS: dict[Kind, tuple[tuple[int, str], ...]] = {
    Kind.TRADE: ((A, "price"), (B, "size")),
    Kind.QUOTE: ((A, "bid"), (B, "bid_size"), (C, "ask"), (D, "ask_size")),
    Kind.BAR: ((A, "open"), (B, "high"), (C, "low"), (D, "close"), (E, "volume"), (F, "vwap")),
}


def read_object(value: bytes | None) -> dict[str, Any]:
    """The JSON object that a record's value is. Raises Refused."""
    if value is None:
        raise Refused("not_json", "the record has no value (a tombstone)")
    if len(value) > RECORD_BYTES_MAX:
        raise Refused("too_large", f"{len(value):,} bytes; market data has at most {RECORD_BYTES_MAX:,}")
    try:
        found = parse_json(value)
    except orjson.JSONDecodeError as error:
        raise Refused("not_json", f"the value is not JSON: {error}") from None
    if not isinstance(found, dict):
        raise Refused("not_json", f"the value is JSON, but a {type(found).__name__} instead of an object")
    return found


class Writer:
    """Puts checked records into columns. Trade ids that stand in no buffer yet are gathered in `extra`."""

    def __init__(self, columns: Columns, strings: StringTable) -> None:
        self.columns, self.strings = columns, strings
        self.extra = bytearray()
        self._base = len(columns.data)

    def take(self, row: int, record: dict[str, Any]) -> None:
        """Check the record and write it to this row, whole. Raises Refused."""
        kind = checked(record)
        columns = self.columns
        columns.blank(row)
        columns.flags[KIND, row] = kind
        self._take_names(row, kind, record)
        self._take_times(row, kind, record)
        for column, name in FLOATS.get(kind, ()):
            if (value := record.get(name)) is not None:
                columns.floats[column, row] = float(value) + 0.0  # -0.0 becomes 0.0
        if kind == Kind.TRADE:
            self._take_trade(row, record)
        elif kind == Kind.BAR:
            self._take_bar(row, record)
        elif kind > Kind.CLOCK:
            columns.rare[row] = record

    def finish(self) -> None:
        """Join the gathered trade ids to the columns' bytes."""
        if self.extra:
            self.columns.data = np.concatenate([self.columns.data, np.frombuffer(self.extra, np.uint8)])

    def _take_names(self, row: int, kind: Kind, record: dict[str, Any]) -> None:
        for column, name in ((SYMBOL, "symbol"), (SOURCE, "source"), (VENUE, "venue"), (TIMEFRAME, "timeframe")):
            if name in CONTRACT[kind] and (text := record.get(name)):
                self.columns.ids[column, row] = self.strings.intern(text)

    def _take_times(self, row: int, kind: Kind, record: dict[str, Any]) -> None:
        for column, name in ((EVENT_TIME, "event_time_ns"), (INGEST_TIME, "ingest_time_ns")):
            if name in CONTRACT[kind] and (value := record.get(name)) is not None:
                self.columns.longs[column, row] = value

    def _take_trade(self, row: int, record: dict[str, Any]) -> None:
        trade_id = record.get("trade_id")
        if trade_id is not None and trade_id != "":
            text = str(trade_id).encode()
            self.columns.longs[TRADE_ID_START, row] = self._base + len(self.extra)
            self.columns.ids[TRADE_ID_LENGTH, row] = len(text)
            self.extra += text
        if record.get("conditions"):
            self.columns.rare[row] = {"conditions": record["conditions"]}

    def _take_bar(self, row: int, record: dict[str, Any]) -> None:
        longs = self.columns.longs
        if (text := record.get("session_date")) is not None:
            day = days_of(text)
            self.columns.ids[SESSION_DATE, row] = day
            longs[OPEN_TIME, row], longs[CLOSE_TIME, row] = day * DAY_NS, (day + 1) * DAY_NS
        for column, name in ((OPEN_TIME, "open_time_ns"), (CLOSE_TIME, "close_time_ns"), (TRADE_COUNT, "trade_count")):
            if (value := record.get(name)) is not None:
                longs[column, row] = value
        self.columns.flags[FINAL, row] = record.get("final") is not False
        if isinstance(extra := record.get("extra"), dict) and extra:
            self.columns.rare[row] = {"extra": extra}
