"""The lake's files."""

import pyarrow as pa
import pyarrow.parquet as pq

from marketpulse.model.rows import BAR, indicators_schema
from marketpulse.sinks.lake import ParquetFormat


def read(data: bytes) -> pa.Table:
    return pq.read_table(pa.BufferReader(data))


def test_a_file_holds_the_contracts_columns_compressed_with_zstd() -> None:
    rows = pa.Table.from_pylist(
        [{"symbol": "A", "trade_count": 2**63 - 1, "close": 0.1, "receipt": {"topic": "market"}}], schema=BAR
    )
    data = ParquetFormat().encode(rows)
    assert read(data).equals(rows)
    group = pq.ParquetFile(pa.BufferReader(data)).metadata.row_group(0)
    assert {group.column(n).compression for n in range(group.num_columns)} == {"ZSTD"}


def test_the_same_rows_give_the_same_bytes() -> None:
    rows = pa.Table.from_pylist([{"symbol": "A"}], schema=BAR)
    assert ParquetFormat().encode(rows) == ParquetFormat().encode(rows)


def test_merged_files_keep_rows_in_order_and_columns_by_name_with_the_receipt_last() -> None:
    encode = ParquetFormat().encode
    old = pa.Table.from_pylist([{"symbol": "A", "sma_20": 1.5}], schema=indicators_schema(["sma_20"]))
    new = pa.Table.from_pylist([{"symbol": "B", "ema_12": 2.5}], schema=indicators_schema(["ema_12"]))
    data, count = ParquetFormat().merge([encode(old), encode(new)])
    merged = read(data)
    assert count == 2
    assert merged.select(["symbol", "sma_20", "ema_12"]).to_pylist() == [
        {"symbol": "A", "sma_20": 1.5, "ema_12": None},
        {"symbol": "B", "sma_20": None, "ema_12": 2.5},
    ]
    assert merged.column_names[-1] == "receipt"
