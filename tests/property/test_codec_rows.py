"""What is written reads back as the same bits, by our reader and by outside ones."""

import json
from datetime import date
from typing import Any

import numpy as np
import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from marketpulse.kafka.codec import MarketDecoder, decode_rows, encode_market, encode_rows, to_tables
from marketpulse.kafka.json_lines import json_rows
from marketpulse.kafka.records import records_of
from marketpulse.model.market import TRADE
from marketpulse.model.rows import BAR, RECEIPT, indicators_schema
from marketpulse.model.tables import with_position

T0 = 1_768_600_000_000_000_000

texts = st.text(st.characters(codec="utf-8"), max_size=20)
longs = st.integers(-(2**63), 2**63 - 1)
doubles = st.one_of(
    st.floats(allow_nan=False, allow_infinity=False),
    st.decimals(-(10**9), 10**9, places=3).map(float),
    st.integers(0, 2**63 - 1).map(lambda bits: float(np.int64(bits).view(np.float64))).filter(np.isfinite),
)
receipts = st.fixed_dictionaries(
    {f.name: texts if f.type == pa.string() else st.integers(-(2**31), 2**31 - 1) for f in RECEIPT}
)
SCHEMA = indicators_schema(["sma_20", "rsi_14"])


def rows_of(schema: pa.Schema) -> st.SearchStrategy[list[dict[str, Any]]]:
    by_type = {
        pa.string(): texts, pa.int64(): longs, pa.float64(): doubles, RECEIPT: receipts,
        pa.date32(): st.dates(date(1, 1, 1), date(9999, 12, 31)),
    }  # fmt: skip
    fields = {f.name: texts if f.name == "symbol" else st.one_of(st.none(), by_type[f.type]) for f in schema}
    return st.lists(st.fixed_dictionaries(fields), min_size=1, max_size=6)


def bits(batch: pa.RecordBatch) -> list[dict[str, Any]]:
    return [{k: v.hex() if isinstance(v, float) else v for k, v in row.items()} for row in batch.to_pylist()]


@given(rows_of(BAR))
def test_bars_come_back_to_the_bit(rows: list[dict[str, Any]]) -> None:
    batch = pa.RecordBatch.from_pylist(rows, schema=BAR)
    assert bits(decode_rows("bars", [value for _, value in encode_rows(batch)])) == bits(batch)


@given(rows_of(SCHEMA), st.integers(1, 12))
def test_indicators_come_back_to_the_bit_in_both_wires(rows: list[dict[str, Any]], partitions: int) -> None:
    batch = pa.RecordBatch.from_pylist(rows, schema=SCHEMA)
    assert bits(decode_rows("indicators", [value for _, value in encode_rows(batch)])) == bits(batch)
    frames = [value for _, value in encode_rows(batch, wire="arrow", partitions=partitions)]
    back = bits(decode_rows("indicators", frames, lambda _: True))
    assert sorted(map(repr, back)) == sorted(map(repr, bits(batch)))


@given(st.lists(doubles, min_size=1, max_size=40))
def test_a_double_is_written_with_as_few_digits_as_python_needs(values: list[float]) -> None:
    lines = json_rows(pa.RecordBatch.from_pydict({"x": values}), nulls=True)
    for line, value in zip(lines, values, strict=True):
        back = json.loads(line)["x"]
        assert isinstance(back, float)
        assert back.hex() == value.hex()
        written = line[5:-1].decode()
        assert significant(written) == significant(repr(value))


def significant(shown: str) -> str:
    return shown.split("e")[0].lstrip("-").replace(".", "").strip("0")


@given(st.lists(texts, min_size=1, max_size=10), st.booleans())
def test_any_text_reads_back_by_an_outside_reader(values: list[str], nulls: bool) -> None:
    lines = json_rows(pa.RecordBatch.from_pydict({"a": values, "b": [None, *values[1:]]}), nulls=nulls)
    assert [json.loads(line)["a"] for line in lines] == values
    assert [json.loads(line).get("b") for line in lines] == [None, *values[1:]]
    assert ("b" in json.loads(lines[0])) == nulls


@given(st.integers(0, 8), st.integers(0, 8))
def test_a_slice_is_written_as_its_own_rows(start: int, length: int) -> None:
    batch = pa.RecordBatch.from_pydict(
        {"s": ["a", None, "c", "d"] * 4, "x": [1.5, 2.5, None, 4.5] * 4, "f": [True, False, None, True] * 4}
    )
    assert json_rows(batch.slice(start, length), nulls=True) == json_rows(batch, nulls=True)[start : start + length]


names = st.text(st.characters(codec="utf-8", exclude_categories=("C", "Z")), min_size=1, max_size=16)
good_trades = st.lists(
    st.fixed_dictionaries(
        {
            "type": st.just("trade"), "symbol": names, "source": names, "event_time_ns": st.integers(T0, T0 + 10**12),
            "venue": st.one_of(st.none(), names), "price": st.floats(1e-300, 1e18), "size": st.floats(0, 1e18),
            "trade_id": st.one_of(st.none(), names), "conditions": st.one_of(st.none(), st.lists(names, min_size=1, max_size=3)),
            "ingest_time_ns": st.one_of(st.none(), st.integers(T0, T0 + 10**12)),
        }
    ),
    min_size=1, max_size=6,
)  # fmt: skip


@given(good_trades)
def test_trades_come_through_the_log_to_the_bit_in_both_wires(rows: list[dict[str, Any]]) -> None:
    rows = [row for row in rows if all(str(row[n]).isprintable() for n in ("symbol", "source", "venue"))]
    batch = pa.RecordBatch.from_pylist(rows, schema=TRADE)
    wanted = sorted(map(repr, bits(batch)))
    for wire in ("json", "arrow"):
        values = [record.value for record in encode_market(batch, wire=wire, partitions=3)]
        decoded, letters = MarketDecoder().decode("m", records_of(values, frames=True))
        assert letters == []
        tables = to_tables(decoded)
        back = tables["trades"] if rows else pa.RecordBatch.from_pylist([], schema=with_position(TRADE))
        assert sorted(map(repr, bits(back.select(TRADE.names)))) == wanted
