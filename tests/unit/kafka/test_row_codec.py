import json
from datetime import date
from itertools import pairwise
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
ALERT_ROW = {
    "symbol": "AAA", "rule": "dip", "severity": "critical", "timeframe": "1m", "open_time_ns": T0,
    "event_time_ns": T0 + 60, "state": "raised", "was": None, "late": True, "value": 0.1, "message": "AAA: \u00e9 {",
    "revision": 0, "receipt": RECEIPT_ROW,
}  # fmt: skip
WITHDRAWN = ALERT_ROW | {"state": "withdrawn", "was": "raised", "late": False, "value": None, "revision": 1}
GONE = BAR_ROW | dict.fromkeys(("open", "high", "low", "close", "vwap", "sma_20")) | {"trade_count": 0, "revision": 2}
SMA = indicators_schema(["sma_20"])


def batch_of(schema: pa.Schema, *rows: dict[str, Any]) -> pa.RecordBatch:
    return pa.RecordBatch.from_pylist(rows, schema=schema)


def values_of(*batches: pa.RecordBatch) -> list[bytes]:
    """The values of these rows' records, as JSON."""
    return [value for batch in batches for _, value in encode_rows(batch)]


BARS = batch_of(BAR, BAR_ROW)


def test_a_bar_or_an_alert_is_one_object_with_its_nulls_and_its_receipt() -> None:
    ((key, value),) = encode_rows(BARS)
    assert key == b"AAA"
    assert json.loads(value) == {**BAR_ROW, "session_date": "2026-01-16"}
    assert json.loads(values_of(batch_of(ALERT, ALERT_ROW))[0]) == ALERT_ROW
    assert json.loads(values_of(batch_of(BAR, {"symbol": "B"}))[0])["receipt"] is None
    assert json.loads(values_of(batch_of(SMA, {"symbol": "A", "sma_20": float("nan")}))[0])["sma_20"] is None


@pytest.mark.parametrize("wire", ["json", "arrow", "our arrow"])
@pytest.mark.parametrize(
    ("topic", "batch"),
    [
        pytest.param("alerts", batch_of(ALERT, ALERT_ROW, WITHDRAWN), id="alerts with flag and nulls"),
        pytest.param("bars", batch_of(BAR, BAR_ROW, {"symbol": "B"}), id="without a receipt"),
        pytest.param("bars", batch_of(BAR, GONE), id="a withdrawn bar"),
        pytest.param("bars", batch_of(BAR, BAR_ROW, GONE), id="a withdrawn bar beside another"),
        pytest.param("indicators", batch_of(SMA, GONE), id="a withdrawn bar's values"),
        pytest.param("indicators", batch_of(SMA, BAR_ROW, GONE), id="a withdrawn bar's values beside others"),
        pytest.param("live", batch_of(live_schema(["ema_12"]), {"symbol": "A", "ema_12": 1.5, "ingest_time_ns": 0}),
                     id="live rows, which have no receipt"),
    ],
)  # fmt: skip
def test_rows_come_back_from_either_wire_as_they_were(topic: str, batch: pa.RecordBatch, wire: str) -> None:
    if wire == "json":
        values = values_of(batch)
    elif wire == "arrow":
        values = [write_frame(batch)]
    else:
        values = [value for _, value in encode_rows(batch, wire="arrow", partitions=1)]
    assert decode_rows(topic, values, lambda _: wire != "json").equals(batch)


def test_names_of_all_rows_become_columns_before_the_receipt() -> None:
    a, b = (
        batch_of(SMA, {"symbol": "A", "sma_20": 0.1}),
        batch_of(indicators_schema(["rsi_14"]), {"symbol": "B", "rsi_14": 50.0}),
    )
    rows = decode_rows("indicators", values_of(a, b))
    assert rows.schema.names == [*INDICATORS_HEAD.names, "sma_20", "rsi_14", "receipt"]
    assert (rows["sma_20"].to_pylist(), rows["rsi_14"].to_pylist()) == ([0.1, None], [None, 50.0])
    assert rows.schema.field("receipt").type == RECEIPT


def test_both_wires_stand_in_one_topic() -> None:
    values = [*values_of(BARS), write_frame(BARS), *values_of(BARS)]
    assert decode_rows("bars", values, lambda i: i == 1).to_pylist() == [BAR_ROW] * 3
    ((key, frame),) = encode_rows(BARS, wire="arrow", partitions=12)
    assert key == b"AAA"
    assert decode_rows("bars", [frame], lambda _: True).to_pylist() == [BAR_ROW]


ODD = [None, b"", b"x", b"5", b"[]", b"{}", b'{"symbol":5}', b'{"symbol":"A","open":"1"}', b'{"symbol":"A"} {"symbol":"B"}',
       b'{"symbol":"A","session_date":"never"}', b"\xff\xff\xff\xff"]  # fmt: skip


@pytest.mark.parametrize("odd", ODD)
def test_a_record_that_is_no_row_is_left_out_and_named(odd: bytes | None) -> None:
    (good,), is_frame = values_of(BARS), odd is not None and odd[:1] == b"\xff"
    unreadable: list[int] = []
    rows = decode_rows("bars", [good, odd, good], lambda i: is_frame and i == 1, unreadable)
    assert (rows.to_pylist(), unreadable) == ([BAR_ROW] * 2, [1])


def test_foreign_rows_may_lack_fields_and_have_others() -> None:
    rows = decode_rows("bars", [b'{ "symbol": "A",\n "close": 5, "note": {"a": [1]}, "session_date": "2026-01-16"}'])
    assert rows.schema.equals(BAR)
    assert rows.to_pylist()[0] | {"symbol": "A", "close": 5.0, "session_date": date(2026, 1, 16)} == rows.to_pylist()[0]


def test_nothing_is_an_empty_batch_of_the_topic_and_only_our_output_topics_have_rows() -> None:
    assert decode_rows("bars", []).schema.equals(BAR)
    assert encode_rows(batch_of(BAR)) == []
    with pytest.raises(ParameterError, match="market"):
        decode_rows("market", [])
    with pytest.raises(ParameterError, match="partitions"):
        encode_rows(BARS, wire="arrow")


@pytest.mark.parametrize(("first", "count"), [(0, 0), (0, 1), (0, 5_000), (17, 100)])
def test_rows_laid_out_in_memory_are_the_records(first: int, count: int) -> None:
    rows = [{**BAR_ROW, "symbol": f"Ä{i}", "source": "two\nlines" * (i % 50)} for i in range(first + count)]
    batch = batch_of(BAR, *rows).slice(first)
    laid_out = lay_out_rows(batch)
    values, keys = laid_out.values.tobytes(), laid_out.keys.tobytes()
    value_ends, key_ends = laid_out.value_ends.tolist(), laid_out.key_ends.tolist()
    assert len(laid_out) == count
    spans = zip(pairwise(key_ends), pairwise(value_ends), strict=True)
    assert [(keys[a:b], values[c : d - 1]) for (a, b), (c, d) in spans] == encode_rows(batch)
