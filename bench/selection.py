"""What it costs to choose one of two sources: processor time a row, from records of `feeds` to rows for `market`.

    python bench/selection.py [--rows 300000] [--symbols 500]

Two sources bring the same number of JSON trades; one is forwarded, the other held and left out. Without the log's client.
"""

import argparse
import json
import time

import numpy as np
from results import report

from marketpulse.app.exercise import exercise_failover
from marketpulse.app.selecting.selection import Selection
from marketpulse.failover.config import FailoverConfig, Group
from marketpulse.failover.state import new_state
from marketpulse.kafka.market_reader import MarketReader
from marketpulse.kafka.records import Records, records_of

START_NS = 1_767_225_600 * 10**9
BATCH = 10_000


def batch(number: int, symbols: int) -> Records:
    """Trades of two sources by turns, and a heartbeat of each behind them."""
    first, step_ns = number * BATCH, 1_000
    names = [f"S{i // 2 % symbols}" for i in range(first, first + BATCH)]
    values = [
        json.dumps({
            "type": "trade", "symbol": names[i - first], "source": "xy"[i % 2], "event_time_ns": START_NS + i * step_ns,
            "price": 100.25, "size": 3.0, "trade_id": str(i), "ingest_time_ns": START_NS + i * step_ns,
        }).encode()
        for i in range(first, first + BATCH)
    ]  # fmt: skip
    end_ns = START_NS + (first + BATCH) * step_ns
    values += [json.dumps({"type": "heartbeat", "source": q, "event_time_ns": end_ns}).encode() for q in "xy"]
    offsets = number * (BATCH + 2) + np.arange(BATCH + 2)
    appended = np.full(BATCH + 2, end_ns // 1_000_000)
    return records_of(values, 0, offsets, keys=[*(n.encode() for n in names), None, None], appended_ms=appended)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=300_000)
    parser.add_argument("--symbols", type=int, default=500)
    asked = parser.parse_args()
    exercise_failover()
    config = FailoverConfig((Group(("x", "y")),))
    selection, reader = Selection(new_state(config), config, asked.symbols), MarketReader("feeds")
    batches = [batch(number, asked.symbols) for number in range(asked.rows // BATCH + 1)]
    decoding_s = spent_s = 0.0
    for number, records in enumerate(batches):
        began = time.process_time()
        decoded = list(reader.decode(records, 0, 0))
        between = time.process_time()
        for part in decoded:
            selection.take(part)
        if number:  # the first one finds the symbols
            decoding_s, spent_s = decoding_s + between - began, spent_s + time.process_time() - began
    rows = (len(batches) - 1) * BATCH
    for name, seconds in (("select a row", spent_s), ("of it, decode", decoding_s)):
        report({"name": name, "value": round(seconds / rows * 1e6, 3), "unit": "us", "rows": rows})


if __name__ == "__main__":
    main()
