"""What the rules of data quality mark, as records of `market`: a row that stays, and what is wrong with it."""

from typing import Any

import numpy as np
import orjson

from marketpulse.engine.findings import RULE_NAMES, describe
from marketpulse.engine.quality import MARK
from marketpulse.model.market import ABSENT, Kind, MarketBatch

Row = dict[str, Any]


def quality_notices(batch: MarketBatch, found: np.ndarray) -> list[tuple[bytes, bytes]]:
    """(key, value) of a record for each finding (FOUND) whose severity is `mark`, in order."""
    return [(str(row["symbol"]).encode(), orjson.dumps(row)) for row in quality_records(batch, found)]


def quality_records(batch: MarketBatch, found: np.ndarray) -> list[Row]:
    """The same as rows of `market`."""
    return [_notice(batch, one) for one in found[found["severity"] == MARK]] if len(found) else []


def notice_batch(batch: MarketBatch, records: list[Row]) -> MarketBatch:
    """Records about rows of a batch of files, as rows that stand beside these: at their offsets, as their rows 1 and up,
    one for each rule."""
    notices = MarketBatch.empty(batch.topic, batch.partition, batch.strings, len(records))
    notices.kind[:] = Kind.QUALITY
    for i, record in enumerate(records):
        notices.symbol[i], notices.source[i] = (batch.strings.intern(record[name]) for name in ("symbol", "source"))
        notices.event_time_ns[i], notices.offset[i] = record["event_time_ns"], record["offset"]
        notices.row[i] = 1 + RULE_NAMES.index(record["rule"])
        notices.rare[i] = record
    return notices


def _notice(batch: MarketBatch, found: np.void) -> Row:
    row = int(found["row"])
    symbol, source = int(batch.symbol[row]), int(batch.source[row])
    rare = batch.rare.get(row, {}) if batch.kind[row] > Kind.CLOCK else {}
    name = batch.strings[symbol] if symbol != ABSENT else str(rare["symbol"])
    return {
        "type": "quality",
        "symbol": name,
        "source": batch.strings[source],
        "event_time_ns": int(batch.event_time_ns[row]) if not rare else int(rare["event_time_ns"]),
        "rule": RULE_NAMES[found["rule"]],
        "offset": int(batch.offset[row]),
        "row": int(batch.row[row]),
        "value": float(found["value"]),
        "expected": float(found["expected"]),
        "detail": describe(found),
    }
