"""What decoding and encoding cost: our wire beside readers that others use, in one process, on one core.

    python bench/decode.py [--records 1000000]

Prints one JSON object per figure. Every reader gets the same records: trades as the contract has
them. The peers stop at Python objects or columns of texts; ours goes on to checked columns with interned names.
"""

import argparse
import io
import json
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import orjson
import polars as pl
import pyarrow as pa
import pyarrow.json
from results import report

from marketpulse.kafka.codec import MarketDecoder, encode_market, encode_rows
from marketpulse.kafka.records import records_of
from marketpulse.model.market import TRADE
from marketpulse.model.rows import RECEIPT, indicators_schema

BATCH = 10_000  # records of one poll
T0 = 1_767_225_600_123_456_789
NAMES = ["sma_20", "ema_12", "ema_26", "rsi_14", "macd_12_26_9", "macd_12_26_9_signal", "macd_12_26_9_hist", "vwap"]


def trade_values(count: int) -> list[bytes]:
    return [
        b'{"type":"trade","symbol":"SYM%d","source":"bench","event_time_ns":%d,"price":%d.%02d,"size":%d,"trade_id":"%d"}'
        % (i * 7_919 % 500, T0 + i * 1_000, 100 + i % 50, i % 100, 100 + i % 9, 123_456 + i)
        for i in range(count)
    ]


def batches_of(values: list[bytes]) -> Iterator[list[bytes]]:
    for start in range(0, len(values), BATCH):
        yield values[start : start + BATCH]


def with_marketpulse(values: list[bytes]) -> None:
    decoder = MarketDecoder()
    for batch in batches_of(values):
        decoded, letters = decoder.decode("market", records_of(batch))
        assert len(decoded) == len(batch)
        assert not letters


def with_frames(frames: list[bytes]) -> None:
    decoder = MarketDecoder()
    for frame in frames:
        decoder.decode("market", records_of([frame], frames=True))


def with_orjson(values: list[bytes]) -> None:
    for value in values:
        orjson.loads(value)


def with_pyarrow(values: list[bytes]) -> None:
    options = pyarrow.json.ReadOptions(use_threads=False, block_size=16_000_000)
    for batch in batches_of(values):
        pyarrow.json.read_json(io.BytesIO(b"\n".join(batch)), read_options=options)


def with_polars(values: list[bytes]) -> None:
    for batch in batches_of(values):
        pl.read_ndjson(b"\n".join(batch))


def trade_batch(count: int) -> pa.RecordBatch:
    rows = [{**json.loads(value), "price": 100 + i / 7} for i, value in enumerate(trade_values(count))]
    return pa.RecordBatch.from_pylist(rows, schema=TRADE)


def indicator_batch(count: int) -> pa.RecordBatch:
    random = np.random.default_rng(1)
    receipt = {"topic": "market", "partition": 1, "first_offset": 10**6, "last_offset": 10**6 + 50, "first_row": 0,
               "last_row": 0, "late_count": 0, "engine_version": "1"}  # fmt: skip
    columns: dict[str, Any] = {
        "symbol": [f"SYM{i % 500}" for i in range(count)], "timeframe": ["1s"] * count,
        "open_time_ns": T0 + np.arange(count), "close_time_ns": T0 + np.arange(count) + 10**9,
        "close": random.random(count) * 100, "revision": np.zeros(count, np.int64),
        **{name: random.random(count) * 100 for name in NAMES},
        "receipt": pa.array([receipt] * count, RECEIPT),
    }  # fmt: skip
    return pa.RecordBatch.from_pydict(columns, schema=indicators_schema(NAMES))


def encoded_by_orjson(batch: pa.RecordBatch) -> None:
    for row in batch.to_pylist():
        orjson.dumps(row)


def seconds(work: Callable[[], object], repeats: int) -> float:
    """The best of some runs, in processor time of this process: the machine's other work is left out."""
    best = float("inf")
    for _ in range(repeats):
        began = time.process_time()
        work()
        best = min(best, time.process_time() - began)
    return best


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--records", type=int, default=1_000_000)
    parser.add_argument("--repeats", type=int, default=3)
    given = parser.parse_args()
    values = trade_values(given.records)
    trades, indicators = trade_batch(BATCH), indicator_batch(BATCH)
    (frame,) = (e.value for e in encode_market(trades, wire="arrow", partitions=1))
    frames = [frame] * (given.records // BATCH)
    with_marketpulse(values[:10])
    with_frames(frames[:1])
    figures: list[tuple[str, str, int, Callable[[], object]]] = [
        ("decode_orjson_loads", "", given.records, lambda: with_orjson(values)),
        ("decode_pyarrow_json", "decode_orjson_loads", given.records, lambda: with_pyarrow(values)),
        ("decode_polars_read_ndjson", "decode_orjson_loads", given.records, lambda: with_polars(values)),
        ("decode_json", "decode_orjson_loads", given.records, lambda: with_marketpulse(values)),
        ("decode_arrow", "decode_orjson_loads", len(frames) * BATCH, lambda: with_frames(frames)),
        ("encode_trades_orjson", "", BATCH, lambda: encoded_by_orjson(trades)),
        (
            "encode_trades_json",
            "encode_trades_orjson",
            BATCH,
            lambda: encode_market(trades, wire="json", partitions=12),
        ),
        (
            "encode_trades_arrow",
            "encode_trades_orjson",
            BATCH,
            lambda: encode_market(trades, wire="arrow", partitions=12),
        ),
        ("encode_indicators_orjson", "", BATCH, lambda: encoded_by_orjson(indicators)),
        ("encode_indicators_json", "encode_indicators_orjson", BATCH, lambda: encode_rows(indicators)),
    ]
    rates: dict[str, float] = {}
    for name, beside, records, work in figures:
        work() if records == BATCH else None
        rates[name] = records / seconds(work, given.repeats if records > BATCH else 10 * given.repeats)
        ratio = {"ratio": round(rates[name] / rates[beside], 2), "ratio_to": beside} if beside else {}
        report({"name": name, "value": round(rates[name]), "unit": "records/s", **ratio})


if __name__ == "__main__":
    main()
