import json
from datetime import date
from typing import Any

import pyarrow as pa
import pytest

from marketpulse.errors import ParameterError
from marketpulse.kafka.codec import decode_rows, encode_rows, lay_out_rows
from marketpulse.kafka.frame_writer import write_frame
from marketpulse.model.rows import ALERT, BAR, INDICATORS_HEAD, RECEIPT, indicators_schema, live_schema

T0 = 1_768_600_000_000_000_000
RECEIPT_ROW = {
    "topic": "market", "partition": 3, "first_offset": 5, "first_row": 0, "last_offset": 9, "last_row": 2,
    "late_count": 0, "engine_version": "1",
}  # fmt: skip
BAR_ROW: dict[str, Any] = {
    "symbol": "AAA", "timeframe": "1m", "open_time_ns": T0, "close_time_ns": T0 + 1, "open": 0.1, "high": 0.3,
    "low": 0.1, "close": 0.30000000000000004, "volume": 0.0, "vwap": None, "trade_count": 3, "revision": 0,
    "source": "s", "venue": None, "session_date": date(2026, 1, 16), "receipt": RECEIPT_ROW,
}  # fmt: skip


def test_a_bar_is_one_object_with_its_nulls_and_its_receipt() -> None:
    ((key, value),) = encode_rows(pa.RecordBatch.from_pylist([BAR_ROW], schema=BAR))
    assert key == b"AAA"
    assert json.loads(value) == {**BAR_ROW, "session_date": "2026-01-16"}


@pytest.mark.parametrize("wire", ["json", "arrow"])
def test_an_alert_keeps_its_flag_and_its_nulls(wire: str) -> None:
    raised = {
        "symbol": "AAA", "rule": "dip", "severity": "critical", "timeframe": "1m", "open_time_ns": T0,
        "event_time_ns": T0 + 60, "state": "raised", "was": None, "late": True, "value": 0.1,
        "message": "AAA: \u00e9 {", "revision": 0, "receipt": RECEIPT_ROW,
    }  # fmt: skip
    withdrawn = {**raised, "state": "withdrawn", "was": "raised", "late": False, "value": None, "revision": 1}
    batch = pa.RecordBatch.from_pylist([raised, withdrawn], schema=ALERT)
    if wire == "json":
        assert json.loads(encode_rows(batch)[0][1]) == raised
        back = decode_rows("alerts", [value for _, value in encode_rows(batch)])
    else:
        back = decode_rows("alerts", [write_frame(batch)], lambda _: True)
    assert back.to_pylist() == [raised, withdrawn]


def test_not_a_number_is_null_on_the_wire() -> None:
    batch = pa.RecordBatch.from_pylist([{"symbol": "A", "sma_20": float("nan")}], schema=indicators_schema(["sma_20"]))
    ((_, value),) = encode_rows(batch)
    assert json.loads(value)["sma_20"] is None


def test_rows_without_a_receipt_keep_its_null() -> None:
    batch = pa.RecordBatch.from_pylist([BAR_ROW, {"symbol": "B"}], schema=BAR)
    assert json.loads(encode_rows(batch)[1][1])["receipt"] is None
    assert decode_rows("bars", [value for _, value in encode_rows(batch)]).equals(batch)


@pytest.mark.parametrize("wire", ["json", "arrow"])
@pytest.mark.parametrize("beside", [[], [BAR_ROW]])
def test_a_withdrawn_bar_and_its_values_keep_their_nulls(wire: str, beside: list[dict[str, Any]]) -> None:
    gone = dict.fromkeys(("open", "high", "low", "close", "vwap", "sma_20")) | {"trade_count": 0, "revision": 2}
    rows = [*beside, BAR_ROW | gone]
    for topic, schema in (("bars", BAR), ("indicators", indicators_schema(["sma_20"]))):
        batch = pa.RecordBatch.from_pylist(rows, schema=schema)
        if wire == "arrow":
            values = [value for _, value in encode_rows(batch, wire="arrow", partitions=1)]
        else:
            values = [value for _, value in encode_rows(batch)]
        assert decode_rows(topic, values, lambda _: wire == "arrow").equals(batch)


def test_names_of_all_rows_become_columns_before_the_receipt() -> None:
    a = pa.RecordBatch.from_pylist([{"symbol": "A", "sma_20": 0.1}], schema=indicators_schema(["sma_20"]))
    b = pa.RecordBatch.from_pylist([{"symbol": "B", "rsi_14": 50.0}], schema=indicators_schema(["rsi_14"]))
    rows = decode_rows("indicators", [value for batch in (a, b) for _, value in encode_rows(batch)])
    assert rows.schema.names == [*INDICATORS_HEAD.names, "sma_20", "rsi_14", "receipt"]
    assert rows.column("sma_20").to_pylist() == [0.1, None]
    assert rows.column("rsi_14").to_pylist() == [None, 50.0]
    assert rows.schema.field("receipt").type == RECEIPT


def test_both_wires_stand_in_one_topic() -> None:
    batch = pa.RecordBatch.from_pylist([BAR_ROW], schema=BAR)
    values = [encode_rows(batch)[0][1], write_frame(batch), encode_rows(batch)[0][1]]
    rows = decode_rows("bars", values, lambda i: i == 1)
    assert rows.to_pylist() == [BAR_ROW] * 3
    ((key, frame),) = encode_rows(batch, wire="arrow", partitions=12)
    assert key == b"AAA"
    assert decode_rows("bars", [frame], lambda _: True).to_pylist() == [BAR_ROW]


ODD = [None, b"", b"x", b"5", b"[]", b"{}", b'{"symbol":5}', b'{"symbol":"A","open":"1"}', b'{"symbol":"A"} {"symbol":"B"}',
       b'{"symbol":"A","session_date":"never"}', b"\xff\xff\xff\xff"]  # fmt: skip


@pytest.mark.parametrize("odd", ODD)
def test_a_record_that_is_no_row_is_left_out_and_named(odd: bytes | None) -> None:
    good = encode_rows(pa.RecordBatch.from_pylist([BAR_ROW], schema=BAR))[0][1]
    unreadable: list[int] = []
    rows = decode_rows(
        "bars", [good, odd, good], lambda i: odd is not None and odd[:1] == b"\xff" and i == 1, unreadable
    )
    assert rows.to_pylist() == [BAR_ROW] * 2
    assert unreadable == [1]


def test_foreign_rows_may_lack_fields_and_have_others() -> None:
    rows = decode_rows("bars", [b'{ "symbol": "A",\n "close": 5, "note": {"a": [1]}, "session_date": "2026-01-16"}'])
    assert rows.schema.equals(BAR)
    assert rows.to_pylist()[0] | {"symbol": "A", "close": 5.0, "session_date": date(2026, 1, 16)} == rows.to_pylist()[0]


def test_live_rows_have_no_receipt() -> None:
    batch = pa.RecordBatch.from_pylist(
        [{"symbol": "A", "ema_12": 1.5, "ingest_time_ns": 0}], schema=live_schema(["ema_12"])
    )
    rows = decode_rows("live", [value for _, value in encode_rows(batch)])
    assert rows.equals(batch)


def test_nothing_decodes_to_an_empty_batch_of_the_topic() -> None:
    assert decode_rows("bars", []).schema.equals(BAR)
    assert encode_rows(pa.RecordBatch.from_pylist([], schema=BAR)) == []


def test_only_our_output_topics_have_rows() -> None:
    with pytest.raises(ParameterError, match="market"):
        decode_rows("market", [])
    with pytest.raises(ParameterError, match="partitions"):
        encode_rows(pa.RecordBatch.from_pylist([BAR_ROW], schema=BAR), wire="arrow")


@pytest.mark.parametrize(("first", "count"), [(0, 0), (0, 1), (0, 5_000), (17, 100)])
def test_rows_laid_out_in_memory_are_the_records(first: int, count: int) -> None:
    rows = [{**BAR_ROW, "symbol": f"Ä{i}", "source": "two\nlines" * (i % 50)} for i in range(first + count)]
    batch = pa.RecordBatch.from_pylist(rows, schema=BAR).slice(first)
    laid_out = lay_out_rows(batch)
    values, keys = laid_out.values.tobytes(), laid_out.keys.tobytes()
    value_ends, key_ends = laid_out.value_ends.tolist(), laid_out.key_ends.tolist()
    assert len(laid_out) == count
    assert [
        (keys[key_ends[i] : key_ends[i + 1]], values[value_ends[i] : value_ends[i + 1] - 1]) for i in range(count)
    ] == encode_rows(batch)
