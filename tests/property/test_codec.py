"""What is written reads back as the same bits, by our reader and by outside ones, also in the line protocol; and
whatever the compiled scan takes in equals what an outside JSON reader gives."""

import json
import math
import struct
from datetime import date
from typing import Any

import numpy as np
import orjson
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from influx_store import read
from marketpulse.kafka.codec import MarketDecoder, decode_rows, encode_market, encode_rows, to_tables
from marketpulse.kafka.columns import KIND, Columns
from marketpulse.kafka.frame_writer import write_frame
from marketpulse.kafka.json_kernel import TAKEN, ScanTables
from marketpulse.kafka.json_lines import json_rows
from marketpulse.kafka.market_contract import Refused
from marketpulse.kafka.names import NameTable
from marketpulse.kafka.one_record import Writer, read_object
from marketpulse.kafka.records import records_of
from marketpulse.kafka.words import PADDING
from marketpulse.model.market import ABSENT, TRADE, Kind, StringTable
from marketpulse.model.rows import ALERT, BAR, RECEIPT, indicators_schema, live_schema
from marketpulse.model.tables import with_position
from marketpulse.sinks.line_protocol import bodies, lines

T0 = 1_768_600_000_000_000_000
TABLES = ScanTables()

names = st.sampled_from(["AAA", "BTC-USD.COINBASE", "a b", "", "é", "A" * 64, "A" * 65, 'q"q', "t\t"])
finite = st.floats(allow_nan=False, allow_infinity=False)
numbers = st.one_of(
    finite, st.floats(0.0001, 1e6), st.decimals(0, 10**6, places=4).map(float), st.integers(-(2**70), 2**70),
    st.integers(0, 10**6),
)  # fmt: skip
times = st.one_of(st.integers(T0, T0 + 10**15), st.integers(-5, 2**65), numbers)
odd_values: st.SearchStrategy[Any] = st.one_of(
    st.none(), st.booleans(), numbers, names, st.lists(names, max_size=3), st.dictionaries(names, numbers, max_size=2)
)
FIELDS: dict[str, st.SearchStrategy[Any]] = {
    **dict.fromkeys(("symbol", "source", "venue", "timeframe", "trade_id"), names),
    **dict.fromkeys(("price", "size", "bid", "bid_size", "ask", "ask_size", "volume", "vwap"), numbers),
    **dict.fromkeys(("open", "high", "low", "close"), numbers),
    **dict.fromkeys(("event_time_ns", "ingest_time_ns", "open_time_ns", "close_time_ns", "trade_count"), times),
    "conditions": st.lists(names, max_size=3),
    "final": st.booleans(),
    "session_date": st.one_of(st.dates().map(str), st.sampled_from(["2024-02-29", "2023-02-29", "2026-1-1", "x"])),
    "unknown": odd_values,
}
kinds = st.sampled_from(["trade", "quote", "bar", "heartbeat", "clock", "hello", "tarde"])
NEEDED = {
    "trade": ("symbol", "source", "event_time_ns", "price", "size"),
    "quote": ("symbol", "source", "event_time_ns", "bid", "bid_size", "ask", "ask_size"),
    "bar": ("symbol", "source", "event_time_ns", "timeframe", "open_time_ns", "close_time_ns", "open", "high", "low",
            "close", "volume"),
    "heartbeat": ("source", "event_time_ns"),
}  # fmt: skip


@st.composite
def records(draw: st.DrawFn) -> dict[str, Any]:
    kind = draw(kinds)
    chosen = {*NEEDED.get(kind, ()), *draw(st.sets(st.sampled_from(sorted(FIELDS)), max_size=4))}
    chosen -= draw(st.sampled_from([set(), {"volume"}]))  # which a bar may lack
    record = {"type": kind, **{name: draw(FIELDS[name]) for name in draw(st.permutations(sorted(chosen)))}}
    if draw(st.integers(0, 9)) == 0 and chosen:
        record[draw(st.sampled_from(sorted(chosen)))] = draw(odd_values)
    return record


@st.composite
def json_texts(draw: st.DrawFn) -> bytes:
    styles: list[dict[str, Any]] = [{"separators": (",", ":")}, {}, {"indent": 1}, {"ensure_ascii": False}]
    return json.dumps(draw(records()), **draw(st.sampled_from(styles))).encode("utf-8", "surrogatepass")


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    """A record with some bytes changed, cut or doubled."""
    value = bytearray(draw(json_texts()))
    signs = st.sampled_from([b'"', b"\\", b",", b"}", b"{", b" ", b"0", b"-", b"e9", b":"])
    for _ in range(draw(st.integers(1, 3))):
        place = draw(st.integers(0, max(0, len(value) - 1)))
        value[place : place + draw(st.integers(0, 2))] = draw(st.binary(max_size=2) | signs)
    return bytes(value)


def scanned(value: bytes) -> tuple[Columns, StringTable] | None:
    """The record's columns by the compiled scan alone; None when it leaves the record."""
    strings = StringTable()
    table = NameTable(strings)
    data = np.frombuffer(value + PADDING, np.uint8)
    columns, status = Columns.undefined(1, data), np.empty(1, np.int8)
    columns.blank(slice(None))
    assert TABLES.scan(data, np.array([0, len(value)]), 0, status, columns, table) == 1
    table.push()
    return (columns, strings) if status[0] == TAKEN else None


def by_authority(value: bytes) -> tuple[Columns, StringTable]:
    strings = StringTable()
    columns = Columns.undefined(1, np.empty(0, np.uint8))
    columns.blank(slice(None))
    writer = Writer(columns, strings)
    writer.take(0, read_object(value))
    writer.finish()
    return columns, strings


def cells(columns: Columns, strings: StringTable) -> dict[str, Any]:
    """What the row says, with ids as json_texts, spans as bytes and floats as bits."""
    batch = columns.to_batch("", 0, strings)
    kind = Kind(int(columns.flags[KIND, 0]))
    floats = {Kind.TRADE: "ab", Kind.QUOTE: "abcd", Kind.BAR: "abcdef"}.get(kind, "")
    found: dict[str, Any] = {name: struct.pack("<d", getattr(batch, name)[0]) for name in floats}
    for name in ("symbol", "source", "venue", *(("timeframe",) if kind == Kind.BAR else ())):
        number = int(getattr(batch, name)[0])
        found[name] = None if number == ABSENT else strings[number]
    longs = ["event_time_ns", "ingest_time_ns"]
    if kind == Kind.BAR:
        longs += ["open_time_ns", "close_time_ns", "trade_count", "final", "session_date"]
    found |= {name: int(getattr(batch, name)[0]) for name in longs}
    if kind == Kind.TRADE:
        start, length = int(batch.trade_id_start[0]), int(batch.trade_id_length[0])
        found["trade_id"] = None if length == ABSENT else batch.data[start : start + length].tobytes()
    return {"kind": kind, **found}


def agree(value: bytes) -> bool:
    fast = scanned(value)
    if fast is not None:
        assert cells(*fast) == cells(*by_authority(value))
    return fast is not None


@pytest.mark.parametrize("texts", [json_texts(), mutated()], ids=["sound", "damaged"])
@given(data=st.data())
def test_what_the_scan_takes_is_what_the_authority_gives(texts: Any, data: st.DataObject) -> None:
    agree(data.draw(texts))


@given(st.lists(st.one_of(json_texts(), mutated()), max_size=8))
def test_neighbours_in_the_joined_bytes_change_nothing(values: list[bytes]) -> None:
    batch, letters = MarketDecoder().decode("m", records_of(values, appended_ms=np.full(len(values), T0 // 10**6)))
    refused = {letter.offset: letter.reason for letter in letters}
    assert sorted([*batch.offset.tolist(), *refused]) == list(range(len(values)))
    for offset, value in enumerate(values):
        reason, columns, strings = None, None, StringTable()
        try:
            columns, strings = by_authority(value)
        except Refused as refusal:
            reason = refusal.reason
        assert refused.get(offset) == reason
        if columns is not None:
            row = batch.offset.tolist().index(offset)
            assert batch.kind[row] == columns.flags[KIND, 0]
            if batch.kind[row] == Kind.TRADE:
                found = batch.a[row : row + 1].tobytes(), batch.strings[int(batch.symbol[row])]
                assert found == (columns.floats[0, :1].tobytes(), strings[int(columns.ids[0, 0])])


@given(st.floats(1e-300, 1e18, allow_subnormal=False), st.sampled_from(["{!r}", "{:.2f}", "{:.10f}", "{:e}", "{:.0f}"]))
def test_prices_read_as_the_outside_reader_reads_them(price: float, form: str) -> None:
    shown = form.format(price)
    value = f'{{"type":"trade","symbol":"A","source":"s","event_time_ns":{T0},"price":{shown},"size":{shown}}}'.encode()
    wanted = float(orjson.loads(value)["price"])
    assert wanted == float(shown)
    if 0 < wanted <= 1e18:
        columns = scanned(value) or by_authority(value)
        assert columns[0].floats[0, 0] == wanted


def test_plain_records_take_the_fast_way_which_knows_where_it_ends() -> None:
    plain: list[dict[str, Any]] = [
        {"type": "trade", "symbol": "A", "source": "s", "event_time_ns": T0, "price": 101.25, "size": 1, "trade_id": "7"},
        {"price": 1e-05, "size": 0.5, "type": "trade", "conditions": ["@"], "symbol": "A", "source": "s",
         "event_time_ns": T0, "unknown": None, "trade_id": 12},
        {"type": "quote", "symbol": "A", "source": "s", "event_time_ns": T0, "bid": 1.0, "bid_size": 0, "ask": 2.0,
         "ask_size": 1e6, "venue": None},
        {"type": "bar", "symbol": "A", "source": "s", "event_time_ns": T0, "timeframe": "1d", "open": 2, "high": 3,
         "low": 1, "close": 2, "volume": 0, "open_time_ns": T0, "close_time_ns": T0 + 1, "session_date": "2024-02-29"},
        {"type": "heartbeat", "source": "s", "event_time_ns": T0, "run_id": "r"},
        {"type": "clock"},
    ]  # fmt: skip
    assert all(agree(orjson.dumps(record)) and agree(json.dumps(record, indent=2).encode()) for record in plain)
    record = {"type": "trade", "symbol": "A", "source": "s", "event_time_ns": T0, "price": math.pi, "size": 1}
    # 17 digits are beyond exact conversion.
    changes: list[dict[str, Any]] = [{}, {"price": 0.30000000000000004}, {"symbol": "é"}, {"note": {"a": 1}}]
    assert [agree(orjson.dumps({**record, **change})) for change in changes] == [True, False, False, False]


texts = st.text(st.characters(codec="utf-8"), max_size=20)
longs = st.integers(-(2**63), 2**63 - 1)
doubles = st.one_of(
    finite,
    st.decimals(-(10**9), 10**9, places=3).map(float),
    st.integers(0, 2**63 - 1).map(lambda bits: float(np.int64(bits).view(np.float64))).filter(np.isfinite),
)
ints = st.integers(-(2**31), 2**31 - 1)
receipts = st.fixed_dictionaries({f.name: texts if f.type == pa.string() else ints for f in RECEIPT})
TOPICS = [
    ("bars", BAR), ("indicators", indicators_schema(["sma_20", "rsi_14"])), ("alerts", ALERT), ("live", live_schema(["ema_12"])),
]  # fmt: skip


def rows_of(schema: pa.Schema) -> st.SearchStrategy[list[dict[str, Any]]]:
    by_type = {
        pa.string(): texts, pa.int64(): longs, pa.float64(): doubles, RECEIPT: receipts,
        pa.date32(): st.dates(date(1, 1, 1), date(9999, 12, 31)), pa.bool_(): st.booleans(),
    }  # fmt: skip
    fields = {f.name: texts if f.name == "symbol" else st.one_of(st.none(), by_type[f.type]) for f in schema}
    return st.lists(st.fixed_dictionaries(fields), min_size=1, max_size=6)


def bits(batch: pa.RecordBatch) -> list[dict[str, Any]]:
    return [{k: v.hex() if isinstance(v, float) else v for k, v in row.items()} for row in batch.to_pylist()]


@pytest.mark.parametrize(("topic", "schema"), TOPICS, ids=[topic for topic, _ in TOPICS])
@given(data=st.data(), partitions=st.integers(1, 12))
def test_rows_return_to_the_bit_both_ways(topic: str, schema: pa.Schema, data: st.DataObject, partitions: int) -> None:
    batch = pa.RecordBatch.from_pylist(data.draw(rows_of(schema)), schema=schema)
    assert bits(decode_rows(topic, [value for _, value in encode_rows(batch)])) == bits(batch)
    assert decode_rows(topic, [write_frame(batch)], lambda _: True).equals(batch)
    frames = [value for _, value in encode_rows(batch, wire="arrow", partitions=partitions)]
    assert sorted(map(repr, bits(decode_rows(topic, frames, lambda _: True)))) == sorted(map(repr, bits(batch)))


@given(st.lists(doubles, min_size=1, max_size=40))
def test_a_double_is_written_with_as_few_digits_as_python_needs(values: list[float]) -> None:
    def significant(shown: str) -> str:
        return shown.split("e")[0].lstrip("-").replace(".", "").strip("0")

    for line, value in zip(json_rows(pa.RecordBatch.from_pydict({"x": values}), nulls=True), values, strict=True):
        back = json.loads(line)["x"]
        assert (type(back), back.hex()) == (float, value.hex())
        assert significant(line[5:-1].decode()) == significant(repr(value))


@given(st.lists(texts, min_size=1, max_size=10), st.booleans())
def test_any_text_reads_back_by_an_outside_reader(values: list[str], nulls: bool) -> None:
    lines = json_rows(pa.RecordBatch.from_pydict({"a": values, "b": [None, *values[1:]]}), nulls=nulls)
    assert [json.loads(line)["a"] for line in lines] == values
    assert [json.loads(line).get("b") for line in lines] == [None, *values[1:]]
    assert ("b" in json.loads(lines[0])) == nulls


@given(st.integers(0, 8), st.integers(0, 8))
def test_a_slice_is_written_as_its_own_rows(start: int, length: int) -> None:
    columns = {"s": ["a", None, "c", "d"] * 4, "x": [1.5, 2.5, None, 4.5] * 4, "f": [True, False, None, True] * 4}
    batch = pa.RecordBatch.from_pydict(columns)
    assert json_rows(batch.slice(start, length), nulls=True) == json_rows(batch, nulls=True)[start : start + length]


words = st.text(st.characters(codec="utf-8", exclude_categories=("C", "Z")), min_size=1, max_size=16)
good_trades = st.lists(
    st.fixed_dictionaries(
        {
            "type": st.just("trade"), "symbol": words, "source": words, "event_time_ns": st.integers(T0, T0 + 10**12),
            "venue": st.one_of(st.none(), words), "price": st.floats(1e-300, 1e18), "size": st.floats(0, 1e18),
            "trade_id": st.one_of(st.none(), words), "conditions": st.one_of(st.none(), st.lists(words, min_size=1, max_size=3)),
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
        back = to_tables(decoded)["trades"] if rows else pa.RecordBatch.from_pylist([], schema=with_position(TRADE))
        assert sorted(map(repr, bits(back.select(TRADE.names)))) == wanted


TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=12) | st.sampled_from(
    ["a,b", "a b", "a=b", '"', "\\", 'a\\"b', "\\,", "a\\", "a\\ ", "\n", '{"x":"y\\n"}\n', " ", "="]
)
NAMES = TEXTS.filter(lambda text: text not in ("", "time"))
FLOATS = st.floats(allow_nan=True, allow_infinity=True)
INTS = st.integers(-(2**63), 2**63 - 1)


def as_tag(text: str) -> str:
    """What a tag says of a text: servers do not agree about backslashes and line ends in tags."""
    pictures = {**{n: chr(0x2400 + n) for n in range(32)}, 127: "\u2421", ord("\\"): "\u29f5"}
    return "".join(pictures.get(ord(letter), letter) for letter in text)


def packed(fields: dict[str, Any]) -> dict[str, Any]:
    return {name: struct.pack("d", value) if isinstance(value, float) else value for name, value in fields.items()}


rows = st.fixed_dictionaries({
    "sym bol": st.none() | TEXTS, "source": st.none() | TEXTS, "time_ns": INTS, "x": st.none() | FLOATS,
    "n": st.none() | INTS, "te,xt": st.none() | TEXTS, "is=so": st.none() | st.booleans(), "always": INTS,
})  # fmt: skip
SCHEMA = {
    "sym bol": pl.String, "source": pl.String, "time_ns": pl.Int64, "x": pl.Float64, "n": pl.Int64, "te,xt": pl.String,
    "is=so": pl.Boolean, "always": pl.Int64,
}  # fmt: skip
TAGS = ("sym bol", "source")


@given(some=st.lists(rows, min_size=1, max_size=20), bytes_max=st.integers(1, 500))
def test_a_reader_of_the_format_gets_every_row_back(some: list[dict[str, Any]], bytes_max: int) -> None:
    cut = bodies(lines("trades", pl.DataFrame(some, SCHEMA), TAGS, "time_ns"), bytes_max)
    found = [point for body, _ in cut for point in read(body.decode())]
    assert [n for _, n in cut] == [len(read(body.decode())) for body, _ in cut]
    assert all(len(body) <= bytes_max or n == 1 for body, n in cut)
    for point, row in zip(found, some, strict=True):
        assert (point.measurement, point.time_ns) == ("trades", row["time_ns"])
        assert point.tags == {name: as_tag(row[name]) for name in TAGS if row[name]}
        fields = {k: v for k, v in row.items() if k not in (*TAGS, "time_ns") and v is not None}
        if not math.isfinite(fields.get("x", 0.0)):
            del fields["x"]
        assert packed(point.fields) == packed(fields)


@given(name=NAMES)
def test_a_field_may_have_any_name(name: str) -> None:
    (line,) = lines("indicators", pl.DataFrame({"time": [1], name: [0.5]}), (), "time")
    (point,) = read(line + "\n")
    assert point.fields == {as_tag(name): 0.5}
