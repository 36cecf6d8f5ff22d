import json
from typing import Any

import pyarrow as pa

from market_rows import config_of
from marketpulse.app.receipts.lake_splits import missed_splits, split_words, waiting_splits
from split_rows import split

CONFIG = config_of(["3t", "1s", "1d"])
SCHEMA = pa.schema([("type", pa.string()), ("body", pa.string()), ("offset", pa.int64()), ("row", pa.int32())])


def events(*records: tuple[int, dict[str, Any]]) -> pa.Table:
    rows = [{"type": r["type"], "body": json.dumps(r), "offset": at, "row": 0} for at, r in records]
    return pa.Table.from_pylist(rows, SCHEMA)


def rebuild(part: int, **more: Any) -> dict[str, Any]:
    return {"type": "rebuild", "symbol": "A", "id": "x", "part": part, "parts": 2, **more}


FIRST, MISSED, CORRECTED = split("A", 0, 4.0), split("A", 9, 2.0), split("A", 0, 3.0)
EX, LATER = FIRST["ex_time_ns"], MISSED["ex_time_ns"]


def test_each_timeframe_goes_by_what_it_knew() -> None:
    words = split_words(events((7, MISSED), (3, FIRST), (9, CORRECTED)), {(7, 0): ("1s",), (9, 0): ("3t", "1s")})
    assert waiting_splits(words, CONFIG) == {"A": {EX: [4, 4, 3, 3], LATER: [2, 1, 2, 2]}}
    assert missed_splits(words, CONFIG) == [EX, LATER]


def test_a_rebuild_believes_what_is_known_but_for_bars_cut_by_count() -> None:
    letters = {(7, 0): ("3t", "1s")}
    half = split_words(events((7, MISSED), (8, rebuild(0))), letters)
    assert missed_splits(half, CONFIG) == [LATER]
    whole = split_words(events((7, MISSED), (8, rebuild(0)), (9, rebuild(1))), letters)
    assert waiting_splits(whole, CONFIG) == {"A": {LATER: [1, 2, 2, 2]}}
    assert missed_splits(whole, CONFIG) == []
    refused = split_words(events((7, MISSED), (9, rebuild(1))), {**letters, (9, 0): ()})
    assert missed_splits(refused, CONFIG) == [LATER]


def test_a_record_that_was_refused_whole_is_none() -> None:
    assert split_words(events((7, MISSED)), {(7, 0): ()}) == []


def test_prices_that_are_adjusted_need_no_ratio() -> None:
    words = split_words(events((1, split("A", 9, 2.0, adjusted=True))), {})
    assert waiting_splits(words, CONFIG) == {"A": {LATER: [1, 1, 1, 1]}}
