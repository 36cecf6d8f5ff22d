"""The layout of decoded batches: one for all, since kernels are compiled for each."""

from dataclasses import fields

import numpy as np
import pyarrow as pa
import pytest

from market_rows import at, trade
from marketpulse.kafka.codec import MarketDecoder, encode_market
from marketpulse.kafka.columns import KIND, OFFSET, SYMBOL, TRADE_ID_START, A, Columns, joined
from marketpulse.kafka.records import records_of
from marketpulse.model.market import TRADE, MarketBatch

ROWS = pa.RecordBatch.from_pylist([trade("A", 1.0 + i, 5.0, 2.0, venue="X", trade_id=f"{i}") for i in range(3)], TRADE)
JSON = [record.value for record in encode_market(ROWS, wire="json", partitions=1)]
FRAME = encode_market(ROWS, wire="arrow", partitions=1)[0].value


def decode(values: list[bytes]) -> MarketBatch:
    times = np.full(len(values), at(9) // 10**6)
    records = records_of(values, appended_ms=times, frames=[value is FRAME for value in values])
    batch, _ = MarketDecoder().decode("market", records)
    return batch


@pytest.mark.parametrize(
    ("values", "rows"),
    [
        (JSON, 3),
        ([JSON[0], b"no market data", JSON[1]], 2),
        ([FRAME], 3),
        ([JSON[0], FRAME, JSON[1], FRAME], 8),
        ([FRAME, b"no market data"], 3),
    ],
    ids=["json", "json and a refused record", "a frame", "both wires", "a frame and a refused record"],
)
def test_every_column_is_in_one_piece_and_the_bytes_are_read_only(values: list[bytes], rows: int) -> None:
    batch = decode(values)
    assert len(batch) == rows
    columns = [getattr(batch, field.name) for field in fields(batch)]
    arrays = [column for column in columns if isinstance(column, np.ndarray)]
    assert len(arrays) > 20
    assert all(array.flags.c_contiguous for array in arrays)
    assert not batch.data.flags.writeable
    assert batch.a.tolist() == [5.0] * rows


@pytest.mark.parametrize("run", [1, 5, 40, 400])
def test_parts_are_joined_in_the_order_of_the_log_however_long_their_runs(run: int) -> None:
    """Three parts whose rows take turns, so many at a time; each row's bytes still begin where its part's do."""
    owner = np.arange(1_000) // run % 3
    parts = []
    for number in range(3):
        offsets = np.flatnonzero(owner == number)
        part = Columns.undefined(len(offsets), np.full(7 + number, number, np.uint8))
        part.blank(slice(None))
        part.longs[OFFSET], part.longs[TRADE_ID_START], part.floats[A] = offsets, number, offsets * 0.5
        part.ids[SYMBOL], part.flags[KIND] = number, number
        part.rare[0] = {"of": number}
        parts.append(part)
    whole = joined(parts)
    assert whole.longs[OFFSET].tolist() == list(range(1_000))
    assert whole.floats[A].tolist() == [0.5 * offset for offset in range(1_000)]
    assert whole.ids[SYMBOL].tolist() == whole.flags[KIND].tolist() == owner.tolist()
    assert whole.data[whole.longs[TRADE_ID_START]].tolist() == owner.tolist()
    assert whole.rare == {int(np.flatnonzero(owner == n)[0]): {"of": n} for n in range(3) if (owner == n).any()}
