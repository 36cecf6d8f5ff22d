"""What the decoder lets in, what it refuses and why; both ways in are one to the outside."""

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from marketpulse.kafka.codec import MarketDecoder, encode_market
from marketpulse.kafka.frame_writer import write_frame
from marketpulse.kafka.records import records_of
from marketpulse.model.market import (
    ABSENT,
    COMPLETE,
    NOT_ASKED,
    QUOTE,
    RECORD_BYTES_MAX,
    TRADE,
    DeadLetter,
    Kind,
    MarketBatch,
    StringTable,
)

T0 = 1_768_600_000_000_000_000
HEAD = {"symbol": "AAA", "source": "s", "event_time_ns": T0}
GOOD_TRADE: dict[str, Any] = {"type": "trade", **HEAD, "price": 101.25, "size": 100}
GOOD_QUOTE: dict[str, Any] = {"type": "quote", **HEAD, "bid": 1.5, "bid_size": 0, "ask": 1.75, "ask_size": 3}
GOOD_BAR: dict[str, Any] = {
    "type": "bar", **HEAD, "timeframe": "1m", "open_time_ns": T0, "close_time_ns": T0 + 60 * 10**9, "open": 2.0,
    "high": 4.0, "low": 1.0, "close": 3.0, "volume": 10,
}  # fmt: skip


def decode(
    values: Sequence[bytes | None], frames: Sequence[int] = (), decoder: MarketDecoder | None = None
) -> tuple[MarketBatch, list[DeadLetter]]:
    records = records_of(
        values, 3, np.arange(100, 100 + len(values)), keys=[b"key%d" % i for i in range(len(values))],
        appended_ms=T0 // 10**6 + np.arange(len(values)), frames=[i in frames for i in range(len(values))],
    )  # fmt: skip
    return (decoder or MarketDecoder()).decode("market", records)


def text(record: dict[str, Any]) -> bytes:
    return json.dumps(record).encode()


def odd(record: dict[str, Any]) -> bytes:
    """The same record in a form that the fast way leaves to the authority: with an escape in an unknown field."""
    return text({**record, "note": 'a "quoted" word'})


def name(batch: MarketBatch, ids: Any, row: int) -> str | None:
    return None if ids[row] == ABSENT else batch.strings[int(ids[row])]


@pytest.mark.parametrize("write", [text, odd])
def test_a_trade_comes_into_its_columns(write: Any) -> None:
    record = {**GOOD_TRADE, "venue": "XNYS", "trade_id": "t-7", "conditions": ["@", "T"], "ingest_time_ns": T0 + 5}
    batch, letters = decode([write(record)])
    assert letters == []
    assert (batch.kind[0], batch.a[0], batch.b[0]) == (Kind.TRADE, 101.25, 100.0)
    assert (batch.event_time_ns[0], batch.ingest_time_ns[0], batch.offset[0], batch.row[0]) == (T0, T0 + 5, 100, 0)
    assert [name(batch, ids, 0) for ids in (batch.symbol, batch.source, batch.venue)] == ["AAA", "s", "XNYS"]
    start, length = int(batch.trade_id_start[0]), int(batch.trade_id_length[0])
    assert batch.data[start : start + length].tobytes() == b"t-7"
    assert batch.rare == {0: {"conditions": ["@", "T"]}}
    assert batch.log_time_ns[0] == NOT_ASKED


@pytest.mark.parametrize("write", [text, odd])
def test_a_quote_and_a_bar_come_into_their_columns(write: Any) -> None:
    bar = {**GOOD_BAR, "vwap": 2.5, "trade_count": 4, "final": False, "session_date": "2026-01-16"}
    batch, letters = decode([write(GOOD_QUOTE), write(bar), write(GOOD_BAR)])
    assert letters == []
    assert [batch.a[0], batch.b[0], batch.c[0], batch.d[0]] == [1.5, 0.0, 1.75, 3.0]
    assert [batch.a[1], batch.b[1], batch.c[1], batch.d[1], batch.e[1], batch.f[1]] == [2, 4, 1, 3, 10, 2.5]
    assert (batch.open_time_ns[1], batch.close_time_ns[1]) == (T0, T0 + 60 * 10**9)
    assert (batch.trade_count[1], batch.final[1], name(batch, batch.timeframe, 1)) == (4, 0, "1m")
    assert np.datetime64(int(batch.session_date[1]), "D") == np.datetime64("2026-01-16")
    assert (batch.trade_count[2], batch.final[2], batch.session_date[2]) == (ABSENT, 1, ABSENT)
    assert np.isnan(batch.f[2])


def test_a_bar_of_a_date_only_stands_on_that_day() -> None:
    record = {k: v for k, v in GOOD_BAR.items() if not k.endswith("time_ns")} | {"event_time_ns": T0}
    batch, letters = decode([text({**record, "session_date": "2024-02-29"}), text(record)])
    assert (batch.session_date[0], batch.open_time_ns[0]) == (19_782, 19_782 * 86_400 * 10**9)
    assert batch.close_time_ns[0] - batch.open_time_ns[0] == 86_400 * 10**9
    assert [letter.reason for letter in letters] == ["missing_field"]


@pytest.mark.parametrize("write", [text, odd])
def test_heartbeats_and_clocks_bear_the_time_of_their_append(write: Any) -> None:
    heartbeat = {"type": "heartbeat", "source": "s", "event_time_ns": T0}
    batch, _ = decode([write(GOOD_TRADE), write(heartbeat), write({"type": "clock"}), write(GOOD_QUOTE)])
    assert batch.log_time_ns.tolist() == [NOT_ASKED, T0 + 10**6, T0 + 2 * 10**6, NOT_ASKED]
    assert (batch.event_time_ns[2], batch.source[2]) == (ABSENT, ABSENT)


RARE: list[dict[str, Any]] = [
    {"type": "correction", **HEAD, "trade_id": 7, "price": 1.0, "size": 0},
    {"type": "cancel", **HEAD, "trade_id": "x"},
    {"type": "split", **HEAD, "ratio": 2, "ex_time_ns": T0},
    {"type": "dividend", **HEAD, "amount": 0.24, "ex_time_ns": T0},
    {"type": "gap", **HEAD, "from_ns": T0, "to_ns": T0 + 1, "reason": "line down"},
    {"type": "halt", **HEAD, "reason": "LULD"},
    {"type": "resume", **HEAD},
    {"type": "hello", "source": "s", "mode": "historical", "run_id": "r", "lateness_ns": 0, "calendar": "XNYS"},
    {"type": "goodbye", "source": "s", "watermark_ns": COMPLETE},
    {
        "type": "news",
        **HEAD,
        "id": "a-7",
        "headline": "AAA opens a shop",
        "url": "https://example.com/7",
        "symbols": ["AAA"],
    },
    {"type": "rebuild", "symbol": "AAA", "id": "1", "part": 0, "parts": 1, "covers_offset": 7},
    {"type": "control", "mute": {"rule": 3}},
]


def test_rare_kinds_come_whole() -> None:
    batch, letters = decode([text(record) for record in RARE])
    assert letters == []
    assert batch.rare == dict(enumerate(RARE))
    assert [Kind(kind).name.lower() for kind in batch.kind] == [record["type"] for record in RARE]
    assert [name(batch, batch.symbol, i) for i in range(len(RARE))] == [r.get("symbol") for r in RARE]
    assert batch.event_time_ns.tolist() == [r.get("event_time_ns", ABSENT) for r in RARE]


def without(record: dict[str, Any], field: str) -> dict[str, Any]:
    return {k: v for k, v in record.items() if k != field}


REFUSED: list[tuple[bytes | None, str]] = [
    (None, "not_json"),
    (b"", "not_json"),
    (b"   ", "not_json"),
    (b"nonsense", "not_json"),
    (b"[1]", "not_json"),
    (b"5", "not_json"),
    (b"{", "not_json"),
    (text(GOOD_TRADE)[:-1], "not_json"),
    (text(GOOD_TRADE) + b"}", "not_json"),
    (text(GOOD_TRADE).replace(b"101.25", b"101.25.5"), "not_json"),
    (text(GOOD_TRADE).replace(b"101.25", b"0101.25"), "not_json"),
    (text(GOOD_TRADE).replace(b"101.25", b"NaN"), "not_json"),
    (text(GOOD_TRADE).replace(b"101.25", b"1e999"), "not_json"),
    (text(GOOD_TRADE).replace(b"AAA", b"A\xff"), "not_json"),
    (text(GOOD_TRADE).replace(b"AAA", b"A\nA"), "not_json"),
    (text({**GOOD_TRADE, "note": "x" * RECORD_BYTES_MAX}), "too_large"),
    (b"{}", "unknown_type"),
    (text({**GOOD_TRADE, "type": "tade"}), "unknown_type"),
    (text({**GOOD_TRADE, "type": 5}), "unknown_type"),
    (text({**GOOD_TRADE, "symbol": ""}), "bad_symbol"),
    (text({**GOOD_TRADE, "symbol": "A" * 65}), "bad_symbol"),
    (text({**GOOD_TRADE, "symbol": "A" * 10_000}), "bad_symbol"),
    (text({**GOOD_TRADE, "symbol": "é" * 33}), "bad_symbol"),
    (text({**GOOD_TRADE, "symbol": "A\tB"}), "bad_symbol"),
    (text({**GOOD_TRADE, "symbol": "A\x7fB"}), "bad_symbol"),
    (text({**GOOD_TRADE, "symbol": 5}), "wrong_type"),
    (text({**GOOD_TRADE, "venue": 5}), "wrong_type"),
    (text({**GOOD_TRADE, "source": "s" * 65}), "wrong_type"),
    (text({**GOOD_TRADE, "source": ""}), "missing_field"),
    (text({**GOOD_TRADE, "price": None}), "missing_field"),
    (text({**GOOD_TRADE, "price": "101.25"}), "wrong_type"),
    (text({**GOOD_TRADE, "price": True}), "wrong_type"),
    (text({**GOOD_TRADE, "price": [1]}), "wrong_type"),
    (text({**GOOD_TRADE, "price": 0}), "bad_price"),
    (text({**GOOD_TRADE, "price": -1.5}), "bad_price"),
    (text({**GOOD_TRADE, "price": 1.1e18}), "bad_price"),
    (text({**GOOD_TRADE, "size": -1}), "bad_size"),
    (text({**GOOD_TRADE, "size": 1.1e18}), "bad_size"),
    (text({**GOOD_TRADE, "event_time_ns": float(T0)}), "wrong_type"),
    (text({**GOOD_TRADE, "event_time_ns": str(T0)}), "wrong_type"),
    (text({**GOOD_TRADE, "event_time_ns": T0 // 10**9}), "bad_time"),
    (text({**GOOD_TRADE, "event_time_ns": -T0}), "bad_time"),
    (text({**GOOD_TRADE, "event_time_ns": 2**63 + 5}), "bad_time"),
    (text({**GOOD_TRADE, "event_time_ns": 7_258_118_400 * 10**9 + 1}), "bad_time"),
    (text({**GOOD_TRADE, "ingest_time_ns": 5}), "bad_time"),
    (text({**GOOD_TRADE, "trade_id": 1.5}), "wrong_type"),
    (text({**GOOD_TRADE, "conditions": "T"}), "wrong_type"),
    (text({**GOOD_TRADE, "conditions": ["T", 5]}), "wrong_type"),
    (text({**GOOD_QUOTE, "ask": 0}), "bad_price"),
    (text({**GOOD_QUOTE, "bid_size": -1}), "bad_size"),
    (text(without(GOOD_QUOTE, "ask")), "missing_field"),
    (text({**GOOD_BAR, "high": GOOD_BAR["low"] / 2}), "bad_bar"),
    (text({**GOOD_BAR, "low": GOOD_BAR["high"] * 2}), "bad_bar"),
    (text({**GOOD_BAR, "low": 0}), "bad_price"),
    (text({**GOOD_BAR, "close_time_ns": T0}), "bad_bar"),
    (text({**GOOD_BAR, "close_time_ns": 5}), "bad_time"),
    (text({**GOOD_BAR, "volume": -1}), "bad_size"),
    (text({**GOOD_BAR, "vwap": 0}), "bad_price"),
    (text({**GOOD_BAR, "trade_count": -1}), "bad_size"),
    (text({**GOOD_BAR, "trade_count": 1.0}), "wrong_type"),
    (text({**GOOD_BAR, "final": "yes"}), "wrong_type"),
    (text({**GOOD_BAR, "session_date": "2026-02-29"}), "bad_time"),
    (text({**GOOD_BAR, "session_date": "20260116"}), "bad_time"),
    (text({**GOOD_BAR, "session_date": 20260116}), "wrong_type"),
    (text(without(GOOD_BAR, "close_time_ns")), "missing_field"),
    (text(without(GOOD_BAR, "timeframe")), "missing_field"),
    (b'{"type":"heartbeat","source":"s"}', "missing_field"),
    (text({**RARE[7], "mode": "sometimes"}), "wrong_type"),
    (text({**RARE[7], "lateness_ns": -1}), "bad_time"),
    (text(without(RARE[0], "trade_id")), "missing_field"),
    (text({**RARE[4], "to_ns": T0 - 1}), "bad_time"),
    *((text(without(GOOD_TRADE, f)), "missing_field") for f in ("symbol", "source", "event_time_ns", "price", "size")),
]


@pytest.mark.parametrize(("value", "reason"), REFUSED, ids=lambda v: v if isinstance(v, str) else repr(v)[:60])
def test_a_record_that_cannot_be_used_is_a_dead_letter_and_the_rest_goes_on(value: bytes | None, reason: str) -> None:
    batch, letters = decode([text(GOOD_TRADE), value, text(GOOD_QUOTE)])
    assert [(x.reason, x.offset, x.row, x.key, x.value) for x in letters] == [(reason, 101, ABSENT, b"key1", value)]
    assert letters[0].detail
    assert (letters[0].topic, letters[0].partition) == ("market", 3)
    assert batch.offset.tolist() == [100, 102]
    assert batch.kind.tolist() == [Kind.TRADE, Kind.QUOTE]


def test_a_dead_letter_names_its_symbol_where_it_can() -> None:
    _, letters = decode([text({**GOOD_TRADE, "price": 0}), text({**GOOD_TRADE, "symbol": ""})])
    assert [letter.symbol for letter in letters] == ["AAA", None]


def test_missing_and_null_and_unknown_fields_are_no_faults() -> None:
    records = [{**GOOD_TRADE, "venue": None}, {**GOOD_TRADE, "venue": ""}, {**GOOD_TRADE, "bid": "x", "new": {"a": 1}}]
    batch, letters = decode([text(r) for r in records])
    assert letters == []
    assert batch.venue.tolist() == [ABSENT] * 3


def test_zero_sizes_are_good_and_have_no_sign() -> None:
    batch, letters = decode([text({**GOOD_TRADE, "size": 0}), text(GOOD_TRADE).replace(b"100}", b"-0.0}")])
    assert letters == []
    assert np.signbit(batch.b).tolist() == [False, False]


def test_a_records_last_field_of_a_name_counts() -> None:
    batch, _ = decode([text(GOOD_TRADE).replace(b'"size"', b'"price": 7.5, "size"')])
    assert batch.a[0] == 7.5


def test_ids_stay_the_same_over_batches_and_strings_of_others_are_taken_in() -> None:
    strings = StringTable(["AAA"])
    decoder = MarketDecoder(strings)
    first, _ = decode([text(GOOD_TRADE)], decoder=decoder)
    strings.intern("BBB")
    second, _ = decode([text({**GOOD_TRADE, "symbol": "BBB"}), odd(GOOD_TRADE)], decoder=decoder)
    assert first.symbol.tolist() == [0]
    assert second.symbol.tolist() == [strings.find("BBB"), 0]
    assert strings.texts() == ["AAA", "s", "BBB"]


def test_more_names_than_the_tables_hold_make_them_grow() -> None:
    symbols = [f"SYMBOL-{i:06d}-OF-A-GOOD-LENGTH" for i in range(5_000)]
    batch, letters = decode([text({**GOOD_TRADE, "symbol": s}) for s in symbols])
    assert letters == []
    assert [batch.strings[i] for i in batch.symbol] == symbols


def test_a_flood_of_names_is_left_behind_and_each_batch_reads_by_its_own_table() -> None:
    decoder = MarketDecoder(strings_max=100)
    batches = [
        decode([text({**GOOD_TRADE, "symbol": f"S{n}-{i}"}) for i in range(60)], decoder=decoder)[0] for n in range(5)
    ]
    for n, batch in enumerate(batches):
        assert [name(batch, batch.symbol, i) for i in range(60)] == [f"S{n}-{i}" for i in range(60)]
    assert max(len(batch.strings) for batch in batches) <= 100 + 62


def test_refused_records_intern_nothing() -> None:
    batch, _ = decode([text({**GOOD_TRADE, "symbol": "NEVER", "price": 0})])
    assert batch.strings.texts() == []


def test_an_empty_poll_is_an_empty_batch() -> None:
    batch, letters = decode([])
    assert (len(batch), letters) == (0, [])


def trades(prices: Sequence[float | None], **columns: Any) -> pa.RecordBatch:
    rows = [{**GOOD_TRADE, "price": p, "trade_id": f"t{i}"} for i, p in enumerate(prices)]
    batch = pa.RecordBatch.from_pylist(rows, schema=TRADE)
    for field, column in columns.items():
        batch = batch.set_column(batch.schema.get_field_index(field), field, column)
    return batch


def test_a_frames_rows_keep_the_order_of_the_log_between_objects() -> None:
    frame = write_frame(trades([1.0, -1.0, 3.0]))
    batch, letters = decode([text(GOOD_TRADE), frame, text(GOOD_QUOTE)], frames=[1])
    assert list(zip(batch.offset.tolist(), batch.row.tolist(), strict=True)) == [(100, 0), (101, 0), (101, 2), (102, 0)]
    assert batch.a.tolist()[:3] == [101.25, 1.0, 3.0]
    assert [(x.reason, x.offset, x.row) for x in letters] == [("bad_price", 101, 1)]
    assert json.loads(letters[0].value or b"")["price"] == -1.0
    spans = zip(batch.trade_id_start[1:3].tolist(), batch.trade_id_length[1:3].tolist(), strict=True)
    assert [batch.data[a : a + n].tobytes() for a, n in spans] == [b"t0", b"t2"]


@pytest.mark.parametrize(
    ("column", "reason"),
    [
        (pa.array(["1.0", "2.0"]), "wrong_type"),
        (pa.array([1.0, 2.0], pa.float32()), None),
        (pa.array([1, 2], pa.int16()), None),
        (pa.array([float("nan")] * 2), "bad_price"),
        (pa.array([float("inf")] * 2), "bad_price"),
        (pa.array([None, None], pa.float64()), "missing_field"),
        (pa.array([[1.0], [2.0]]), "wrong_type"),
    ],
    ids=str,
)
def test_a_frames_prices_are_numbers_of_any_width(column: pa.Array, reason: str | None) -> None:
    batch, letters = decode([write_frame(trades([1.0, 2.0], price=column))], frames=[0])
    assert [(x.reason, x.row) for x in letters] == ([] if reason is None else [(reason, 0), (reason, 1)])
    assert batch.a.tolist() == ([1.0, 2.0] if reason is None else [])


def test_a_frames_names_may_be_dictionaries_and_its_ids_numbers() -> None:
    columns = {
        "type": pa.array(["trade", "trade"]).dictionary_encode(),
        "symbol": pa.array(["AAA", "BBB"]).dictionary_encode(),
        "source": pa.array(["s", "s"], pa.large_string()),
        "event_time_ns": pa.array([T0, T0 + 1], pa.uint64()),
        "price": pa.array([1.0, 2.0]),
        "size": pa.array([1, 2], pa.int32()),
        "trade_id": pa.array([10, None], pa.int64()),
    }
    batch, letters = decode([write_frame(pa.RecordBatch.from_pydict(columns))], frames=[0])
    assert letters == []
    assert [batch.strings[i] for i in batch.symbol] == ["AAA", "BBB"]
    assert batch.trade_id_length.tolist() == [2, ABSENT]
    assert batch.data[batch.trade_id_start[0] :][:2].tobytes() == b"10"


def test_a_frame_may_hold_every_kind() -> None:
    rows = [
        GOOD_TRADE,
        GOOD_QUOTE,
        GOOD_BAR,
        {"type": "heartbeat", "source": "s", "event_time_ns": T0},
        {"type": "clock"},
    ]
    names = sorted({k for r in [*rows, *RARE[:9]] for k in r})
    table = pa.Table.from_pylist([{k: r.get(k) for k in names} for r in [*rows, *RARE[1:9]]])
    batch, letters = decode([write_frame(table.combine_chunks().to_batches()[0])], frames=[0])
    assert letters == []
    assert batch.kind.tolist() == [0, 1, 2, 3, 4, *range(6, 14)]
    assert batch.log_time_ns[3] == T0
    assert {row: value["type"] for row, value in batch.rare.items()} == {5 + i: RARE[1 + i]["type"] for i in range(8)}
    assert [batch.a[2], batch.b[2], batch.c[2], batch.d[2], batch.e[2]] == [2, 4, 1, 3, 10]


UNREADABLE = [b"\xff\xff\xff\xff", b"\xff" * 100, b"", b"\xff\xff\xff\xff\x08\x00\x00\x00garbage!"]


@pytest.mark.parametrize("value", UNREADABLE)
def test_an_unreadable_frame_is_one_dead_letter(value: bytes) -> None:
    batch, letters = decode([text(GOOD_TRADE), value, text(GOOD_TRADE)], frames=[1])
    assert [(x.reason, x.row, x.value) for x in letters] == [("unreadable_frame", ABSENT, value)]
    assert batch.offset.tolist() == [100, 102]


def test_a_value_that_opens_no_object_and_is_no_frame_is_not_json() -> None:
    _, letters = decode([write_frame(trades([1.0]))])
    assert [letter.reason for letter in letters] == ["not_json"]


def test_a_frame_that_would_unfold_is_refused_unread() -> None:
    batch = pa.RecordBatch.from_pydict({"type": pa.nulls(2_000_000)})
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, TRADE, options=pa.ipc.IpcWriteOptions(compression="lz4")) as stream:
        stream.write_batch(trades([1.0]))
    _, letters = decode([write_frame(batch), sink.getvalue().to_pybytes()], frames=[0, 1])
    assert [letter.reason for letter in letters] == ["too_large", "unreadable_frame"]
    assert "compressed" in letters[1].detail


def test_two_columns_of_one_name_are_unreadable() -> None:
    batch = pa.RecordBatch.from_arrays([pa.array([1.0]), pa.array([2.0])], names=["price", "price"])
    _, letters = decode([write_frame(batch)], frames=[0])
    assert [letter.reason for letter in letters] == ["unreadable_frame"]


def test_both_wires_of_the_encoder_give_the_same_columns() -> None:
    batch = trades([1.0, 2.5, 3e-7], conditions=pa.array([None, ["@", "T"], []], pa.list_(pa.string())))
    plain = [e.value for e in encode_market(batch, wire="json", partitions=4)]
    framed = [e.value for e in encode_market(batch, wire="arrow", partitions=4)]
    a, no_letters = decode(plain)
    b, none_either = decode(framed, frames=[0])
    assert no_letters == none_either == []
    for column in ("kind", "a", "b", "event_time_ns", "trade_id_length"):
        assert getattr(a, column).tolist() == getattr(b, column).tolist()
    assert a.rare == b.rare == {1: {"conditions": ["@", "T"]}}
    assert QUOTE.names[0] == "type"


def test_a_foreign_dictionary_with_spares_and_repeats_interns_only_what_rows_hold() -> None:
    dictionary = pa.DictionaryArray.from_arrays(pa.array([3, 1, None]), pa.array(["SPARE", "AAA", None, "AAA"]))
    columns = {
        "type": pa.array(["trade"] * 3), "symbol": dictionary, "source": pa.array(["s"] * 3),
        "event_time_ns": pa.array([T0] * 3), "price": pa.array([1.0, 2.0, 3.0]), "size": pa.array([1.0] * 3),
    }  # fmt: skip
    batch, letters = decode([write_frame(pa.RecordBatch.from_pydict(columns))], frames=[0])
    assert [letter.reason for letter in letters] == ["missing_field"]
    assert [batch.strings[i] for i in batch.symbol] == ["AAA", "AAA"]
    assert "SPARE" not in batch.strings.texts()


def test_plain_trades_of_such_a_dictionary_intern_only_what_rows_hold_too() -> None:
    dictionary = pa.DictionaryArray.from_arrays(
        pa.array([3, 1, 4], pa.int32()), pa.array(["SPARE", "AAA", None, "AAA", "B\n"])
    )
    batch, letters = decode([write_frame(trades([1.0, 2.0, 3.0], symbol=dictionary))], frames=[0])
    assert [(letter.reason, letter.row) for letter in letters] == [("bad_symbol", 2)]
    assert [batch.strings[i] for i in batch.symbol] == ["AAA", "AAA"]
    assert not {"SPARE", "B\n"} & {*batch.strings.texts()}


def test_several_frames_and_objects_of_one_poll_keep_their_order() -> None:
    values = [write_frame(trades([1.0, 2.0])), text(GOOD_TRADE), write_frame(trades([4.0])), write_frame(trades([5.0]))]
    batch, letters = decode(values, frames=[0, 2, 3])
    assert letters == []
    assert batch.a.tolist() == [1.0, 2.0, 101.25, 4.0, 5.0]
    assert batch.offset.tolist() == [100, 100, 101, 102, 103]
    ids = zip(batch.trade_id_start.tolist(), batch.trade_id_length.tolist(), strict=True)
    assert [batch.data[a : a + n].tobytes() if n > 0 else None for a, n in ids] == [b"t0", b"t1", None, b"t0", b"t0"]


def test_frames_of_one_poll_are_read_as_each_alone_is() -> None:
    """Of one schema and of others, plain and with fields that only some rows have, with rows that are refused."""
    some_ids = trades([6.0, -7.0, 8.0], trade_id=pa.array(["x", None, ""]))
    some_venues = trades([9.0, 10.0], venue=pa.array([None, "XNAS"]))
    conditions = trades([11.0], conditions=pa.array([["@", "T"]]))
    untimed = trades([12.0, 13.0], ingest_time_ns=pa.array([T0, -1], pa.int64()))
    stamped = trades([14.0, -0.0], size=pa.array([-0.0, 1.0]), ingest_time_ns=pa.array([T0, T0 + 1], pa.int64()))
    unnamed = trades([15.0, 16.0], symbol=pa.array(["", "BBB"]))
    other = pa.RecordBatch.from_pylist([{**GOOD_QUOTE, "ask": 2.0}], schema=QUOTE)
    batches = [
        trades([1.0, 2.0]), some_ids, other, some_venues, trades([-3.0]), conditions, untimed, stamped, unnamed, other,
    ]  # fmt: skip
    frames = [write_frame(batch) for batch in batches]
    whole, letters = decode(frames, frames=range(len(frames)))
    alone = [decode([b"{}"] * i + [frame], frames=[i]) for i, frame in enumerate(frames)]
    assert [_seen(whole, row) for row in range(len(whole.kind))] == [
        _seen(batch, row) for batch, _ in alone for row in range(len(batch.kind))
    ]
    told = [(x.reason, x.offset, x.row, x.value) for x in letters]
    assert told == [(x.reason, x.offset, x.row, x.value) for _, own in alone for x in own if x.value != b"{}"]
    assert [reason for reason, *_ in told] == ["bad_price", "bad_price", "bad_time", "bad_price", "bad_symbol"]


def _seen(batch: MarketBatch, row: int) -> tuple[Any, ...]:
    start, length = int(batch.trade_id_start[row]), int(batch.trade_id_length[row])
    return (
        int(batch.offset[row]), int(batch.row[row]), int(batch.kind[row]),
        *(name(batch, ids, row) for ids in (batch.symbol, batch.source, batch.venue, batch.timeframe)),
        *(float(values[row]).hex() for values in (batch.a, batch.b, batch.c, batch.d, batch.e, batch.f)),
        int(batch.event_time_ns[row]), int(batch.ingest_time_ns[row]), int(batch.open_time_ns[row]),
        int(batch.trade_count[row]), int(batch.final[row]), int(batch.session_date[row]),
        int(batch.log_time_ns[row]), batch.rare.get(row),
        batch.data[start : start + length].tobytes() if length > 0 else None,
    )  # fmt: skip
