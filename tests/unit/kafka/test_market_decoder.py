"""What the decoder lets in, what it refuses and why; both ways in are one to the outside."""

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from marketpulse.kafka.codec import MarketDecoder
from marketpulse.kafka.frame_writer import write_frame
from marketpulse.kafka.market_tables import BARE_FIELDS
from marketpulse.kafka.records import records_of
from marketpulse.model import market
from marketpulse.model.market import ABSENT, NOT_ASKED, QUOTE, TRADE, DeadLetter, Kind, MarketBatch, StringTable

T0 = 1_768_600_000_000_000_000
HEAD = {"symbol": "AAA", "source": "s", "event_time_ns": T0}
HEARTBEAT = {"type": "heartbeat", "source": "s", "event_time_ns": T0}
Decoded = tuple[MarketBatch, list[DeadLetter]]
GOOD_TRADE: dict[str, Any] = {"type": "trade", **HEAD, "price": 101.25, "size": 100}
GOOD_QUOTE: dict[str, Any] = {"type": "quote", **HEAD, "bid": 1.5, "bid_size": 0, "ask": 1.75, "ask_size": 3}
GOOD_BAR: dict[str, Any] = {
    "type": "bar", **HEAD, "timeframe": "1m", "open_time_ns": T0, "close_time_ns": T0 + 60 * 10**9, "open": 2.0,
    "high": 4.0, "low": 1.0, "close": 3.0, "volume": 10,
}  # fmt: skip


def decode(values: Sequence[bytes | None], frames: Sequence[int] = (), decoder: MarketDecoder | None = None) -> Decoded:
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


def trade_ids(batch: MarketBatch) -> list[bytes | None]:
    spans = zip(batch.trade_id_start.tolist(), batch.trade_id_length.tolist(), strict=True)
    return [batch.data[begin : begin + length].tobytes() if length > 0 else None for begin, length in spans]


@pytest.mark.parametrize("write", [text, odd])
def test_a_trade_comes_into_its_columns(write: Any) -> None:
    record = {**GOOD_TRADE, "venue": "XNYS", "trade_id": "t-7", "conditions": ["@", "T"], "ingest_time_ns": T0 + 5}
    batch, letters = decode([write(record)])
    assert (letters, batch.kind[0], batch.a[0], batch.b[0]) == ([], Kind.TRADE, 101.25, 100.0)
    assert (batch.event_time_ns[0], batch.ingest_time_ns[0], batch.offset[0], batch.row[0]) == (T0, T0 + 5, 100, 0)
    assert [name(batch, ids, 0) for ids in (batch.symbol, batch.source, batch.venue)] == ["AAA", "s", "XNYS"]
    assert (trade_ids(batch), batch.log_time_ns[0]) == ([b"t-7"], NOT_ASKED)
    assert batch.rare == {0: {"conditions": ["@", "T"]}}


@pytest.mark.parametrize("write", [text, odd])
def test_a_quote_and_a_bar_come_into_their_columns(write: Any) -> None:
    bar = {**GOOD_BAR, "vwap": 2.5, "trade_count": 4, "final": False, "session_date": "2026-01-16"}
    batch, letters = decode([write(GOOD_QUOTE), write(bar), write({**GOOD_BAR, "volume": None})])
    assert (letters, [batch.a[0], batch.b[0], batch.c[0], batch.d[0]]) == ([], [1.5, 0.0, 1.75, 3.0])
    assert [batch.a[1], batch.b[1], batch.c[1], batch.d[1], batch.e[1], batch.f[1]] == [2, 4, 1, 3, 10, 2.5]
    assert (batch.open_time_ns[1], batch.close_time_ns[1]) == (T0, T0 + 60 * 10**9)
    assert (batch.trade_count[1], batch.final[1], name(batch, batch.timeframe, 1)) == (4, 0, "1m")
    assert np.datetime64(int(batch.session_date[1]), "D") == np.datetime64("2026-01-16")
    assert (batch.trade_count[2], batch.final[2], batch.session_date[2]) == (ABSENT, 1, ABSENT)
    assert np.isnan([batch.e[2], batch.f[2]]).all()
    assert BARE_FIELDS[Kind.BAR](batch, slice(2, 3))["volume"].to_pylist() == [None]


def test_a_bar_of_a_date_only_stands_on_that_day() -> None:
    record = {k: v for k, v in GOOD_BAR.items() if not k.endswith("time_ns")} | {"event_time_ns": T0}
    batch, letters = decode([text({**record, "session_date": "2024-02-29"}), text(record)])
    assert (batch.session_date[0], batch.open_time_ns[0]) == (19_782, 19_782 * 86_400 * 10**9)
    assert batch.close_time_ns[0] - batch.open_time_ns[0] == 86_400 * 10**9
    assert [letter.reason for letter in letters] == ["missing_field"]


@pytest.mark.parametrize("write", [text, odd])
def test_heartbeats_and_clocks_bear_the_time_of_their_append(write: Any) -> None:
    batch, _ = decode([write(GOOD_TRADE), write(HEARTBEAT), write({"type": "clock"}), write(GOOD_QUOTE)])
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
    {"type": "goodbye", "source": "s", "watermark_ns": market.COMPLETE},
    {"type": "news", **HEAD, "id": "a-7", "headline": "AAA opens", "url": "https://example.com/7", "symbols": ["AAA"]},
    {"type": "rebuild", "symbol": "AAA", "id": "1", "part": 0, "parts": 1, "covers_offset": 7},
    {"type": "control", "mute": {"rule": 3}},
]


def test_rare_kinds_come_whole_and_a_frame_may_hold_every_kind() -> None:
    batch, letters = decode([text(record) for record in RARE])
    assert (letters, batch.rare) == ([], dict(enumerate(RARE)))
    assert [Kind(kind).name.lower() for kind in batch.kind] == [record["type"] for record in RARE]
    assert [name(batch, batch.symbol, i) for i in range(len(RARE))] == [r.get("symbol") for r in RARE]
    assert batch.event_time_ns.tolist() == [r.get("event_time_ns", ABSENT) for r in RARE]
    rows = [GOOD_TRADE, GOOD_QUOTE, GOOD_BAR, HEARTBEAT, {"type": "clock"}, *RARE[1:9]]
    names = sorted({k for r in [*rows, RARE[0]] for k in r})
    table = pa.Table.from_pylist([{k: r.get(k) for k in names} for r in rows])
    batch, letters = decode([write_frame(table.combine_chunks().to_batches()[0])], frames=[0])
    assert (letters, batch.kind.tolist(), batch.log_time_ns[3]) == ([], [0, 1, 2, 3, 4, *range(6, 14)], T0)
    assert {row: value["type"] for row, value in batch.rare.items()} == {5 + i: RARE[1 + i]["type"] for i in range(8)}
    assert [batch.a[2], batch.b[2], batch.c[2], batch.d[2], batch.e[2]] == [2, 4, 1, 3, 10]


TRADE_TEXT = text(GOOD_TRADE)
NOT_JSON = [
    None, b"", b"   ", b"nonsense", b"[1]", b"5", b"{", TRADE_TEXT[:-1], TRADE_TEXT + b"}",
    *(TRADE_TEXT.replace(b"101.25", number) for number in (b"101.25.5", b"0101.25", b"NaN", b"1e999")),
    *(TRADE_TEXT.replace(b"AAA", symbol) for symbol in (b"A\xff", b"A\nA")),
    *(text(RARE[1])[:-1] + b',"note":' + nested + b"}" for nested in (b"[" * 10_240, b"[" * 300 + b"]" * 300)),
]  # fmt: skip
FAULTS: list[tuple[dict[str, Any], dict[str, list[dict[str, Any]]]]] = [  # of a good record, by reason: what is changed
    (GOOD_TRADE, {
        "too_large": [{"note": "x" * market.RECORD_BYTES_MAX}],
        "unknown_type": [{"type": "tade"}, {"type": 5}],
        "bad_symbol": [{"symbol": s} for s in ("", "A" * 65, "A" * 10_000, "é" * 33, "A\tB", "A\x7fB")],
        "wrong_type": [
            {"symbol": 5}, {"venue": 5}, {"source": "s" * 65}, {"price": "101.25"}, {"price": True}, {"price": [1]},
            {"event_time_ns": float(T0)}, {"event_time_ns": str(T0)}, {"trade_id": 1.5}, {"conditions": "T"},
            {"conditions": ["T", 5]},
        ],
        "missing_field": [
            {"source": ""}, {"price": None},
            *({name: ...} for name in ("symbol", "source", "event_time_ns", "price", "size")),
        ],
        "bad_price": [{"price": price} for price in (0, -1.5, 1.1e18)],
        "bad_size": [{"size": -1}, {"size": 1.1e18}],
        "bad_time": [
            {"ingest_time_ns": 5},
            *({"event_time_ns": ns} for ns in (T0 // 10**9, -T0, 2**63 + 5, 7_258_118_400 * 10**9 + 1)),
        ],
    }),
    (GOOD_QUOTE, {"bad_price": [{"ask": 0}], "bad_size": [{"bid_size": -1}], "missing_field": [{"ask": ...}]}),
    (GOOD_BAR, {
        "bad_bar": [{"high": GOOD_BAR["low"] / 2}, {"low": GOOD_BAR["high"] * 2}, {"close_time_ns": T0}],
        "bad_price": [{"low": 0}, {"vwap": 0}],
        "bad_time": [{"close_time_ns": 5}, {"session_date": "2026-02-29"}, {"session_date": "20260116"}],
        "bad_size": [{"volume": -1}, {"trade_count": -1}],
        "wrong_type": [{"trade_count": 1.0}, {"final": "yes"}, {"session_date": 20260116}],
        "missing_field": [{"close_time_ns": ...}, {"timeframe": ...}],
    }),
    (RARE[7], {"wrong_type": [{"mode": "sometimes"}], "bad_time": [{"lateness_ns": -1}]}),
    (RARE[0], {"missing_field": [{"trade_id": ...}]}),
    (RARE[4], {"bad_time": [{"to_ns": T0 - 1}]}),
]  # fmt: skip
REFUSED: list[tuple[bytes | None, str]] = [
    *((value, "not_json") for value in NOT_JSON), (b"{}", "unknown_type"), (b'{"type":"heartbeat","source":"s"}', "missing_field"),
    *((text({name: value for name, value in (good | change).items() if value is not ...}), reason)
      for good, faults in FAULTS for reason, changes in faults.items() for change in changes),
]  # fmt: skip


@pytest.mark.parametrize(("value", "reason"), REFUSED, ids=lambda v: v if isinstance(v, str) else repr(v)[:60])
def test_a_record_that_cannot_be_used_is_a_dead_letter_and_the_rest_goes_on(value: bytes | None, reason: str) -> None:
    batch, letters = decode([text(GOOD_TRADE), value, text(GOOD_QUOTE)])
    assert [(x.reason, x.offset, x.row, x.key, x.value) for x in letters] == [(reason, 101, ABSENT, b"key1", value)]
    assert letters[0].detail
    assert (letters[0].topic, letters[0].partition, batch.offset.tolist()) == ("market", 3, [100, 102])
    assert batch.kind.tolist() == [Kind.TRADE, Kind.QUOTE]


def test_missing_null_and_unknown_fields_are_no_faults_zero_has_no_sign_and_the_last_of_a_name_counts() -> None:
    unasked: dict[str, Any] = {"bid": "x", "new": {"a": 1}, "conditions": []}
    odd_ones: list[dict[str, Any]] = [{"venue": None}, {"venue": ""}, unasked, {"size": 0}]
    batch, letters = decode([*(text(GOOD_TRADE | more) for more in odd_ones), TRADE_TEXT.replace(b"100}", b"-0.0}")])
    assert (letters, batch.rare, batch.venue.tolist()) == ([], {}, [ABSENT] * 5)
    assert (batch.b.tolist()[3:], np.signbit(batch.b).tolist()) == ([0, 0], [False] * 5)
    batch, _ = decode([TRADE_TEXT.replace(b'"size"', b'"price": 7.5, "size"')])
    assert batch.a[0] == 7.5


def test_ids_stay_over_batches_many_names_make_the_tables_grow_and_each_batch_reads_by_its_own() -> None:
    strings = StringTable(["AAA"])
    decoder = MarketDecoder(strings)
    first, _ = decode([text(GOOD_TRADE)], decoder=decoder)
    strings.intern("BBB")
    second, _ = decode([text({**GOOD_TRADE, "symbol": "BBB"}), odd(GOOD_TRADE)], decoder=decoder)
    assert (first.symbol.tolist(), second.symbol.tolist()) == ([0], [strings.find("BBB"), 0])
    assert strings.texts() == ["AAA", "s", "BBB"]
    many = [f"SYMBOL-{i:06d}-OF-A-GOOD-LENGTH" for i in range(5_000)]
    batch, letters = decode([text({**GOOD_TRADE, "symbol": s}) for s in many])
    assert (letters, [batch.strings[i] for i in batch.symbol]) == ([], many)
    decoder = MarketDecoder(strings_max=100)
    symbols = [[f"S{n}-{i}" for i in range(60)] for n in range(5)]
    batches = [decode([text({**GOOD_TRADE, "symbol": s}) for s in some], decoder=decoder)[0] for some in symbols]
    assert [[name(batch, batch.symbol, i) for i in range(60)] for batch in batches] == symbols
    assert max(len(batch.strings) for batch in batches) <= 100 + 62


def test_refused_records_intern_nothing_but_name_their_symbol_and_an_empty_poll_is_an_empty_batch() -> None:
    _, letters = decode([text({**GOOD_TRADE, "price": 0}), text({**GOOD_TRADE, "symbol": ""})])
    assert [letter.symbol for letter in letters] == ["AAA", None]
    assert decode([text({**GOOD_TRADE, "symbol": "NEVER", "price": 0})])[0].strings.texts() == []
    batch, letters = decode([])
    assert (len(batch), letters) == (0, [])


def trades(prices: Sequence[float | None], **columns: Any) -> pa.RecordBatch:
    rows = [{**GOOD_TRADE, "price": p, "trade_id": f"t{i}"} for i, p in enumerate(prices)]
    batch = pa.RecordBatch.from_pylist(rows, schema=TRADE)
    for field, column in columns.items():
        batch = batch.set_column(batch.schema.get_field_index(field), field, column)
    return batch


def test_rows_of_one_or_several_frames_keep_the_order_of_the_log_between_objects() -> None:
    batch, letters = decode([text(GOOD_TRADE), write_frame(trades([1.0, -1.0, 3.0])), text(GOOD_QUOTE)], frames=[1])
    assert list(zip(batch.offset.tolist(), batch.row.tolist(), strict=True)) == [(100, 0), (101, 0), (101, 2), (102, 0)]
    assert batch.a.tolist()[:3] == [101.25, 1.0, 3.0]
    assert [(x.reason, x.offset, x.row) for x in letters] == [("bad_price", 101, 1)]
    assert (json.loads(letters[0].value or b"")["price"], trade_ids(batch)[1:3]) == (-1.0, [b"t0", b"t2"])
    first = write_frame(trades([1.0, 2.0], conditions=pa.array([None, []], pa.list_(pa.string()))))
    values = [first, text(GOOD_TRADE), write_frame(trades([4.0])), write_frame(trades([5.0]))]
    batch, letters = decode(values, frames=[0, 2, 3])
    assert (letters, batch.rare, batch.a.tolist()) == ([], {}, [1.0, 2.0, 101.25, 4.0, 5.0])
    assert batch.offset.tolist() == [100, 100, 101, 102, 103]
    assert trade_ids(batch) == [b"t0", b"t1", None, b"t0", b"t0"]


@pytest.mark.parametrize(("column", "reason"), [
    (pa.array(["1.0", "2.0"]), "wrong_type"), (pa.array([[1.0], [2.0]]), "wrong_type"),
    (pa.array([1.0, 2.0], pa.float32()), None), (pa.array([1, 2], pa.int16()), None),
    (pa.array([float("nan")] * 2), "bad_price"), (pa.array([float("inf")] * 2), "bad_price"),
    (pa.array([None, None], pa.float64()), "missing_field"),
], ids=str)  # fmt: skip
def test_a_frames_prices_are_numbers_of_any_width(column: pa.Array, reason: str | None) -> None:
    batch, letters = decode([write_frame(trades([1.0, 2.0], price=column))], frames=[0])
    assert [(x.reason, x.row) for x in letters] == ([] if reason is None else [(reason, 0), (reason, 1)])
    assert batch.a.tolist() == ([1.0, 2.0] if reason is None else [])


def test_a_frames_names_may_be_dictionaries_of_which_only_what_rows_hold_is_interned_and_its_ids_numbers() -> None:
    columns = {
        "type": pa.array(["trade", "trade"]).dictionary_encode(), "symbol": pa.array(["AAA", "BBB"]).dictionary_encode(),
        "source": pa.array(["s", "s"], pa.large_string()), "event_time_ns": pa.array([T0, T0 + 1], pa.uint64()),
        "price": pa.array([1.0, 2.0]), "size": pa.array([1, 2], pa.int32()), "trade_id": pa.array([10, None], pa.int64()),
    }  # fmt: skip
    batch, letters = decode([write_frame(pa.RecordBatch.from_pydict(columns))], frames=[0])
    assert (letters, [batch.strings[i] for i in batch.symbol]) == ([], ["AAA", "BBB"])
    assert (batch.trade_id_length.tolist(), trade_ids(batch)) == ([2, ABSENT], [b"10", None])
    names, indices = pa.array(["SPARE", "AAA", None, "AAA", "B\n"]), pa.array([3, 1, 4], pa.int32())
    frames = [trades([1.0, 2.0, 3.0], symbol=pa.DictionaryArray.from_arrays(indices, names))]
    columns = {
        "type": pa.array(["trade"] * 3), "symbol": pa.DictionaryArray.from_arrays(pa.array([3, 1, None]), names),
        "source": pa.array(["s"] * 3), "event_time_ns": pa.array([T0] * 3), "price": pa.array([1.0, 2.0, 3.0]),
        "size": pa.array([1.0] * 3),
    }  # fmt: skip
    frames.append(pa.RecordBatch.from_pydict(columns))
    for frame, refused in zip(frames, [("bad_symbol", 2), ("missing_field", 2)], strict=True):
        batch, letters = decode([write_frame(frame)], frames=[0])
        assert [(letter.reason, letter.row) for letter in letters] == [refused]
        assert [batch.strings[i] for i in batch.symbol] == ["AAA", "AAA"]
        assert not {"SPARE", "B\n"} & {*batch.strings.texts()}


PRICES_TWICE = pa.RecordBatch.from_arrays([pa.array([1.0]), pa.array([2.0])], names=["price", "price"])
UNREADABLE = [b"\xff\xff\xff\xff", b"\xff" * 100, b"", b"\xff\xff\xff\xff\x08\x00\x00\x00garbage!"]


@pytest.mark.parametrize("value", [*UNREADABLE, pytest.param(write_frame(PRICES_TWICE), id="two columns of one name")])
def test_an_unreadable_frame_is_one_dead_letter(value: bytes) -> None:
    batch, letters = decode([TRADE_TEXT, value, TRADE_TEXT], frames=[1])
    assert [(x.reason, x.row, x.value) for x in letters] == [("unreadable_frame", ABSENT, value)]
    assert batch.offset.tolist() == [100, 102]
    _, letters = decode([write_frame(trades([1.0]))])
    assert [letter.reason for letter in letters] == ["not_json"], "a frame that is not marked as one"


def test_a_frame_that_would_unfold_is_refused_unread() -> None:
    batch = pa.RecordBatch.from_pydict({"type": pa.nulls(2_000_000)})
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, TRADE, options=pa.ipc.IpcWriteOptions(compression="lz4")) as stream:
        stream.write_batch(trades([1.0]))
    _, letters = decode([write_frame(batch), sink.getvalue().to_pybytes()], frames=[0, 1])
    assert [letter.reason for letter in letters] == ["too_large", "unreadable_frame"]
    assert "compressed" in letters[1].detail


def test_frames_of_one_poll_are_read_as_each_alone_is() -> None:
    """Of one schema and of others, plain and with fields that only some rows have, with rows that are refused."""
    some_ids = trades([6.0, -7.0, 8.0], trade_id=pa.array(["x", None, ""]))
    some_venues = trades([9.0, 10.0], venue=pa.array([None, "XNAS"]))
    conditions = trades([11.0], conditions=pa.array([["@", "T"]]))
    untimed = trades([12.0, 13.0], ingest_time_ns=pa.array([T0, -1], pa.int64()))
    stamped = trades([14.0, -0.0], size=pa.array([-0.0, 1.0]), ingest_time_ns=pa.array([T0, T0 + 1], pa.int64()))
    unnamed = trades([15.0, 16.0], symbol=pa.array(["", "BBB"]))
    other = pa.RecordBatch.from_pylist([{**GOOD_QUOTE, "ask": 2.0}], schema=QUOTE)
    batches = [some_ids, other, some_venues, trades([-3.0]), conditions, untimed, stamped, unnamed, other]
    frames = [write_frame(batch) for batch in (trades([1.0, 2.0]), *batches)]
    whole, letters = decode(frames, frames=range(len(frames)))
    alone = [decode([b"{}"] * i + [frame], frames=[i]) for i, frame in enumerate(frames)]
    assert _seen(whole) == [row for batch, _ in alone for row in _seen(batch)]
    own = [letter for _, own in alone for letter in own if letter.value != b"{}"]
    found, wanted = ([(x.reason, x.offset, x.row, x.value) for x in some] for some in (letters, own))
    assert found == wanted
    assert [letter.reason for letter in letters] == ["bad_price", "bad_price", "bad_time", "bad_price", "bad_symbol"]


def _seen(batch: MarketBatch) -> list[tuple[Any, ...]]:
    return [(
        int(batch.offset[row]), int(batch.row[row]), int(batch.kind[row]),
        *(name(batch, ids, row) for ids in (batch.symbol, batch.source, batch.venue, batch.timeframe)),
        *(float(values[row]).hex() for values in (batch.a, batch.b, batch.c, batch.d, batch.e, batch.f)),
        int(batch.event_time_ns[row]), int(batch.ingest_time_ns[row]), int(batch.open_time_ns[row]),
        int(batch.trade_count[row]), int(batch.final[row]), int(batch.session_date[row]),
        int(batch.log_time_ns[row]), batch.rare.get(row), trade_ids(batch)[row],
    ) for row in range(len(batch.kind))]  # fmt: skip
