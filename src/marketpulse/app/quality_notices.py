"""What the rules of data quality mark, as records of `market`: a row that stays, and what is wrong with it."""

import numpy as np
import orjson

from marketpulse.engine.findings import RULE_NAMES, describe
from marketpulse.engine.quality import MARK
from marketpulse.model.market import ABSENT, Kind, MarketBatch


def quality_notices(batch: MarketBatch, found: np.ndarray) -> list[tuple[bytes, bytes]]:
    """(key, value) of a record for each finding (FOUND) whose severity is `mark`, in order."""
    return [_notice(batch, one) for one in found[found["severity"] == MARK]] if len(found) else []


def _notice(batch: MarketBatch, found: np.void) -> tuple[bytes, bytes]:
    row = int(found["row"])
    symbol, source = int(batch.symbol[row]), int(batch.source[row])
    rare = batch.rare.get(row, {}) if batch.kind[row] > Kind.CLOCK else {}
    name = batch.strings[symbol] if symbol != ABSENT else str(rare["symbol"])
    record = {
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
    return name.encode(), orjson.dumps(record)
